import numpy as np
import pytest

import fiftyone_iqa as fiqa
from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.quality_columns import QualityColumns, metric_fields


@pytest.fixture
def dataset(database):
    import fiftyone as fo

    dataset = fo.Dataset()
    samples = []
    for i in range(4):
        boxes = [
            fo.Detection(
                label="car", bounding_box=[0, 0, 1, 1], area=float(10 * i + j)
            )
            for j in range(i)
        ]
        samples.append(
            fo.Sample(
                f"/no/{i}.jpg",
                tags=["a"] if i else ["a", "b"],
                q=None if i == 2 else float(i),
                n=i,
                camera="left" if i < 3 else None,
                right=[True, None, False, True][i],
                source_id=None if i == 0 else "first",
                boxes=fo.Detections(detections=boxes),
            )
        )
    dataset.add_samples(samples, progress=False)
    dataset.add_dynamic_sample_fields()
    for field in ("q", "n"):
        fiqa.use_quality_field(dataset, field, higher_is_better=field == "q")
    fiqa.use_quality_field(dataset, "boxes.detections.area", True)
    yield dataset
    dataset.delete()


def test_fields_carry_their_direction(dataset):
    q, n = metric_fields(dataset, ["q", "n", "q"])
    assert (q.path, q.higher_is_better) == ("q", True)
    assert (n.path, n.higher_is_better) == ("n", False)
    assert q.guidance is None and q.identity is None


def test_a_metrics_name_stands_for_its_fields(make_dataset):
    dataset = make_dataset(n=2)
    fiqa.compute_quality(dataset, metrics=("tv", "blur"), progress=False)
    (tv,) = metric_fields(dataset, "tv")
    assert (tv.direction, tv.higher_is_better) == ("none", None)
    assert tv.guidance == "none" and type(tv.identity) is dict
    with pytest.raises(IQAError, match=r"run compute_quality\(samples"):
        metric_fields(dataset, "zsclip")


def test_missing_values_are_nan(dataset):
    columns = QualityColumns(dataset, metric_fields(dataset, ["q", "n"]))
    assert columns.quality.shape == (4, 2)
    np.testing.assert_array_equal(columns.quality[:, 0], [0, 1, np.nan, 3])
    np.testing.assert_array_equal(columns.correct("right"), [1, np.nan, 0, 1])


def test_a_sample_without_source_is_its_own(dataset):
    columns = QualityColumns(dataset, metric_fields(dataset, "q"))
    ids = dataset.values("id")
    assert columns.source.tolist() == [ids[0], "first", "first", "first"]
    assert columns.source_field == "source_id"

    other = QualityColumns(dataset, metric_fields(dataset, "q"), "camera")
    assert other.source.tolist() == ["left", "left", "left", ids[3]]


def test_groups_and_names(dataset):
    columns = QualityColumns(dataset, metric_fields(dataset, "q"))
    assert columns.groups(["camera", "n"]) == [
        ("left", 0),
        ("left", 1),
        ("left", 2),
        None,
    ]
    assert columns.names("camera") == ["left", "left", "left", None]
    tags = columns.tags()
    assert sorted(tags) == ["a", "b"]
    assert tags["b"].tolist() == [True, False, False, False]


def test_objects_repeat_their_samples_columns(dataset):
    path = "boxes.detections.area"
    columns = QualityColumns(dataset, metric_fields(dataset, path))
    assert columns.quality[:, 0].tolist() == [10, 20, 21, 30, 31, 32]
    assert columns.column("n") == [1, 2, 2, 3, 3, 3]
    assert columns.column("boxes.detections.label") == ["car"] * 6
    assert columns.source.tolist() == ["first"] * 6
    assert len(columns.tags()["a"]) == 6


def test_a_view_reads_its_own_rows(dataset):
    view = dataset.match({"camera": "left"})
    columns = QualityColumns(view, metric_fields(view, "q"))
    assert columns.n == 3


def test_unusable_fields(dataset):
    with pytest.raises(IQAError, match="is a StringField"):
        metric_fields(dataset, "camera")
    with pytest.raises(IQAError, match="its quality fields are q, n, boxes"):
        metric_fields(dataset, "w")
    with pytest.raises(IQAError, match="name of a field, not 3"):
        metric_fields(dataset, [3])
    columns = QualityColumns(dataset, metric_fields(dataset, "q"))
    with pytest.raises(IQAError, match="belongs to objects"):
        columns.column("boxes.detections.area")
    with pytest.raises(IQAError, match="no boolean field"):
        columns.correct("n")
    with pytest.raises(IQAError, match="has no field 'x'"):
        columns.column("x")


def by_values(samples, path, source, columns):
    """What FiftyOne's own values() say, one field after the other."""
    quality = samples.values(path)
    ids = samples.values("id")
    if source is not None:
        ids = [s or i for i, s in zip(ids, samples.values(source))]
    rows = {"source": ids}
    rows |= {name: samples.values(name) for name in columns}
    if "." in path:
        rows = {
            name: [x for v, q in zip(values, quality) for x in [v] * len(q)]
            if "." not in name
            else [x for row in values for x in row]
            for name, values in rows.items()
        }
        quality = [x for row in quality for x in row]
    return np.array(quality, dtype=float), rows


@pytest.mark.parametrize("path", ["q", "boxes.detections.area"])
@pytest.mark.parametrize("source", [None, "camera", "day"])
@pytest.mark.parametrize(
    "stages",
    [
        lambda d: d,
        lambda d: d.match({"n": {"$gte": 1}}),
        lambda d: d.sort_by("n", reverse=True).limit(3),
        lambda d: d.shuffle(seed=1).skip(1),
        lambda d: d.select_fields(["q", "n", "boxes", "camera", "day"]),
        lambda d: d.filter_labels("boxes", {"$gt": ["$$this.area", 20]}),
    ],
)
def test_one_pass_reads_what_values_does(dataset, path, source, stages):
    from datetime import date

    import fiftyone as fo

    dataset.add_sample_field("day", fo.DateField)
    dataset.set_values("day", [date(2026, 1, i) for i in (3, 2)] + [None] * 2)
    view = stages(dataset)
    also = ["n", "day", "camera", "tags"]
    if "." in path:
        also.append("boxes.detections.label")
    if not isinstance(view, fo.Dataset) and not view.get_field("right"):
        also = ["n", "day"]
    found = QualityColumns(view, metric_fields(view, path), source, also)
    default = "source_id" if view.get_field("source_id") else None
    quality, rows = by_values(view, path, source or default, also)
    np.testing.assert_array_equal(found.quality[:, 0], quality)
    assert found.source.tolist() == rows["source"]
    for name in also:
        assert found.column(name) == rows[name]
        late = QualityColumns(view, metric_fields(view, path), source)
        assert late.column(name) == rows[name]


def test_the_columns_are_read_in_one_pass(dataset, monkeypatch):
    from fiftyone.core import odm

    dataset.set_values("source_id", ["a", "b", "c", "d"])
    fields = metric_fields(dataset, ["q", "n"])
    passes = []
    aggregate = odm.aggregate
    monkeypatch.setattr(
        odm,
        "aggregate",
        lambda *a, **k: passes.append(a[1]) or aggregate(*a, **k),
    )
    columns = QualityColumns(dataset, fields, also=["right", "camera"])
    columns.correct("right")
    columns.groups(["camera"])
    assert len(passes) == 1 and len(passes[0]) == 1
    columns.column("tags")
    assert len(passes) == 2
