"""scripts/confusion_paper.py on a few made-up images."""

import csv
import gzip

import numpy as np
import pytest


@pytest.fixture
def data(tmp_path):
    """Four files like Fashion-MNIST's: bars of ten lengths, and noise."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data"
    folder.mkdir()
    for part, n in (("train", 80), ("t10k", 90)):
        labels = np.arange(n, dtype=np.uint8) % 10
        images = rng.integers(0, 80, (n, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels):
            image[4:24, : 2 * label + 4] += 100
        for kind, offset, array in (
            ("images-idx3", 16, images),
            ("labels-idx1", 8, labels),
        ):
            path = folder / f"{part}-{kind}-ubyte.gz"
            with gzip.open(path, "wb") as file:
                file.write(bytes(offset) + array.tobytes())
    return folder


def test_a_small_run_writes_its_tables(data, tmp_path, load_script):
    script = load_script("confusion_paper")
    out = tmp_path / "new" / "out"
    sizes = "--train 40 --held-out 90 --epochs 2 --zero-shot 0"
    script.main(["--data", str(data), "--out", str(out), *sizes.split()])
    tables = {}
    for path in out.glob("*.csv"):
        with path.open(newline="") as file:
            tables[path.stem] = list(csv.DictReader(file))
    assert set(tables) == {"summary", "bands", "epochs", "mitigation"}
    summary = {row["what"]: row for row in tables["summary"]}
    tau = summary["Kendall tau of ResNet-8 and small ViT, held out"]
    assert float(tau["low"]) <= float(tau["value"]) <= float(tau["high"])
    held = [
        row
        for row in tables["bands"]
        if row["model"] == "ResNet-8 (members)"
        and row["images"] == "held out"
        and row["bands of equal"] == "width"
    ]
    assert sum(int(row["n"]) for row in held) == 90
    assert {row["images"] for row in tables["mitigation"]} == {
        "train",
        "held out",
    }
    assert len(list(out.glob("*.png"))) == 5
