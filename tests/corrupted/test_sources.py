"""What variants are made of and what they carry over."""

import uuid

import pytest

fo = pytest.importorskip("fiftyone")

from fiftyone_iqa.corrupted_datasets import (  # noqa: E402
    corrupt_dataset,
    mildly_corrupt_dataset,
)
from fiftyone_iqa.errors import IQAError  # noqa: E402

FAST = {"corruptions": ["contrast", "gaussian_noise"], "severities": [1, 3]}


def test_variants_are_no_sources(make_dataset):
    source = make_dataset(n=2)
    made = corrupt_dataset(source, **FAST, num_workers=0)
    again = mildly_corrupt_dataset(made, 0.5, num_workers=0)
    assert len(again) == 2  # the clean ones
    with pytest.raises(IQAError, match="variants already"):
        corrupt_dataset(made.match({"corruption": "contrast"}))


def test_predictions_and_scores_stay_behind(make_dataset):
    source = make_dataset(n=2, labels=["a", "b"], size=(60, 80))
    box = [0.1, 0.1, 0.5, 0.5]
    for sample in source:
        sample["objects"] = fo.Detections(
            detections=[
                fo.Detection(label="x", bounding_box=box, iscrowd=False)
            ]
        )
        sample["found"] = fo.Detections(
            detections=[
                fo.Detection(label="x", bounding_box=box, confidence=0.9)
            ]
        )
        sample["guess"] = fo.Classification(label="a", confidence=0.7)
        sample["mood"] = fo.Classification(label="calm")
        sample["camera"] = "left"
        sample["iqa_failure"] = {"tv": "no"}
        sample.save()
    source.evaluate_detections("found", gt_field="objects", eval_key="eval")

    from fiftyone_iqa import compute_correctness, compute_quality

    compute_quality(source, ["tv"], num_workers=0)
    compute_quality(
        source.to_patches("objects"), ["tv"], field_prefix="p_", num_workers=0
    )
    compute_correctness(source, eval_key="eval")
    compute_correctness(source, "guess", "ground_truth", field="right")
    assert source.first().objects.detections[0].iqa_correct is True

    made = corrupt_dataset(source, **FAST, num_workers=0)
    schema = set(made.get_field_schema())
    assert {"ground_truth", "objects", "mood"} <= schema
    assert not schema & {
        *("found", "guess", "tv", "right", "camera", "iqa_failure", "eval_tp")
    }
    for sample in made:
        (detection,) = sample.objects.detections
        assert detection.bounding_box == box and detection.iscrowd is False
        stale = {"eval", "eval_id", "eval_iou", "iqa_correct", "p_tv"}
        assert not stale & set(detection.to_dict())
    assert "p_tv" in source.first().objects.detections[0].to_dict()

    # Asked for by name, anything goes
    named = corrupt_dataset(
        source,
        **FAST,
        fields=["camera", "guess"],
        dataset=f"named-{uuid.uuid4().hex}",
        num_workers=0,
    )
    assert set(named.values("camera")) == {"left"}
    assert set(named.values("guess.confidence")) == {0.7}
    assert not named.has_field("ground_truth")


def test_places_are_lost_by_a_crop(make_dataset, caplog):
    source = make_dataset(n=1, labels=["a"])
    sample = source.first()
    sample["points"] = fo.Keypoints(
        keypoints=[fo.Keypoint(points=[(0.5, 0.5)])]
    )
    sample.save()
    kept = corrupt_dataset(
        source, "elastic_transform", 1, num_workers=0, include_clean=False
    )
    assert kept.count("points.keypoints") == 1
    assert "elastic_transform moves pixels" in caplog.text

    caplog.clear()
    cropped = {"protocol": "imagenet-c", "dataset": "cropped-points"}
    made = corrupt_dataset(source, **FAST, **cropped, num_workers=0)
    assert not made.has_field("points") and made.has_field("ground_truth")
    assert "points are left out" in caplog.text
    cropped["dataset"] = "cropped-points-2"
    with pytest.raises(IQAError, match="protocol='native'"):
        corrupt_dataset(source, **FAST, **cropped, fields="points")
    assert not fo.dataset_exists("cropped-points-2")
