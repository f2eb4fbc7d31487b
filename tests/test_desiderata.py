import numpy as np
import pytest

from fiftyone_iqa.analysis.metric_report import metric_report
from fiftyone_iqa.desiderata import cards, summary


def found(guidance, metric, identity=None, strength=1.0, **changes):
    """The report of one metric, its numbers by the real analysis."""
    rng = np.random.default_rng(1)
    latent = rng.normal(size=400)
    quality = strength * latent + rng.normal(size=400)
    correct = (rng.random(400) < 1 / (1 + np.exp(-2 * latent))).astype(float)
    report = metric_report(quality, correct, metric, True, np.arange(400))
    return {
        "metric": metric,
        "direction": "higher",
        "guidance": guidance,
        "identity": identity,
        **report,
        **changes,
    }


@pytest.fixture(scope="module")
def report():
    clip = {"encoder": "ViT-B-32/openai@1", "temperature": 100.0}
    lite = {"encoder": "lite:conse@1", "temperature": 12.0}
    return {
        "n": 400,
        "n_judged": 400,
        "n_sources": 400,
        "accuracy": 0.5,
        "task_model": "resnet34@1",
        "joint": None,
        "metrics": {
            "zsclip_ql": found("weak", "zsclip", clip),
            "zsclip_qp": found("weak", "zsclip", clip, 0.5),
            "lite_zsclip_ql": found("weak", "zsclip", lite, 0.4),
            "tv": found("none", "tv", {}, 0.1, direction="none"),
            "resnet34_qp": found("strong", "model", {"model": "resnet34@1"}),
            "swin_b_qp": found("strong", "model", {"model": "swin_b@1"}),
            "mine": found(None, "external"),
        },
    }


def by_name(report):
    order = list(report["metrics"])
    return dict(zip(order, cards(report, order)))


def test_d2_and_d4_are_the_specs(report):
    found = by_name(report)
    assert found["zsclip_ql"].agnostic and found["tv"].agnostic
    assert found["swin_b_qp"].agnostic is False
    assert found["mine"].agnostic is None and found["mine"].blind is None
    assert found["tv"].blind


def test_first_of_a_metrics_variants_is_its_best(report):
    found = by_name(report)
    assert found["zsclip_ql"].best_of == "zsclip"
    assert found["zsclip_qp"].best_of is None
    assert found["tv"].best_of is None  # the only one


def test_remarks(report):
    found = by_name(report)
    assert any("ImageNet" in r for r in found["lite_zsclip_ql"].remarks)
    assert not any("ImageNet" in r for r in found["zsclip_ql"].remarks)
    assert any("same model" in r for r in found["resnet34_qp"].remarks)
    assert not any("same model" in r for r in found["swin_b_qp"].remarks)
    assert any("no direction" in r for r in found["tv"].remarks)
    assert "temperature 100" in found["zsclip_ql"].remarks


def test_summary_names_every_metric_and_the_prior(report):
    order = list(report["metrics"])
    text = summary(report, order, "zsclip_ql")
    assert all(f"\n{name}" in text for name in order)
    assert "Best prior: zsclip (" in text
    assert "Best prior" not in summary(report, order, None)
