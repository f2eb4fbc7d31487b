"""Slices of datasets: which fields, what numbers, which views."""

import json

import numpy as np
import pytest

import fiftyone_iqa as fiqa
from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.slices import Slice, SliceTable, slice_view

N = 600


@pytest.fixture(scope="module")
def dataset(database):
    import fiftyone as fo

    rng = np.random.default_rng(0)
    dataset = fo.Dataset()
    samples = []
    for i in range(N):
        camera = ["left", "right", None][i % 3]
        fog = i % 4 == 0
        quality = rng.normal() - 1.5 * (camera == "right") - 0.5 * fog
        samples.append(
            fo.Sample(
                f"/no/{i}.jpg",
                tags=["fog", "odd"] if fog else [],
                camera=camera,
                night=bool(i % 2) if i % 5 else None,
                severity=i % 6,
                serial=i,
                url=f"http://{i}",
                words=["a", "a", "$b"] if i % 10 == 0 else None,
                ground_truth=fo.Classification(label="cat" if i % 7 else "$x"),
                predicted=fo.Classification(label="cat") if i % 2 else None,
                many=fo.Classifications(
                    classifications=[
                        fo.Classification(label=label)
                        for label in "ab"[: i % 3]
                    ]
                ),
                q=None if i % 50 == 0 else quality,
                other=-quality + rng.normal(),
                loose=0.5,
                right=None
                if i % 40 == 1
                else bool(rng.random() < 1 / (1 + np.exp(-2 * quality - 2))),
                iqa_failure={"tv": "why"} if i == 0 else None,
                source_id=f"photo{i // 2}",
            )
        )
    dataset.add_samples(samples, progress=False)
    fiqa.use_quality_field(dataset, "q", higher_is_better=True)
    fiqa.use_quality_field(dataset, "other", higher_is_better=False)
    yield dataset
    dataset.delete()


@pytest.fixture(scope="module")
def table(dataset):
    return fiqa.find_slices(dataset, "q", "right", progress=False)


def test_the_worst_slices_come_first(table):
    # The poorest fifth is poorer than any camera
    assert [s.field for s in table[:3]] == ["q", "other", "camera"]
    (camera,) = [s for s in table if s.name == "camera = right"]
    assert camera.shift.high < -0.5 and camera.lift.high < 0
    assert camera.shift_q < 0.01 and camera.lift_q < 0.01
    assert camera.n == 200 and camera.n_scored == 196


def test_fields_are_chosen(table):
    assert {s.field for s in table} == {
        "tags",
        "camera",
        "night",
        "severity",
        "words",
        "ground_truth.label",
        "predicted.label",
        "many.classifications.label",
        "q",
        "other",
    }
    assert table.skipped == {
        "serial": "it has 600 values, more than 50",
        "url": "it has 600 values, more than 200",
    }


def test_every_slice_is_a_view_of_its_size(dataset, table):
    dataset.reload()
    for i, s in enumerate(table):
        view = table.view(i)
        assert len(view) == s.n, s.name
        assert view.count("q") == s.n_scored
        assert view.count("right") == s.n_judged
        assert view.mean("q") == pytest.approx(s.mean_quality)
        assert slice_view(dataset, json.loads(json.dumps(s.to_dict()))) == view


def test_bands_cover_all_values_once(table):
    for field in ("q", "other"):
        bands = sorted(s.value for s in table if s.field == field)
        assert len(bands) == 5
        ends = [end for band in bands for end in band]
        assert ends == sorted(ends)
        counts = [s.n for s in table if s.field == field]
        assert max(counts) - min(counts) <= 2
    assert sum(s.n for s in table if s.field == "q") == 588


def test_without_correctness_the_metrics_own_bands_are_left_out(dataset):
    table = fiqa.find_slices(dataset, "q", progress=False)
    assert "q" not in {s.field for s in table}
    # Correctness that is not named is a field like others
    assert all(s.accuracy.value is None for s in table)
    assert all(s.lift_p is None and s.n_judged == 0 for s in table)
    asked = fiqa.find_slices(dataset, "q", by="q", progress=False)
    assert len(asked) == 5 and asked[0].value[0] == dataset.bounds("q")[0]


def test_the_table_as_data(dataset, table):
    frame = table.to_pandas()
    assert len(frame) == len(table)
    assert {"shift", "shift_low", "lift_high", "lift_q", "score"} <= set(frame)
    assert frame.score.is_monotonic_decreasing
    stored = json.loads(json.dumps(table.to_dict()))
    again = SliceTable.from_dict(stored, dataset)
    assert list(again) == list(table)
    assert again.view(0) == table.view(0)
    assert "camera = right" in str(table)
    assert Slice.from_dict(table[0].to_dict()) == table[0]
    few = fiqa.find_slices(dataset, "q", max_slices=2, progress=False)
    assert len(few) == 2 and few.n_tested > 10


def test_nothing_large_enough(dataset):
    table = fiqa.find_slices(
        dataset, "q", by="camera", min_n=500, progress=False
    )
    assert len(table) == 0 and table.to_pandas().empty
    assert "score" in table.to_pandas()
    assert "No slice" in str(table)


def test_a_view_has_its_own_slices(dataset):
    view = dataset.match({"camera": "left"})
    table = fiqa.find_slices(view, "q", by=["tags", "camera"], progress=False)
    # All are of one camera: there is no rest
    assert {s.name for s in table} == {"tags has fog", "tags has odd"}
    assert len(table.view(0)) == table[0].n == 50


def test_saving_a_slice(dataset, table):
    (i,) = [i for i, s in enumerate(table) if s.name == "camera = right"]
    name = table.save(i)
    try:
        assert name == "iqa_slice_camera = right"
        assert len(dataset.load_saved_view(name)) == 200
        record = dataset.info["iqa_views"][name]
        assert slice_view(dataset, record["slice"]) == table.view(i)
    finally:
        from fiftyone_iqa.saved_views import remove_views

        assert remove_views(dataset) == [name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": "nope"}, "has no field 'nope'"),
        ({"by": "loose"}, "FloatField; slices are made by"),
        ({"by": "url"}, "No slices by 'url': it has 600 values"),
        ({"by": []}, "by is empty"),
        ({"min_n": 1}, "min_n must be"),
        ({"max_slices": 0}, "max_slices must be"),
        ({"correctness": "camera"}, "non-boolean field 'camera'"),
        ({"metric": "camera"}, "StringField"),
    ],
)
def test_bad_calls(dataset, arguments, message):
    arguments = {"metric": "q", "progress": False, **arguments}
    with pytest.raises(IQAError, match=message):
        fiqa.find_slices(dataset, **arguments)


def test_a_metric_without_direction_needs_one(make_dataset):
    dataset = make_dataset(n=4)
    fiqa.compute_quality(dataset, metrics="tv", progress=False)
    with pytest.raises(IQAError, match="no direction"):
        fiqa.find_slices(dataset, "tv")
    fiqa.find_slices(dataset, "tv", higher_is_better=True, progress=False)


def test_predictions_of_a_task_model_are_labels(dataset):
    field = dataset.get_field("predicted")
    # As compute_predictions declares it
    field.info = {"iqa": {"metric": "model", "direction": "none"}}
    field.save()
    try:
        table = fiqa.find_slices(
            dataset, "q", by="predicted", min_n=5, progress=False
        )
        assert [row.n for row in table] == [N // 2]
    finally:
        field.info = None
        field.save()


def test_objects(database):
    import fiftyone as fo

    rng = np.random.default_rng(1)
    dataset = fo.Dataset()
    for i in range(60):
        objects = [
            fo.Detection(
                label="car" if j % 2 else "person",
                bounding_box=[0, 0, 1, 1],
                sharp=float(rng.normal() - 2 * (j % 2)),
                found=bool(rng.random() < (0.3 if j % 2 else 0.9)),
            )
            for j in range(i % 4)
        ]
        dataset.add_sample(
            fo.Sample(
                f"/no/{i}.jpg",
                camera="ab"[i // 4 % 2],
                tags=["x"] if i % 3 else ["y"],
                objects=fo.Detections(detections=objects),
            )
        )
    dataset.add_dynamic_sample_fields()
    try:
        path = "objects.detections.sharp"
        fiqa.use_quality_field(dataset, path, True)
        table = fiqa.find_slices(
            dataset, path, "objects.detections.found", progress=False
        )
        names = [s.name for s in table if s.kind != "band"]
        assert names[0] == "objects.detections.label = car"
        for i, s in enumerate(table):
            view = table.view(i)
            assert view.count("objects.detections") == s.n, s.name
        assert {"camera", "tags"} <= {s.field for s in table}
        with pytest.raises(IQAError, match="different things"):
            dataset.add_sample_field("r", fo.BooleanField)
            fiqa.find_slices(dataset, path, "r")
    finally:
        dataset.delete()


def test_groups_are_all_their_image_slices(database):
    import fiftyone as fo

    dataset = fo.Dataset()
    samples = []
    for i in range(40):
        group = fo.Group()
        for side in ("left", "right"):
            samples.append(
                fo.Sample(
                    f"/no/{side}{i}.jpg",
                    g=group.element(side),
                    side=side,
                    q=float(i % 7) - 3 * (side == "right"),
                )
            )
    dataset.add_samples(samples, progress=False)
    try:
        fiqa.use_quality_field(dataset, "q", True)
        table = fiqa.find_slices(dataset, "q", progress=False)
        (right,) = [s for s in table if s.value == "right"]
        assert right.n == 40 and right.shift.high < 0
        assert len(fiqa.low_quality_view(dataset, "q", threshold=-3)) == 6
    finally:
        dataset.delete()
