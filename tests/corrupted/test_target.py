"""Settings, datasets and folders that are refused; nothing is made then."""

from pathlib import Path

import pytest

fo = pytest.importorskip("fiftyone")

from fiftyone_iqa.corrupted_datasets import (  # noqa: E402
    corrupt_dataset,
    mildly_corrupt_dataset,
)
from fiftyone_iqa.errors import IQAError  # noqa: E402

FAST = {"corruptions": ["contrast", "gaussian_noise"], "severities": [1, 3]}


def files(folder):
    """All files of a folder: ``{path: (bytes, time of change)}``."""
    return {
        str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns)
        for p in sorted(Path(folder).rglob("*"))
        if p.is_file()
    }


def test_other_settings_are_refused(make_dataset, media_root):
    source = make_dataset(n=2)
    made = corrupt_dataset(source, **FAST, num_workers=0)
    before, ids = files(media_root), made.values("id")
    for settings, said in (
        ({"seed": 3}, "seed=51, not 3"),
        ({"quality": 40}, "quality=85, not 40"),
        ({"image_format": "png"}, "image_format='jpg', not 'png'"),
        ({"protocol": "imagenet-c"}, "protocol='native', not 'imagenet-c'"),
    ):
        with pytest.raises(IQAError, match=said):
            corrupt_dataset(source, **FAST, **settings)
        with pytest.raises(IQAError, match="another images_dir="):
            corrupt_dataset(
                source,
                **FAST,
                **settings,
                dataset="not-to-be",
                images_dir=media_root / made.slug,
            )
    with pytest.raises(IQAError, match="leave out images_dir="):
        corrupt_dataset(source, **FAST, images_dir=media_root / "elsewhere")
    with pytest.raises(IQAError, match="kind='grid', not 'mild'"):
        mildly_corrupt_dataset(source, 0.5, dataset=made.name)

    mild = mildly_corrupt_dataset(source, 0.5, num_workers=0)
    with pytest.raises(IQAError, match="n=2, not 1"):
        mildly_corrupt_dataset(source[:1], 0.5)
    with pytest.raises(IQAError, match="other source images"):
        mildly_corrupt_dataset(source.sort_by("id", reverse=True), 0.5)
    with pytest.raises(IQAError, match="with p="):
        mildly_corrupt_dataset(source, 0.6, dataset=mild.name)
    assert len(mild) == 2
    assert not fo.dataset_exists("not-to-be")
    assert made.values("id") == ids
    after = files(media_root / made.slug)
    assert {f"{made.slug}/{p}": v for p, v in after.items()} == before


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({"corruptions": "blurr"}, "no corruption 'blurr'"),
        ({"corruptions": ["contrast", 3]}, "corruptions must be"),
        ({"corruptions": []}, "corruptions is empty"),
        ({"severities": [1, 6]}, "severities must be"),
        ({"severities": 0}, "severities must be"),
        ({"severities": ()}, "severities is empty"),
        ({"protocol": "cifar"}, "no protocol 'cifar'; there are native"),
        ({"image_format": "bmp"}, "one of jpg, png, not 'bmp'"),
        ({"quality": 0}, "from 1 to 100, not 0"),
        ({"image_format": "png", "quality": 90}, "PNG files have no quality"),
        ({"seed": 1.5}, "seed must be an integer"),
        ({"num_workers": -1}, "num_workers must be"),
        ({"fields": ["nope"]}, "fields= names 'nope'"),
        ({"dataset": 3}, "dataset must be"),
        ({"dataset": "!"}, "no name for a dataset"),
    ],
)
def test_bad_arguments(make_dataset, media_root, arguments, said):
    source = make_dataset(n=1)
    before = fo.list_datasets()
    with pytest.raises(IQAError, match=said):
        corrupt_dataset(source, **arguments)
    assert fo.list_datasets() == before
    assert not media_root.exists()


@pytest.mark.parametrize("p", [-0.1, 1.01, float("nan"), "half", None])
def test_bad_fractions(make_dataset, p):
    with pytest.raises(IQAError, match="between 0 and 1"):
        mildly_corrupt_dataset(make_dataset(n=1), p)


def test_bad_collections(make_dataset, tmp_path):
    source = make_dataset(n=2)
    with pytest.raises(IQAError, match="must be a FiftyOne dataset or view"):
        corrupt_dataset([1])
    with pytest.raises(IQAError, match="empty"):
        corrupt_dataset(source.match({"filepath": "nowhere"}))
    videos = make_dataset(paths=[])
    videos.add_samples([fo.Sample(filepath="/nowhere/a.mp4")])
    with pytest.raises(IQAError, match="not of video"):
        corrupt_dataset(videos)

    source.first()["objects"] = fo.Detections()
    sample = source.first()
    sample["objects"] = fo.Detections(
        detections=[fo.Detection(label="a", bounding_box=[0, 0, 1, 1])]
    )
    sample.save()
    with pytest.raises(IQAError, match="patches or frames"):
        corrupt_dataset(source.to_patches("objects"))

    grouped = make_dataset(paths=[])
    grouped.add_group_field("group", default="left")
    path, group = source.first().filepath, fo.Group()
    left = fo.Sample(filepath=path, group=group.element("left"))
    grouped.add_samples([left])
    with pytest.raises(IQAError, match="select_group_slices"):
        corrupt_dataset(grouped)
    with pytest.raises(IQAError, match="holds group samples"):
        corrupt_dataset(grouped.select_group_slices("left"), dataset=grouped)

    with pytest.raises(IQAError, match="holds video samples"):
        corrupt_dataset(source, dataset=videos)
    mine = make_dataset(n=1)
    with pytest.raises(IQAError, match=f"{mine.name!r} exists; pass another"):
        corrupt_dataset(source, dataset=mine.name)
    with pytest.raises(IQAError, match="cannot be added to another"):
        mildly_corrupt_dataset(source, 0.1, dataset=mine)

    mine.add_sample_field("severity", fo.FloatField)
    with pytest.raises(IQAError, match="'severity'.*rename yours"):
        corrupt_dataset(source, dataset=mine)
    other = make_dataset(n=1)
    other.add_sample_field("objects", fo.StringField)
    with pytest.raises(IQAError, match="'objects' is of different types"):
        corrupt_dataset(source, dataset=other)
    assert len(mine) == len(other) == 1

    file = tmp_path / "file"
    file.write_text("")
    for folder in (file, file / "below"):
        with pytest.raises(IQAError, match="images_dir"):
            corrupt_dataset(source, images_dir=folder, dataset="never")
    assert not fo.dataset_exists("never")
