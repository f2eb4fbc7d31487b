"""Weights that are not to be had: one sentence, and the rest is computed."""

import pytest

import fiftyone_iqa as fiqa
from fiftyone_iqa.errors import WeightsUnavailableError

pytest.importorskip("pyiqa")


def test_the_other_metrics_are_computed(labelled, caplog):
    report = fiqa.compute_quality(labelled, metrics=("brisque", "tv"))
    assert labelled.count("tv") == 12
    assert not labelled.has_field("brisque")
    assert [m.metric for m in report.metrics] == ["tv"]
    reason = report.unavailable["brisque"]
    assert "brisque_svm_weights.pth" in reason
    assert f"brisque: not computed: {reason}" in str(report)
    assert any("The other metrics" in r.message for r in caplog.records)


def test_nothing_to_compute_is_an_error(labelled):
    with pytest.raises(WeightsUnavailableError, match="by hand"):
        fiqa.compute_quality(labelled, metrics="brisque")
    assert not labelled.has_field("brisque")
    assert not labelled.has_field("iqa_failure")
