"""Histograms of quality fields, against those of a run."""

import json

import numpy as np
import pytest

import fiftyone_iqa as fiqa
from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.histogram import histogram

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def dataset(database):
    """Images with q, and objects with tv; some values are none."""
    import fiftyone as fo

    rng = np.random.default_rng(0)
    dataset = fo.Dataset()
    samples = []
    for i in range(200):
        boxes = [
            fo.Detection(
                label="paw",
                bounding_box=[0, 0, 0.5, 0.5],
                tv=None if j == 2 else float(rng.random()),
                seen=None if j == 1 else bool(rng.random() < 0.5),
            )
            for j in range(i % 4)
        ]
        sample = fo.Sample(
            f"/no/{i}.jpg",
            q=float(rng.normal()),
            right=None if i % 10 == 0 else bool(rng.random() < 0.7),
        )
        if i % 5:
            sample["boxes"] = fo.Detections(detections=boxes)
        samples.append(sample)
    for sample, value in zip(samples, (None, NAN, INF, -INF)):
        sample["q"] = value
    dataset.add_samples(samples, progress=False)
    dataset.add_dynamic_sample_fields()
    # Objects that have no such key at all
    dataset._sample_collection.update_many(
        {}, {"$unset": {"boxes.detections.0.tv": ""}}
    )
    dataset.reload()
    fiqa.use_quality_field(dataset, "q", True)
    fiqa.use_quality_field(dataset, "boxes.detections.tv", False)
    yield dataset
    dataset.delete()


def test_it_is_what_a_run_reports(dataset):
    # As it is stored
    found = json.loads(json.dumps(histogram(dataset, "q", "right")))
    # A run refuses what is infinite
    dataset.set_values("q", [None] * 4 + dataset.values("q")[4:])
    reported = fiqa.build_quality_prior(
        dataset, "q", "right", n_resamples=50, progress=False
    ).report["metrics"]["q"]
    assert found["distribution"] == reported["distribution"]
    assert found["by_correctness"] == reported["by_correctness"]
    assert found["direction"] == reported["direction"] == "higher"
    assert found["distribution"]["n"] == 196
    assert found["distribution"]["n_missing"] == 4
    assert histogram(dataset, "q")["by_correctness"] is None


def test_objects_are_counted_one_by_one(dataset):
    path = "boxes.detections.tv"
    found = histogram(dataset, path, "boxes.detections.seen")
    values = [v for row in dataset.values(path) for v in row or ()]
    seen = dataset.values("boxes.detections.seen")
    seen = [v for row in seen for v in row or ()]
    known = [v for v in values if v is not None]
    described = found["distribution"]
    assert described["n"] == len(known) and described["n"] > 50
    assert described["n_missing"] == len(values) - len(known) > 0
    counts = np.histogram(known, bins=described["bin_edges"])[0]
    assert list(described["counts"]) == counts.tolist()
    for name, outcome in (("right", True), ("wrong", False)):
        part = [
            v for v, s in zip(values, seen) if v is not None and s is outcome
        ]
        counts = np.histogram(part, bins=described["bin_edges"])[0]
        assert found["by_correctness"][name] == counts.tolist()
    assert found["direction"] == "lower"


def test_a_view_is_counted_alone(dataset):
    view = dataset.limit(50)
    assert histogram(view, "q")["distribution"]["n"] == 46
    described = histogram(view, "boxes.detections.tv")["distribution"]
    values = [v for r in view.values("boxes.detections.tv") for v in r or ()]
    assert described["n"] + described["n_missing"] == len(values)


def test_of_groups_all_images_are_counted(database):
    import fiftyone as fo

    dataset = fo.Dataset()
    try:
        dataset.add_group_field("group", default="left")
        samples = []
        for i in range(6):
            group = fo.Group()
            for name in ("left", "right"):
                samples.append(
                    fo.Sample(
                        f"/no/{i}-{name}.jpg",
                        group=group.element(name),
                        q=float(i),
                    )
                )
        dataset.add_samples(samples, progress=False)
        fiqa.use_quality_field(dataset, "q", True)
        assert histogram(dataset, "q")["distribution"]["n"] == 12
    finally:
        dataset.delete()


def test_what_cannot_be_counted(dataset):
    import fiftyone as fo

    dataset.add_sample_field("none", fo.FloatField)
    fiqa.use_quality_field(dataset, "none", True)
    with pytest.raises(IQAError, match="'none' has no value"):
        histogram(dataset, "none")
    with pytest.raises(IQAError, match="has no field 'nothing'"):
        histogram(dataset, "nothing")
    with pytest.raises(IQAError, match="belong to different things"):
        histogram(dataset, "boxes.detections.tv", "right")
