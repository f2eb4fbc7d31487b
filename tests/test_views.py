"""Views of poor images, and of where quality and correctness disagree."""

import numpy as np
import pytest

import fiftyone_iqa as fiqa
from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.selection import select

NAN = float("nan")


@pytest.fixture
def dataset(database):
    """Scores 0 … 99, then one None and one NaN; even ones are right."""
    import fiftyone as fo

    dataset = fo.Dataset()
    dataset.add_sample_field("q", fo.FloatField)
    dataset.add_sample_field("right", fo.BooleanField)
    scores = [float(i) for i in range(100)] + [None, NAN]
    dataset.add_samples(
        [
            fo.Sample(
                f"/no/{i}.jpg",
                q=q,
                bad=None if q is None else -q,
                n=i,
                right=i % 2 == 0 if i % 10 else None,
                label="$a" if i % 2 else "b",
            )
            for i, q in enumerate(scores)
        ],
        progress=False,
    )
    fiqa.use_quality_field(dataset, "q", True)
    fiqa.use_quality_field(dataset, "bad", False)
    yield dataset
    dataset.delete()


@pytest.mark.parametrize("metric", ["q", "bad"])
def test_low_quality_by_share(dataset, metric):
    def low(**arguments):
        return fiqa.low_quality_view(dataset, metric, **arguments).values("n")

    assert low() == [0, 1, 2, 3, 4]
    assert low(quantile=0.2) == list(range(20))
    # At least one, and no score is never low
    assert low(quantile=0.001) == [0]
    assert low(quantile=0.999) == list(range(100))
    sign = 1 if metric == "q" else -1
    assert low(threshold=2 * sign) == [0, 1, 2]
    assert low(threshold=-1000 * sign) == []
    assert low(threshold=1000 * sign) == list(range(100))


def test_ties_are_all_low(dataset):
    dataset.set_values("q", [1.0] * 50 + [2.0] * 52)
    assert len(fiqa.low_quality_view(dataset, "q", quantile=0.01)) == 50
    assert len(fiqa.low_quality_view(dataset, "q", quantile=0.5)) == 102


@pytest.mark.parametrize("metric", ["q", "bad"])
def test_where_quality_and_correctness_disagree(dataset, metric):
    wrong = fiqa.good_quality_but_wrong(dataset, metric, "right")
    assert wrong.values("n") == list(range(75, 100, 2))
    right = fiqa.poor_quality_but_right(dataset, metric, "right")
    assert right.values("n") == [2, 4]
    sign = 1 if metric == "q" else -1
    wrong = fiqa.good_quality_but_wrong(
        dataset, metric, "right", threshold=97 * sign
    )
    assert wrong.values("n") == [99]
    right = fiqa.poor_quality_but_right(
        dataset, metric, "right", quantile=0.09
    )
    assert right.values("n") == [2, 4, 6, 8]


def test_a_views_own_scores_count(dataset):
    view = dataset.match({"n": {"$gte": 50}})
    assert fiqa.low_quality_view(view, "q", quantile=0.02).values("n") == [50]


def test_a_metric_without_direction_needs_one(make_dataset):
    dataset = make_dataset(n=4)
    fiqa.compute_quality(dataset, metrics=("tv", "zsclip")[:1], progress=False)
    values = dict(zip(dataset.values("tv"), dataset.values("id")))
    with pytest.raises(IQAError, match="'tv' has no direction: noise may"):
        fiqa.low_quality_view(dataset, "tv")
    for higher, end in ((True, min), (False, max)):
        view = fiqa.low_quality_view(dataset, "tv", higher_is_better=higher)
        assert view.values("id") == [values[end(values)]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"quantile": 0.1, "threshold": 2}, "not both"),
        ({"quantile": 0}, "between 0 and 1"),
        ({"quantile": 5}, "between 0 and 1"),
        ({"threshold": "low"}, "must be a number"),
        ({"threshold": NAN}, "must be a number"),
        ({"higher_is_better": False}, "higher is better; leave out"),
        ({"higher_is_better": "no"}, "True or False"),
        ({"metric": "label"}, "StringField"),
        ({"metric": "nope"}, "has no field 'nope'"),
    ],
)
def test_bad_calls(dataset, arguments, message):
    with pytest.raises(IQAError, match=message):
        fiqa.low_quality_view(dataset, **{"metric": "q", **arguments})


def test_bad_correctness(dataset):
    for name in ("nope", "label", None):
        with pytest.raises(IQAError, match="compute_correctness"):
            fiqa.good_quality_but_wrong(dataset, "q", name)


def test_no_score_at_all(dataset):
    dataset.clear_sample_field("q")
    with pytest.raises(IQAError, match="no score here"):
        fiqa.low_quality_view(dataset, "q")
    assert len(fiqa.low_quality_view(dataset, "q", threshold=5)) == 0


def test_what_is_no_collection_of_images(database):
    import fiftyone as fo

    with pytest.raises(IQAError, match="must be a FiftyOne dataset"):
        fiqa.low_quality_view("q", "q")
    dataset = fo.Dataset()
    try:
        with pytest.raises(IQAError, match="empty"):
            fiqa.low_quality_view(dataset, "q")
        dataset.add_sample(fo.Sample("/no/a.mp4"))
        with pytest.raises(IQAError, match="to_frames"):
            fiqa.low_quality_view(dataset, "q")
    finally:
        dataset.delete()


def test_a_dollar_in_a_label_is_no_field(dataset):
    assert len(select(dataset, {"label": "$a"})) == 51


@pytest.fixture
def objects(database):
    import fiftyone as fo

    dataset = fo.Dataset()
    scores = [[0.0, 1.0, None], [], [2.0, NAN], [9.0]]
    for i, row in enumerate(scores):
        detections = [
            fo.Detection(
                label="$a",
                bounding_box=[0, 0, 0.5, 0.5],
                q=q,
                right=bool(q),
            )
            for q in row
        ]
        dataset.add_sample(
            fo.Sample(
                f"/no/{i}.jpg", o=fo.Detections(detections=detections), m=i
            )
        )
    dataset.add_dynamic_sample_fields()
    fiqa.use_quality_field(dataset, "o.detections.q", True)
    yield dataset
    dataset.delete()


def test_views_of_objects_have_the_poor_objects_only(objects):
    path = "o.detections.q"
    view = fiqa.low_quality_view(objects, path, threshold=2)
    assert view.values(path) == [[0.0, 1.0], [2.0]]
    assert len(view.to_patches("o")) == 3
    view = fiqa.low_quality_view(objects, path, quantile=0.25)
    assert view.values(path) == [[0.0]]
    view = fiqa.poor_quality_but_right(
        objects, path, "o.detections.right", threshold=2
    )
    assert view.values(path) == [[1.0], [2.0]]
    view = fiqa.good_quality_but_wrong(
        objects, path, "o.detections.right", threshold=-1
    )
    assert view.values(path) == [[0.0]]
    fiqa.use_quality_field(objects, path, False)
    view = fiqa.low_quality_view(objects, path, threshold=2)
    assert view.values(path) == [[2.0], [9.0]]


def test_conditions_on_objects(objects):
    view = select(objects, {"m": 2, "o.detections.label": "$a"})
    assert view.count("o.detections") == 2
    band = {"o.detections.q": {"$gt": 0, "$lt": 9}}
    assert select(objects, band).values("o.detections.q") == [[1.0], [2.0]]
    with pytest.raises(IQAError, match="has no field"):
        select(objects, {"x": 1})
    objects.add_sample_field("right", __import__("fiftyone").BooleanField)
    with pytest.raises(IQAError, match="different things"):
        fiqa.good_quality_but_wrong(objects, "o.detections.q", "right")


def test_the_same_as_by_hand(dataset):
    scores = np.array(dataset.values("q"), float)
    cut = np.nanquantile(scores, 0.3, method="inverted_cdf")
    expected = np.flatnonzero(scores <= cut).tolist()
    view = fiqa.low_quality_view(dataset, "q", quantile=0.3)
    assert view.values("n") == expected
