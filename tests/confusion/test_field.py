"""The SDK call: what lands in the dataset."""

import math

import numpy as np
import pytest

import fiftyone_iqa as fiqa

from .conftest import CLASSES

QUICK = {
    "model": "resnet8",
    "seeds": 2,
    "epochs": 4,
    "image_size": 16,
    "batch_size": 16,
    "progress": False,
    "device": "cpu",
}


def test_trained_here_and_held_out(striped, own_cache):
    dataset = striped()
    report = fiqa.confusion_score(
        dataset, "truth", store_predictions=True, **QUICK
    )
    assert report.metrics[0].scored == 72
    scores = np.array(dataset.values("confusion"))
    assert ((scores >= 0) & (scores <= math.log(2))).all()
    info = dataset.get_field("confusion").info["iqa"]
    assert info["direction"] == "lower"
    assert info["guidance"] == "strong"
    assert info["identity"]["folds"] == 3
    assert info["identity"]["model"] == "resnet8"
    assert info["provenance"]["n_trained_on"] == 60
    label = dataset.first()["confusion_prediction"]
    assert label.label in CLASSES
    p = np.exp(label.logits)
    assert p.sum() == pytest.approx(1, abs=1e-5)
    assert label.confidence == pytest.approx(p.max(), abs=1e-6)
    # Nothing of the run is left behind
    assert not list((own_cache / "confusion").glob("*"))

    again = fiqa.confusion_score(
        dataset, "truth", store_predictions=True, **QUICK
    )
    assert again.metrics[0].skipped == 72
    assert again.seconds["total"] < 1


def test_it_is_a_metric_like_any_other(striped):
    dataset = striped()
    fiqa.confusion_score(dataset, "truth", store_predictions=True, **QUICK)
    fiqa.compute_correctness(dataset, "confusion_prediction", "truth")
    results = fiqa.build_quality_prior(
        dataset, ["confusion"], n_resamples=20, brain_key="run"
    )
    assert results.metrics == ["confusion"]
    hard = fiqa.low_quality_view(dataset, "confusion", quantile=0.25)
    worst = sorted(dataset.values("confusion"))[-18:]
    assert sorted(hard.values("confusion")) == worst
    fiqa.find_slices(dataset, "confusion", by=["truth"], min_n=2)
    removed = fiqa.delete_everything(dataset)
    assert {"confusion", "confusion_prediction"} <= set(removed.fields)
    assert not dataset.has_field("confusion")
