"""What the tests of corrupted datasets share."""

import pytest


@pytest.fixture(autouse=True)
def media_root(tmp_path, monkeypatch):
    """Files go to the test's folder; datasets made here are deleted."""
    import fiftyone as fo

    monkeypatch.setattr(fo.config, "default_dataset_dir", str(tmp_path / "d"))
    before = set(fo.list_datasets())
    yield tmp_path / "d"
    for name in set(fo.list_datasets()) - before:
        fo.delete_dataset(name)
