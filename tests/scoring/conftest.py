"""What the engine's tests share."""

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """An empty embedding cache for each test; returns its folder."""
    folder = tmp_path / "embedding-cache"
    monkeypatch.setenv("FIFTYONE_IQA_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def labelled(make_dataset):
    """Twelve images of two classes."""
    return make_dataset(12, labels=["cat", "dog"], size=(40, 56))
