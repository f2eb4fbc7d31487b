"""Files and samples when reading, writing or the process fails."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

fo = pytest.importorskip("fiftyone")

from fiftyone_iqa import corruptions as fc  # noqa: E402
from fiftyone_iqa.corrupted.writer import (  # noqa: E402
    Job,
    Settings,
    Variant,
    WriterPool,
)
from fiftyone_iqa.corrupted_datasets import (  # noqa: E402
    corrupt_dataset,
)
from fiftyone_iqa.errors import IQAError  # noqa: E402
from fiftyone_iqa.images import read_image  # noqa: E402

from ..faults import small_disk  # noqa: E402

FAST = {"corruptions": ["contrast", "gaussian_noise"], "severities": [1, 3]}
FAST_GRID = [(c, s) for c in FAST["corruptions"] for s in (1, 3)]
RECORD = "iqa_corruptions"


def keys(dataset):
    names = ["source_id", "corruption", "severity"]
    return sorted(zip(*dataset.values(names)))


def files(folder):
    """All files of a folder: ``{path: (bytes, time of change)}``."""
    return {
        str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns)
        for p in sorted(Path(folder).rglob("*"))
        if p.is_file()
    }


def grid(ids, conditions):
    return sorted((i, c, s) for i in ids for c, s in conditions)


FAST_GRID = [(c, s) for c in FAST["corruptions"] for s in (1, 3)]


def test_unreadable_sources_are_reported(make_dataset, media_root, caplog):
    source = make_dataset(n=4)
    paths = source.values("filepath")
    ids = source.values("id")
    whole = Path(paths[1]).read_bytes()
    Path(paths[1]).write_bytes(whole[: len(whole) // 2])
    os.remove(paths[2])
    made = corrupt_dataset(source, **FAST, num_workers=2)

    good = [ids[0], ids[3]]
    assert keys(made) == grid(good, [("clean", 0), *FAST_GRID])
    failures = made.info[RECORD]["failures"]
    assert set(failures) == {ids[1], ids[2]}
    assert failures[ids[2]]["reason"] == "the file does not exist"
    assert failures[ids[2]]["filepath"] == paths[2]
    assert "2 of 4 images could not be corrupted" in caplog.text
    images = [p for p in files(media_root) if not p.endswith(".json")]
    assert len(images) == 8

    Path(paths[1]).write_bytes(whole)
    corrupt_dataset(source, **FAST, num_workers=0)
    assert keys(made) == grid([*good, ids[1]], [("clean", 0), *FAST_GRID])
    assert set(made.info[RECORD]["failures"]) == {ids[2]}


def test_a_full_disk_keeps_what_is_made(
    make_dataset, tmp_path, record_property
):
    record_property("fault", "the disk fills up with corrupted images")
    source = make_dataset(n=3, size=(300, 400))
    name, folder = f"full-{uuid.uuid4().hex}", tmp_path / "disk"
    call = {**FAST, "dataset": name, "image_format": "png", "num_workers": 2}
    with small_disk(folder, "600k") as resize:
        with pytest.raises(IQAError, match="No space left.*then call again"):
            corrupt_dataset(source, **call, images_dir=folder / "new")
        made = fo.load_dataset(name)
        n_made = len(list(folder.rglob("*.png")))
        assert 0 < n_made < 3 * len(FAST_GRID)
        assert not list(folder.rglob("*.part"))

        resize("20m")
        corrupt_dataset(source, **call, images_dir=folder / "new")
        ids = source.values("id")
        assert keys(made) == grid(ids, [("clean", 0), *FAST_GRID])
        for path in made.values("filepath"):
            read_image(path)
    made.delete()


def test_a_failure_to_write_keeps_what_is_made(make_dataset, media_root):
    source = make_dataset(n=3)
    ids = source.values("id")
    name = f"full-{uuid.uuid4().hex}"
    # A folder where the second image's file belongs
    folder = tmp = media_root / name / "contrast" / "1" / f".{ids[1]}.jpg.part"
    tmp.mkdir(parents=True)
    for num_workers in (0, 2):
        with pytest.raises(OSError, match="directory"):
            corrupt_dataset(
                source, **FAST, dataset=name, num_workers=num_workers
            )
        made = fo.load_dataset(name)
        assert keys(made) == grid(ids[:1], [("clean", 0), *FAST_GRID])

    folder.rmdir()
    corrupt_dataset(source, **FAST, dataset=name, num_workers=0)
    assert keys(made) == grid(ids, [("clean", 0), *FAST_GRID])


KILLED = """
import sys
import fiftyone as fo
from fiftyone_iqa.corrupted_datasets import corrupt_dataset

corrupt_dataset(
    fo.load_dataset(sys.argv[1]),
    ["frost", "glass_blur"],
    images_dir=sys.argv[2],
    dataset=sys.argv[3],
    num_workers=2,
    progress=False,
)
"""


@pytest.mark.parametrize("at", [1, 40])
def test_killed_and_resumed(make_dataset, tmp_path, at, record_property):
    """SIGKILL leaves whole files and whole samples; a re-run completes."""
    record_property("fault", "SIGKILL of the process that corrupts")
    source = make_dataset(n=12, size=(150, 200), persistent=True)
    folder, name = tmp_path / "files", f"killed-{uuid.uuid4().hex}"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, source.name, str(folder), name]
    )
    deadline = time.monotonic() + 120
    while len(list(folder.rglob("*.jpg"))) < at:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # Its workers finish the image they are at
    n = -1
    while n != (n := len(list(folder.rglob("*.jpg")))):
        time.sleep(1)
    assert at <= n < 120
    before = files(folder)
    for path in folder.rglob("*.jpg"):
        read_image(path)  # none is half written

    made = corrupt_dataset(
        source,
        ["frost", "glass_blur"],
        images_dir=folder,
        dataset=name,
        num_workers=2,
    )
    after = files(folder)
    assert {p: after[p] for p in before if p.endswith(".jpg")} == {
        p: v for p, v in before.items() if p.endswith(".jpg")
    }
    conditions = [
        ("clean", 0),
        *((c, s) for c in ("frost", "glass_blur") for s in fc.SEVERITIES),
    ]
    assert keys(made) == grid(source.values("id"), conditions)
    assert all(map(os.path.isfile, made.values("filepath")))


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_worker_that_dies_twice_costs_one_image(
    make_dataset, tmp_path, deaths
):
    (path,) = make_dataset(n=1).values("filepath")
    settings = Settings(0, "native", "png", None)
    jobs = [
        Job(str(i), path, [Variant("frost", 1, str(tmp_path / f"{i}.png"))])
        for i in range(6)
    ]
    pool = WriterPool(settings, 1)
    workers = pool._workers

    def kill(n):
        """Kills a worker, and then those that take its place."""
        killed = []
        while len(killed) < n:
            for process in list(workers._all):
                if process not in killed:
                    process.kill()
                    killed.append(process)
            time.sleep(0.002)

    try:
        killer = threading.Thread(target=kill, args=[deaths])
        killer.start()
        errors = [result.error for result in pool.map(jobs)]
        killer.join()
    finally:
        pool.close()
    lost = deaths - 1
    assert [error for error in errors if error] == [
        "the process writing its variants died twice"
    ] * lost
    assert len(list(tmp_path.glob("?.png"))) == 6 - lost
    assert not workers._all


def test_lost_files_are_made_again(make_dataset):
    source = make_dataset(n=2)
    made = corrupt_dataset(source, **FAST, num_workers=0)
    path = made.match({"severity": 3}).first().filepath
    pixels = Path(path).read_bytes()
    os.remove(path)
    corrupt_dataset(source, **FAST, num_workers=0)
    assert Path(path).read_bytes() == pixels
    assert len(made) == 10
