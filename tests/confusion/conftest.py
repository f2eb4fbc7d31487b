"""Images of two classes that a small network learns in seconds."""

import numpy as np
import pytest

CLASSES = ("across", "down")


def stripes(n, side=16, seed=0):
    """Makes stripes that run across or down, some of them faint.

    Returns:
        ``(n, 3, side, side)`` uint8, ``(n,)`` labels 0 or 1, ``(n,)``
        contrasts
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    contrast = rng.uniform(0.02, 1.0, n)
    wave = np.sin(np.arange(side) * 1.5 + rng.uniform(0, 6, (n, 1)))
    across = np.repeat(wave[:, :, None], side, axis=2)
    image = np.where(
        labels[:, None, None] == 0, across, across.transpose(0, 2, 1)
    )
    image = 127 + 70 * contrast[:, None, None] * image
    image = image[:, None] + rng.normal(0, 12, (n, 3, side, side))
    return np.clip(image, 0, 255).astype(np.uint8), labels, contrast


@pytest.fixture
def striped(make_dataset, tmp_path):
    """A function that makes a dataset of stripes, every sixth unlabelled."""
    import fiftyone as fo
    from PIL import Image

    def make(n=72, seed=0):
        images, labels, _ = stripes(n, seed=seed)
        folder = tmp_path / f"stripes-{seed}"
        folder.mkdir()
        paths = []
        for i, image in enumerate(images):
            paths.append(folder / f"{i:03d}.png")
            Image.fromarray(image.transpose(1, 2, 0)).save(paths[-1])
        dataset = make_dataset(paths=paths, persistent=True)
        values = [
            None if i % 6 == 5 else fo.Classification(label=CLASSES[label])
            for i, label in enumerate(labels)
        ]
        dataset.set_values("truth", values)
        return dataset

    return make


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FIFTYONE_IQA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"
