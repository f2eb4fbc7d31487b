"""Patches, frames, groups and videos, with FiftyOne's own views."""

import numpy as np
import pytest
from PIL import Image

import fiftyone_iqa as fiqa
from fiftyone_iqa.images import read_image
from fiftyone_iqa.metrics.tv import total_variation

BOXES = [[0.1, 0.1, 0.3, 0.5], [0.5, 0.2, 0.5, 0.8]]


@pytest.fixture
def objects(make_dataset):
    """Three images with two boxes each; one more without any."""
    import fiftyone as fo

    dataset = make_dataset(4)
    for sample in dataset.limit(3):
        sample["boxes"] = fo.Detections(
            detections=[
                fo.Detection(label=label, bounding_box=box)
                for label, box in zip(("cat", "dog"), BOXES)
            ]
        )
        sample.save()
    return dataset


def test_patches_land_on_the_labels(objects):
    patches = objects.to_patches("boxes")
    report = fiqa.compute_quality(patches, metrics="tv")
    assert report.n == 6
    assert report.metrics[0].scored == 6

    objects.reload()
    assert "boxes.detections.tv" in objects.get_field_schema(flat=True)
    for sample in objects.limit(3):
        image = read_image(sample.filepath)
        height, width = image.shape[:2]
        for detection, box in zip(sample.boxes.detections, BOXES):
            left, top = int(box[0] * width), int(box[1] * height)
            right = int(np.ceil((box[0] + box[2]) * width - 1e-6))
            bottom = int(np.ceil((box[1] + box[3]) * height - 1e-6))
            expected = total_variation(
                np.ascontiguousarray(image[top:bottom, left:right])
            )
            assert detection.tv == expected

    # The view shows them too, and a new one starts with them
    assert None not in patches.values("boxes.tv")
    again = fiqa.compute_quality(objects.to_patches("boxes"), metrics="tv")
    assert again.metrics[0].skipped == 6
    info = objects.get_field("boxes.detections.tv").info["iqa"]
    assert info["metric"] == "tv"


def test_patches_with_an_encoder_use_crops(objects, encoder_names):
    fiqa.compute_quality(
        objects.to_patches("boxes"),
        metrics="zsclip",
        encoder=encoder_names[0],
        classes="boxes",
    )
    values = objects.values("boxes.detections.zsclip_ql")[:3]
    assert all(a != b for a, b in values), "two crops of one image differ"

    # Served from the cache, by crop
    report = fiqa.compute_quality(
        objects.to_patches("boxes"),
        metrics="zsclip",
        encoder=encoder_names[0],
        classes=["bird", "fish"],
        field_prefix="other",
    )
    assert report.n_decoded == 0
    assert report.n_from_cache == 6


def test_a_bad_box_costs_itself_alone(objects):
    sample = objects.first()
    sample.boxes.detections[1].bounding_box = [2, 2, 0.1, 0.1]
    sample.save()
    report = fiqa.compute_quality(objects.to_patches("boxes"), metrics="tv")
    assert report.n_failed == 1
    objects.reload()
    good, bad = objects.first().boxes.detections
    assert good.tv is not None
    assert bad.tv is None
    assert "no pixel" in bad.iqa_failure["tv"]


def test_polylines_are_refused(make_dataset):
    import fiftyone as fo

    dataset = make_dataset(1)
    sample = dataset.first()
    points = [[(0.1, 0.1), (0.5, 0.5), (0.1, 0.5)]]
    sample["lines"] = fo.Polylines(
        polylines=[fo.Polyline(label="x", points=points)]
    )
    sample.save()
    with pytest.raises(fiqa.IQAError, match="need bounding boxes"):
        fiqa.compute_quality(dataset.to_patches("lines"), metrics="tv")


@pytest.fixture
def groups(write_images):
    """Four groups of a left and a right image and a point cloud."""
    import fiftyone as fo

    dataset = fo.Dataset()
    dataset.add_group_field("group", default="left")
    paths = iter(write_images(8))
    for _ in range(4):
        group = fo.Group()
        dataset.add_samples(
            [
                fo.Sample(filepath=next(paths), group=group.element("left")),
                fo.Sample(filepath=next(paths), group=group.element("right")),
                fo.Sample(filepath="a.pcd", group=group.element("cloud")),
            ]
        )
    yield dataset
    dataset.delete()


def test_all_image_slices_of_a_group_are_scored(groups):
    report = fiqa.compute_quality(groups, metrics="tv")
    assert report.n == 8
    flat = groups.select_group_slices(["left", "right"])
    assert None not in flat.values("tv")


def test_only_the_groups_of_the_view_are_scored(groups):
    report = fiqa.compute_quality(groups[:2], metrics="tv")
    assert report.n == 4


def test_a_slice_alone(groups):
    report = fiqa.compute_quality(
        groups.select_group_slices("right"), metrics="tv"
    )
    assert report.n == 4
    assert groups.select_group_slices("left").count("tv") == 0


def test_groups_without_images_are_refused():
    import fiftyone as fo

    dataset = fo.Dataset()
    dataset.add_group_field("group", default="cloud")
    group = fo.Group()
    dataset.add_sample(
        fo.Sample(filepath="a.pcd", group=group.element("cloud"))
    )
    with pytest.raises(fiqa.IQAError, match="no image slices"):
        fiqa.compute_quality(dataset, metrics="tv")
    dataset.delete()


@pytest.fixture
def video(tmp_path):
    """A dataset with one real video of five frames."""
    import cv2
    import fiftyone as fo

    path = str(tmp_path / "video.avi")
    writer = cv2.VideoWriter(
        path, cv2.VideoWriter_fourcc(*"MJPG"), 5, (64, 48)
    )
    rng = np.random.default_rng(0)
    for _ in range(5):
        writer.write(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    writer.release()
    dataset = fo.Dataset()
    dataset.add_sample(fo.Sample(filepath=path))
    yield dataset
    dataset.delete()


def test_a_video_is_refused_with_the_way_out(video):
    with pytest.raises(fiqa.IQAError, match=r"to_frames\(sample_frames"):
        fiqa.compute_quality(video, metrics="tv")


def test_a_frames_view_without_files_is_refused(video):
    import fiftyone as fo

    sample = video.first()
    sample.frames[1] = fo.Frame(filepath=sample.filepath)
    sample.save()
    with pytest.raises(fiqa.IQAError, match="no image files"):
        fiqa.compute_quality(video.to_frames(), metrics="tv")


def test_a_frames_view_lands_on_the_frames(video, tmp_path):
    import fiftyone as fo

    # Frames as an extraction leaves them, without needing ffmpeg here
    sample = video.first()
    for number in range(1, 4):
        path = str(tmp_path / f"{number}.png")
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        sample.frames[number] = fo.Frame(filepath=path)
    sample.save()
    frames = video.to_frames()
    report = fiqa.compute_quality(frames, metrics="tv")
    assert report.metrics[0].scored == 3
    assert None not in frames.values("tv")
    video.reload()
    stored = [video.first().frames[n].tv for n in (1, 2, 3)]
    assert stored == frames.values("tv")
    assert video.get_field("frames.tv").info["iqa"]["metric"] == "tv"
    assert fiqa.compute_quality(frames, metrics="tv").n_skipped == 3
