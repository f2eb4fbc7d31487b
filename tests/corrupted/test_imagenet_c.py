"""ImageNet-C as downloaded."""

import os
from collections import Counter

import numpy as np
import pytest
from PIL import Image

fo = pytest.importorskip("fiftyone")

from fiftyone_iqa.corrupted_datasets import (  # noqa: E402
    load_imagenet_c,
)
from fiftyone_iqa.errors import IQAError  # noqa: E402


@pytest.fixture
def imagenet_c(tmp_path):
    """Two archives unpacked, each in its folder, of three images each."""
    root = tmp_path / "imagenet-c"
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    images = [
        ("n01440764", "ILSVRC2012_val_00000293.JPEG"),
        ("n01440764", "ILSVRC2012_val_00002138.JPEG"),
        ("n02012849", "ILSVRC2012_val_00000410.JPEG"),
    ]
    for condition in (
        "noise/shot_noise/1",
        "noise/gaussian_noise/1",
        "noise/gaussian_noise/5",
        "extra/spatter/2",
    ):
        for synset, name in images:
            path = root / condition / synset / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    (root / "noise" / "gaussian_noise" / "1" / "notes.txt").write_text("")
    return root


def test_load_imagenet_c(imagenet_c):
    dataset = load_imagenet_c(imagenet_c)
    conditions = [
        ("gaussian_noise", 1),
        ("gaussian_noise", 5),
        ("shot_noise", 1),
        ("spatter", 2),
    ]
    stems = [
        "ILSVRC2012_val_00000293",
        "ILSVRC2012_val_00000410",
        "ILSVRC2012_val_00002138",
    ]
    rows = list(zip(*dataset.values(["corruption", "severity", "source_id"])))
    assert rows == [(c, s, stem) for c, s in conditions for stem in stems]
    labels = dataset.values("ground_truth.label")
    assert labels == ["tench", "crane bird", "tench"] * 4
    assert set(dataset.values("corruption_protocol")) == {"imagenet-c"}
    assert all(map(os.path.isfile, dataset.values("filepath")))

    # One archive alone, its folder or what is in it
    noise = load_imagenet_c(imagenet_c / "noise", labels="synset")
    assert len(noise) == 9
    assert noise.distinct("ground_truth.label") == ["n01440764", "n02012849"]


def test_load_a_part_of_imagenet_c(imagenet_c):
    few = load_imagenet_c(imagenet_c, max_per_condition=2)
    assert Counter(few.values("source_id")) == {
        "ILSVRC2012_val_00000293": 4,
        "ILSVRC2012_val_00000410": 4,
    }
    cranes = load_imagenet_c(
        imagenet_c, "cranes", ["n02012849"], "gaussian_noise", [5]
    )
    assert cranes.name == "cranes" and len(cranes) == 1


def test_bad_imagenet_c_folders(imagenet_c, make_dataset, tmp_path):
    empty = tmp_path / "some" / "where" / "empty"
    (empty / "snow" / "1").mkdir(parents=True)
    taken = make_dataset(n=1).name
    before = fo.list_datasets()
    for arguments, said in (
        ({"dir": tmp_path / "nowhere"}, "no folder"),
        ({"dir": tmp_path}, "no folders of ImageNet-C"),
        ({"dir": imagenet_c / "noise" / "shot_noise"}, "unpacked in"),
        ({"dir": empty}, "no images"),
        ({"dir": imagenet_c, "dataset_name": taken}, "exists"),
        ({"dir": imagenet_c, "classes": ["n9"]}, "no images of the classes"),
        ({"dir": imagenet_c, "corruptions": "fog"}, r"asks for \['fog'\]"),
        ({"dir": imagenet_c, "severities": [1, 4]}, r"asks for \[4\]"),
        ({"dir": imagenet_c, "labels": "words"}, "name, synset"),
        ({"dir": imagenet_c, "max_per_condition": 0}, "at least 1"),
    ):
        with pytest.raises(IQAError, match=said):
            load_imagenet_c(**arguments)
    assert fo.list_datasets() == before
