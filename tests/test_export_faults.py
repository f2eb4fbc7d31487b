"""Exports to a disk that is full, and to folders nobody may write."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

import fiftyone_iqa as fiqa
from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.export_folder import list_files

from .faults import small_disk, without_privileges


@pytest.fixture
def dataset(make_dataset, write_images):
    # 700 kB each
    return make_dataset(paths=write_images(6, size=(400, 600)))


def contents(folder):
    return {f: (folder / f).read_bytes() for f in list_files(folder)}


@pytest.mark.parametrize("kind", [None, "ImageDirectory"])
def test_a_disk_that_fills_up(dataset, tmp_path, record_property, kind):
    disk = tmp_path / "disk"
    with small_disk(disk, "1500k"):
        fiqa.export_slice(dataset.limit(1), disk / "old", kind)
        before = contents(disk)
        for folder in (disk / "new" / "deep", disk / "old"):
            record_property("fault", "the disk fills up during an export")
            with pytest.raises(IQAError, match=r"No space left.*undone") as e:
                fiqa.export_slice(dataset, folder, kind, overwrite=True)
            assert f"export to {folder} failed" in str(e.value)
            assert "make room there, or choose another folder" in str(e.value)
            assert e.value.__suppress_context__
            assert contents(disk) == before
            assert [path.name for path in disk.iterdir()] == ["old"]
        # As it says
        fiqa.export_slice(dataset, tmp_path / "another", kind)


def test_a_disk_that_is_full(dataset, tmp_path, record_property):
    """Not even the note that an export is under way fits."""
    disk = tmp_path / "disk"
    with small_disk(disk, "1500k"):
        fiqa.export_slice(dataset.limit(1), disk / "old")
        with (
            pytest.raises(OSError, match="No space left"),
            open(disk / "filler", "wb", buffering=0) as filler,
        ):
            while True:
                filler.write(bytes(1 << 16))
        before = contents(disk)
        for folder in (disk / "new", disk / "old"):
            record_property("fault", "the disk is full before an export")
            with pytest.raises(IQAError, match=r"No space left.*undone"):
                fiqa.export_slice(dataset, folder, overwrite=True)
            assert contents(disk) == before
            assert not (disk / "new").exists()


@pytest.fixture
def public():
    """A folder that others may enter, as pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="fiftyone-iqa-public-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_folder_that_may_not_be_written(
    make_dataset, public, write_images, record_property
):
    paths = write_images(3, folder=public / "images")
    dataset = make_dataset(paths=paths)
    locked, hidden = public / "locked", public / "hidden"
    fiqa.export_slice(dataset.limit(1), locked / "old")
    hidden.mkdir()
    # Of somebody else, or of root's
    modes = [(locked / "old", 0o555), (locked, 0o555), (hidden, 0)]
    for folder, mode in modes:
        folder.chmod(mode)
    before = contents(locked)
    for folder in (locked / "new", locked / "old", hidden / "new"):
        record_property("fault", "permission to write an export is denied")
        with without_privileges(), pytest.raises(IQAError) as e:
            fiqa.export_slice(dataset, folder, overwrite=True)
        assert "Permission denied" in str(e.value)
        assert "choose a folder you may write" in str(e.value)
        assert contents(locked) == before
        assert [path.name for path in locked.iterdir()] == ["old"]

    record_property("fault", "permission to read an image is denied")
    os.chmod(paths[1], 0)
    (public / "open").mkdir()
    (public / "open").chmod(0o777)
    with without_privileges(), pytest.raises(IQAError) as e:
        fiqa.export_slice(dataset, public / "open" / "new")
    assert paths[1] in str(e.value) and "files you may read" in str(e.value)
    assert not any((public / "open").iterdir())
    for folder, _ in modes:
        folder.chmod(0o755)
