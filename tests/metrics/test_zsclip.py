"""ZSCLIP-IQA against the paper's formulas in float64."""

import numpy as np
import pytest
from scipy.stats import entropy, spearmanr

from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.metrics.zsclip import (
    average_templates,
    entropy_direction,
    zsclip_scores,
)

OUTPUTS = ("qp", "qh", "ql", "qm")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def embeddings():
    """CLIP-like: similarities near 0.2, a few hundredths apart."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(1, 512))
    images = unit(rng.normal(size=(3000, 512)) + common)
    texts = unit(rng.normal(size=(1000, 512)) * 1.6 + common)
    return images.astype(np.float32), texts.astype(np.float32)


def reference(images, texts, t):
    """Section 4.4, in float64 and with scipy's entropy."""
    s = images.astype(np.float64) @ texts.astype(np.float64).T
    p = np.exp(t * s) / np.exp(t * s).sum(axis=1, keepdims=True)
    ordered = np.sort(s, axis=1)
    return {
        "qp": p.max(axis=1),
        "qh": entropy(p, axis=1),
        "ql": s.max(axis=1),
        "qm": ordered[:, -1] - ordered[:, -2],
    }


@pytest.mark.parametrize("t", [1.0, 14.3, 100.0])
@pytest.mark.parametrize("output", OUTPUTS)
def test_equals_float64_on_the_same_embeddings(embeddings, t, output):
    ours = zsclip_scores(*embeddings, t)[output]
    exact = reference(*embeddings, t)[output]
    # The margin and all others: error within 1 % of the metric's spread
    assert np.abs(ours - exact).max() <= 0.01 * exact.std()
    assert spearmanr(ours, exact).statistic >= 0.9999


def test_ranges(embeddings):
    for t in (1.0, 1000.0):
        scores = zsclip_scores(*embeddings, t)
        k = len(embeddings[1])
        assert ((scores["qp"] >= 1 / k) & (scores["qp"] <= 1)).all()
        assert ((scores["qh"] >= 0) & (scores["qh"] <= np.log(k))).all()
        assert (np.abs(scores["ql"]) <= 1 + 1e-6).all()
        assert (scores["qm"] >= 0).all()


def test_no_overflow_at_any_temperature(embeddings):
    scores = zsclip_scores(embeddings[0][:10], embeddings[1], 1e6)
    for values in scores.values():
        assert np.isfinite(values).all()
    np.testing.assert_allclose(scores["qp"], 1)


def test_rows_do_not_depend_on_each_other_or_on_chunks(
    embeddings, monkeypatch
):
    images, texts = embeddings
    whole = zsclip_scores(images[:50], texts, 10)
    from fiftyone_iqa.metrics import zsclip

    monkeypatch.setattr(zsclip, "_MAX_SIMILARITIES", 7 * len(texts))
    parts = zsclip_scores(images[:50], texts, 10)
    for name in OUTPUTS:
        np.testing.assert_allclose(parts[name], whole[name], atol=1e-6)


def test_the_order_of_classes_does_not_matter(embeddings):
    images, texts = embeddings
    forward = zsclip_scores(images[:50], texts, 10)
    backward = zsclip_scores(images[:50], texts[::-1], 10)
    for name in OUTPUTS:
        np.testing.assert_allclose(forward[name], backward[name], atol=1e-6)


def test_a_tie_has_no_margin():
    texts = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    scores = zsclip_scores(np.array([[1, 0]], dtype=np.float32), texts, 1)
    assert scores["qm"][0] == 0


def test_one_class_is_refused():
    with pytest.raises(IQAError, match="two classes"):
        zsclip_scores(np.eye(2), np.eye(2)[:1], 1)


def test_templates_are_averaged_then_renormalised():
    table = {
        "a cat": [1.0, 0.0],
        "b cat": [0.0, 1.0],
        "a dog": [1.0, 0.0],
        "b dog": [1.0, 0.0],
    }
    rows = average_templates(
        lambda prompts: np.array([table[p] for p in prompts]),
        ["cat", "dog"],
        ["a {}", "b {}"],
    )
    np.testing.assert_allclose(rows, [[0.5**0.5, 0.5**0.5], [1, 0]], atol=1e-7)


def test_entropy_has_a_direction_only_near_the_encoders_scale():
    assert entropy_direction(100.0, 100.0) == "lower"
    assert entropy_direction(50.0, 100.0) == "lower"
    assert entropy_direction(1.0, 100.0) == "none"
