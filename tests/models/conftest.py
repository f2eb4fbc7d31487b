import os

import numpy as np
import pytest


@pytest.fixture(scope="session")
def images():
    """Random images: landscape, portrait, small, odd, already of size."""
    rng = np.random.default_rng(0)
    sizes = [(300, 400), (281, 233), (40, 33), (517, 256), (224, 224)]
    return [rng.integers(0, 256, (*s, 3), dtype=np.uint8) for s in sizes]


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    """An empty folder for torch.hub's weights, and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    os.makedirs(folder)
    return folder
