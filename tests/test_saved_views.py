"""Saved views and tags that can be taken back."""

import numpy as np
import pytest

import fiftyone_iqa as fiqa
from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.saved_views import (
    remove_tags,
    save_view,
    tag_view,
    tags_given,
)


@pytest.fixture
def dataset(database):
    """Poor images are predicted wrongly."""
    import fiftyone as fo

    rng = np.random.default_rng(0)
    dataset = fo.Dataset()
    samples = []
    for i in range(200):
        q = float(rng.normal())
        label = "ab"[i % 2]
        right = rng.random() < 1 / (1 + np.exp(-3 * q - 1))
        said = label if right else "ba"[i % 2]
        samples.append(
            fo.Sample(
                f"/no/{i}.jpg",
                ground_truth=fo.Classification(label=label),
                predictions=fo.Classification(label=said, confidence=0.9),
                q=q if i else None,
            )
        )
    dataset.add_samples(samples, progress=False)
    fiqa.use_quality_field(dataset, "q", True)
    fiqa.compute_correctness(dataset, "predictions", "ground_truth")
    yield dataset
    dataset.delete()


OURS = "iqa_correct"
NAMES = ["iqa_low_q", "iqa_good_but_wrong_q", "iqa_poor_but_right_q"]


def test_views_are_saved_with_their_thresholds(dataset):
    saved = fiqa.save_views(dataset, "q", "iqa_correct", quantile=0.1)
    dataset.reload()
    assert list(saved) == NAMES == dataset.list_saved_views()
    assert dataset.info["iqa_views"] == saved
    low = saved["iqa_low_q"]
    assert (low["kind"], low["metric"], low["quantile"]) == ("low", "q", 0.1)
    scores = np.array(dataset.values("q"), float)
    assert low["threshold"] == np.nanquantile(
        scores, 0.1, method="inverted_cdf"
    )
    info = dataset.get_saved_view_info("iqa_low_q")
    assert "q at or below -1." in info["description"]
    assert "the poorest 10 % when saved" in info["description"]
    assert info["color"] == "#E15759"
    for name, view in (
        ("iqa_low_q", fiqa.low_quality_view(dataset, "q", quantile=0.1)),
        ("iqa_good_but_wrong_q", fiqa.good_quality_but_wrong(dataset, "q")),
        (
            "iqa_poor_but_right_q",
            fiqa.poor_quality_but_right(dataset, "q", quantile=0.1),
        ),
    ):
        loaded = dataset.load_saved_view(name)
        assert loaded.values("id") == view.values("id")
    assert len(dataset.load_saved_view("iqa_low_q")) == 20


def test_they_are_scenarios_of_model_evaluation(dataset):
    fiqa.save_views(dataset, "q", "iqa_correct", quantile=0.2)
    results = dataset.evaluate_classifications(
        "predictions", gt_field="ground_truth", eval_key="eval"
    )
    whole = results.metrics()
    low = dataset.load_saved_view("iqa_low_q")
    with results.use_subset({"type": "view", "view": "iqa_low_q"}):
        scenario = results.metrics()
        assert results.metrics()["support"] == len(low) == 40
    right = low.count_values("iqa_correct")[True]
    assert scenario["accuracy"] == pytest.approx(right / 40)
    assert scenario["accuracy"] < whole["accuracy"] - 0.2
    with results.use_subset({"type": "view", "view": NAMES[1]}):
        assert results.metrics()["accuracy"] == 0
    with results.use_subset({"type": "view", "view": NAMES[2]}):
        assert results.metrics()["accuracy"] == 1
    assert results.metrics() == whole


def test_saving_again_replaces(dataset):
    import fiftyone as fo

    fiqa.save_views(dataset, "q", threshold=0.0)
    saved = fiqa.save_views(dataset, "q", threshold=-1.0)
    assert dataset.list_saved_views() == ["iqa_low_q"]
    assert saved["iqa_low_q"]["quantile"] is None
    before = len(dataset.load_saved_view("iqa_low_q"))
    dataset.add_sample(fo.Sample("/no/new.jpg", q=-2.0))
    dataset.add_sample(fo.Sample("/no/none.jpg"))
    assert len(dataset.load_saved_view("iqa_low_q")) == before + 1


def test_thresholds_in_the_run(dataset):
    fiqa.build_quality_prior(dataset, "q", progress=False)
    saved = fiqa.save_views(dataset, "q", brain_key="iqa")
    dataset.clear_cache()
    results = dataset.load_brain_results("iqa")
    assert results.report["views"] == saved
    fiqa.remove_views(dataset)
    dataset.clear_cache()
    assert "views" not in dataset.load_brain_results("iqa").report
    with pytest.raises(IQAError, match="no run 'x'"):
        fiqa.save_views(dataset, "q", brain_key="x")
    assert dataset.list_saved_views() == []


def test_one_call_removes_ours_only(dataset):
    dataset.save_view("mine", dataset.limit(3))
    dataset.save_view("iqa_of_mine", dataset.limit(3))
    fiqa.save_views(dataset, "q", "iqa_correct")
    assert sorted(fiqa.remove_views(dataset)) == sorted(NAMES)
    assert dataset.list_saved_views() == ["mine", "iqa_of_mine"]
    assert "iqa_views" not in dataset.info
    assert fiqa.remove_views(dataset) == []
    # One that somebody deleted by hand is no error
    fiqa.save_views(dataset, "q")
    dataset.delete_saved_view("iqa_low_q")
    assert fiqa.remove_views(dataset) == []


def test_names_of_others_are_not_taken(dataset):
    # FiftyOne would replace it: both read iqa-low-q in an address
    dataset.save_view("iqa low q", dataset.limit(3))
    with pytest.raises(IQAError, match="'iqa low q' that was not saved here"):
        fiqa.save_views(dataset, "q", "iqa_correct")
    assert dataset.list_saved_views() == ["iqa low q"]
    with pytest.raises(IQAError, match="named iqa_…"):
        save_view(dataset.limit(3), "mine", "said")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"good_quantile": 0.1}, "needs correctness"),
        ({"good_quantile": 0.1, "threshold": 1, "correctness": OURS}, "both"),
        ({"correctness": "x"}, "field 'x'"),
    ],
)
def test_bad_calls_save_nothing(dataset, arguments, message):
    with pytest.raises(IQAError, match=message):
        fiqa.save_views(dataset, "q", **arguments)
    assert dataset.list_saved_views() == []
    assert "iqa_views" not in dataset.info


def test_tags_are_given_and_taken_back(dataset):
    dataset.limit(2).tag_samples("mine")
    view = fiqa.low_quality_view(dataset, "q")
    assert tag_view(view, "poor") == 10
    assert tag_view(dataset.limit(1), "poor") == 1
    assert tag_view(dataset.limit(5), "check", ["ground_truth"]) == 5
    assert tags_given(dataset) == {"samples": ["poor"], "labels": ["check"]}
    with pytest.raises(IQAError, match="'mine' is in use"):
        tag_view(view, "mine")
    with pytest.raises(IQAError, match="non-empty"):
        tag_view(view, " ")
    remove_tags(dataset)
    assert dataset.count_sample_tags() == {"mine": 2}
    assert dataset.count_label_tags() == {}
    assert "iqa_tags" not in dataset.info
