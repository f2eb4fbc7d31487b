import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from fiftyone_iqa.metrics.confidence import confidence_scores


@pytest.mark.parametrize("scale", [0.01, 1, 30])
def test_equals_scipy(scale):
    logits = np.random.default_rng(0).normal(size=(200, 7)) * scale
    scores = confidence_scores(logits, 2.0)
    p = softmax(2.0 * logits, axis=1)
    ordered = np.sort(logits, axis=1)
    np.testing.assert_allclose(scores["qp"], p.max(axis=1), rtol=1e-12)
    np.testing.assert_allclose(scores["qh"], entropy(p, axis=1), atol=1e-12)
    np.testing.assert_array_equal(scores["ql"], ordered[:, -1])
    margin = ordered[:, -1] - ordered[:, -2]
    np.testing.assert_array_equal(scores["qm"], margin)


def test_the_input_is_left_alone():
    logits = np.array([[1.0, 2.0]])
    confidence_scores(logits)
    assert logits.tolist() == [[1.0, 2.0]]
