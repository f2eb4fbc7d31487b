"""Datasets of corrupted images: the grid, and mild mixtures."""

import json
import os
import uuid
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

fo = pytest.importorskip("fiftyone")

from fiftyone_iqa import corruptions as fc  # noqa: E402
from fiftyone_iqa.corrupted_datasets import (  # noqa: E402
    corrupt_dataset,
    mildly_corrupt_dataset,
)
from fiftyone_iqa.images import read_image  # noqa: E402

FAST = {"corruptions": ["contrast", "gaussian_noise"], "severities": [1, 3]}
FAST_GRID = [(c, s) for c in FAST["corruptions"] for s in (1, 3)]
RECORD = "iqa_corruptions"


@pytest.fixture(autouse=True)
def media_root(tmp_path, monkeypatch):
    """Files go to the test's folder; datasets made here are deleted."""
    monkeypatch.setattr(fo.config, "default_dataset_dir", str(tmp_path / "d"))
    before = set(fo.list_datasets())
    yield tmp_path / "d"
    for name in set(fo.list_datasets()) - before:
        fo.delete_dataset(name)


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


def test_the_grid(make_dataset, media_root):
    source = make_dataset(n=3, labels=["cat", "dog"])
    first = source.first()
    first.tags = ["train"]
    first.save()
    source.default_classes = ["cat", "dog"]
    made = corrupt_dataset(source, **FAST, image_format="png", num_workers=0)

    assert made.name == f"{source.name}-corrupted" and made.persistent
    ids = source.values("id")
    assert keys(made) == grid(ids, [("clean", 0), *FAST_GRID])
    assert set(made.values("corruption_protocol")) == {"native"}
    assert made.default_classes == ["cat", "dog"]
    assert len(source) == 3 and not source.has_field("corruption")

    for sample in made:
        original = source[sample.source_id]
        assert sample.ground_truth.label == original.ground_truth.label
        assert sample.ground_truth.id != original.ground_truth.id
        assert sample.tags == original.tags
        if sample.corruption == "clean":
            assert sample.filepath == original.filepath
            continue
        parts = sample.corruption, str(sample.severity)
        path = media_root.joinpath(made.slug, *parts, f"{original.id}.png")
        assert sample.filepath == str(path)
        assert read_image(path).shape == read_image(original.filepath).shape


def test_pixels_depend_on_the_image_alone(make_dataset, tmp_path):
    """Not on ids, workers, the choice of conditions or other samples."""
    source = make_dataset(n=3)
    path = source.first().filepath
    other = make_dataset(paths=[path])
    one = corrupt_dataset(source, **FAST, image_format="png", num_workers=2)
    two = corrupt_dataset(
        other,
        corruptions="gaussian_noise",
        severities=3,
        image_format="png",
        num_workers=0,
    )
    F = fo.ViewField
    wanted = (F("corruption") == "gaussian_noise") & (F("severity") == 3)
    noisy = one.match(wanted)
    images = {s.source_id: read_image(s.filepath) for s in noisy}
    mine = images[source.first().id]
    theirs = read_image(two.match(wanted).first().filepath)
    np.testing.assert_array_equal(mine, theirs)
    other_images = [v for k, v in images.items() if k != source.first().id]
    clean = [read_image(p) for p in source.values("filepath")]
    noise = [i.astype(int) - c for i, c in zip(images.values(), clean)]
    assert len(other_images) == 2
    assert np.abs(noise[0] - noise[1]).mean() > 10  # draws differ

    reseeded = corrupt_dataset(
        other,
        corruptions="gaussian_noise",
        severities=3,
        image_format="png",
        seed=52,
        dataset=f"reseeded-{uuid.uuid4().hex}",
        num_workers=0,
    )
    again = read_image(reseeded.match(wanted).first().filepath)
    assert np.abs(again.astype(int) - mine).mean() > 10


def test_jpeg_quality(make_dataset):
    source = make_dataset(n=1, size=(120, 160))
    sizes = {}
    for quality in (30, None, 85, 99):
        made = corrupt_dataset(
            source,
            corruptions="brightness",
            severities=1,
            include_clean=False,
            quality=quality,
            dataset=f"q{quality}-{uuid.uuid4().hex}",
            num_workers=0,
        )
        with Image.open(made.first().filepath) as image:
            assert image.format == "JPEG"
        sizes[quality] = os.path.getsize(made.first().filepath)
    assert sizes[30] < sizes[85] < sizes[99]
    assert sizes[None] == sizes[85]


def test_imagenet_c_protocol(write_images, make_dataset):
    paths = write_images(2, size=(300, 500))
    source = make_dataset(paths=paths, labels=["a"])
    source.first().filepath  # noqa: B018
    made = corrupt_dataset(
        source,
        corruptions="contrast",
        severities=2,
        protocol="imagenet-c",
        image_format="png",
        num_workers=0,
    )
    assert keys(made) == grid(
        source.values("id"), [("clean", 0), ("contrast", 2)]
    )
    assert set(made.values("corruption_protocol")) == {"imagenet-c"}
    for sample in made.match({"corruption": "clean"}):
        pixels = read_image(sample.filepath)
        original = source[sample.source_id].filepath
        with Image.open(original) as image:  # torchvision's arithmetic
            resized = image.resize((426, 256), Image.Resampling.BILINEAR)
        expected = np.asarray(resized)[16:240, 101:325]
        np.testing.assert_array_equal(pixels, expected)
        F = fo.ViewField
        match = (F("source_id") == sample.source_id) & (F("severity") == 2)
        variant = made.match(match).first()
        np.testing.assert_array_equal(
            read_image(variant.filepath),
            fc.corrupt(expected, "contrast", 2, 0),
        )


def test_a_second_call_writes_nothing(make_dataset, media_root):
    source = make_dataset(n=2)
    made = corrupt_dataset(source, **FAST, num_workers=0)
    ids, before = made.values("id"), files(media_root)
    again = corrupt_dataset(source, **FAST, num_workers=0)
    assert again is made and made.values("id") == ids
    assert files(media_root) == before

    # More of it: only what is missing is made
    more = corrupt_dataset(
        source, ["contrast", "pixelate"], [1, 3], num_workers=0
    )
    assert more.values("id")[: len(ids)] == ids
    conditions = [("clean", 0), *FAST_GRID, ("pixelate", 1), ("pixelate", 3)]
    assert keys(more) == grid(source.values("id"), conditions)
    after = files(media_root)
    assert {p: after[p] for p in before} == before


def test_the_same_dataset(make_dataset, media_root):
    source = make_dataset(n=2, labels=["a", "b"])
    ids = source.values("id")
    conditions = [("clean", 0), *FAST_GRID]
    for dataset in (source, source.name, source):  # resumes
        made = corrupt_dataset(source, **FAST, dataset=dataset, num_workers=0)
        assert made is source
        assert keys(source) == grid(ids, conditions)
        assert source.values("id")[:2] == ids
        assert source.values("corruption")[:2] == ["clean"] * 2
        assert source.count("ground_truth") == 10


def test_the_same_dataset_resized(make_dataset):
    source = make_dataset(n=2)
    ids = source.values("id")
    for _ in range(2):
        corrupt_dataset(
            source,
            **FAST,
            dataset=source,
            protocol="imagenet-c",
            num_workers=0,
        )
        assert len(source) == 2 + 2 * 5
        assert source[ids[0]].corruption is None
        made = source.exists("corruption")
        assert keys(made) == grid(ids, [("clean", 0), *FAST_GRID])


def test_progress(make_dataset):
    source = make_dataset(n=3)
    seen = []
    corrupt_dataset(
        source, **FAST, num_workers=0, progress=lambda bar: seen.append(bar)
    )
    assert seen[-1].complete and seen[-1].iteration == 15


def test_mild_counts(make_dataset):
    source = make_dataset(n=21, labels=["a", "b"], size=(16, 20))
    ids = source.values("id")
    corrupted = {}
    for p, n in ((0, 0), (0.1, 2), (0.5, 10), (1, 21)):
        made = mildly_corrupt_dataset(source, p, num_workers=0)
        assert made.name == f"{source.name}-mild-{p:g}"
        assert made.values("source_id") == ids
        assert made.values("ground_truth.label") == source.values(
            "ground_truth.label"
        )
        settings = made.info[RECORD]["settings"]
        assert settings["p"] == p and settings["n"] == 21
        hit = made.match(fo.ViewField("corruption") != "clean")
        assert len(hit) == n == round(p * 21)
        assert set(hit.values("severity")) <= {1, 2, 3}
        clean = made.match({"corruption": "clean"})
        assert set(clean.values("severity")) <= {0}
        assert set(clean.values("filepath")) <= set(source.values("filepath"))
        corrupted[p] = set(keys(hit))
        repeated = mildly_corrupt_dataset(source, p, num_workers=0)
        assert repeated is made and len(made) == 21
    assert corrupted[0.1] < corrupted[0.5] < corrupted[1]


def test_mild_draws_are_uniform(make_dataset, tmp_path):
    source = make_dataset(n=1, size=(4, 4))
    path = source.first().filepath
    source.add_samples([fo.Sample(filepath=path) for _ in range(1799)])
    made = mildly_corrupt_dataset(
        source,
        0.5,
        corruptions=["contrast", "brightness", "jpeg_compression"],
        num_workers=2,
    )
    counts = Counter((c, s) for _, c, s in keys(made) if c != "clean")
    assert len(counts) == 9 and sum(counts.values()) == 900
    # Chi-squared with 8 degrees of freedom: 26 is exceeded once in 1000
    assert sum((n - 100) ** 2 / 100 for n in counts.values()) < 26
    halves = [made[:900], made[900:]]
    assert all(
        380 < len(half.match({"corruption": "clean"})) < 520 for half in halves
    )

    other = mildly_corrupt_dataset(
        source,
        0.5,
        corruptions=["contrast", "brightness", "jpeg_compression"],
        seed=1,
        dataset=f"other-{uuid.uuid4().hex}",
        num_workers=2,
    )
    assert keys(other) != keys(made)


def test_mild_imagenet_c(make_dataset):
    source = make_dataset(n=4, size=(300, 280))
    made = mildly_corrupt_dataset(
        source, 0.5, protocol="imagenet-c", num_workers=0
    )
    shapes = {read_image(path).shape for path in made.values("filepath")}
    assert shapes == {(224, 224, 3)}
    assert not set(made.values("filepath")) & set(source.values("filepath"))


def test_an_existing_dataset_given_as_such(make_dataset):
    source, mine = make_dataset(n=1, labels=["a"]), make_dataset(n=2)
    made = corrupt_dataset(source, **FAST, dataset=mine, num_workers=0)
    assert made is mine and len(mine) == 2 + 5
    assert mine.values("corruption")[:2] == [None, None]


def test_our_files_have_the_layout_of_imagenet_c(make_dataset, media_root):
    source = make_dataset(n=2)
    made = corrupt_dataset(source, **FAST, num_workers=0)
    manifest = json.loads(
        (media_root / made.slug / "corruptions.json").read_text()
    )
    assert manifest == {
        "seed": 51,
        "protocol": "native",
        "image_format": "jpg",
        "quality": 85,
    }
