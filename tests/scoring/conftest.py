"""A small, real CLIP at seeded random weights for the engine's tests."""

import json
from pathlib import Path

import pytest

TINY_CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {
        "image_size": 32,
        "layers": 1,
        "width": 32,
        "head_width": 16,
        "patch_size": 8,
    },
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 1,
    },
}


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    """Paths of two checkpoints of the architecture ``iqa-engine``."""
    import open_clip
    import torch

    folder = tmp_path_factory.mktemp("engine")
    (folder / "iqa-engine.json").write_text(json.dumps(TINY_CONFIG))
    open_clip.add_model_config(folder / "iqa-engine.json")
    paths = []
    for seed in range(2):
        torch.manual_seed(seed)
        path = Path(folder) / f"{seed}.pt"
        torch.save(open_clip.create_model("iqa-engine").state_dict(), path)
        paths.append(path)
    return paths


@pytest.fixture(scope="session")
def encoder_names(tiny_weights):
    """Two names for ``encoder=``, of one architecture."""
    return [f"iqa-engine/{path}" for path in tiny_weights]


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
