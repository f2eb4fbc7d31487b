"""The nine dimensions on arrays, against their definitions written out."""

import numpy as np
import pytest

from fiftyone_iqa.analysis.jackknife import jackknife
from fiftyone_iqa.robustness import dimensions as d


def table(n=600, k=6, seed=0):
    """Probabilities, and labels that are drawn from them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, k))
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    label = np.array([rng.choice(k, p=row) for row in p])
    return p, label


def published_ace(p, label, n_bins=15):
    """The Adaptive Calibration Error as the paper's code defines it.

    Bins start at every 1/15 of the sorted probabilities of a class.
    """
    n, k = p.shape
    errors = []
    for j in range(k):
        starts = np.minimum(
            np.round(np.linspace(0, n, n_bins, endpoint=False)).astype(int),
            n - 1,
        )
        upper = np.append(np.sort(p[:, j])[starts][1:], 1.0)
        bin_of = np.digitize(p[:, j], upper)
        gap = np.bincount(bin_of, (label == j) - p[:, j])
        errors.append(abs(gap).sum() / n)
    return np.mean(errors)


def published_ece(p, label, n_bins=15):
    """Equally wide bins of the confidence, weighted by their rows."""
    confidence, right = p.max(axis=1), p.argmax(axis=1) == label
    total = 0.0
    for i in range(n_bins):
        inside = (confidence > i / n_bins) & (confidence <= (i + 1) / n_bins)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            total += inside.mean() * gap
    return total


@pytest.mark.parametrize("seed", range(3))
def test_calibration_errors_are_the_published_ones(seed):
    p, label = table(seed=seed)
    estimate, parts = d.calibration(p, np.eye(6, dtype=bool), label)
    assert parts["ACE"] == pytest.approx(published_ace(p, label), abs=1e-9)
    assert parts["ECE"] == pytest.approx(published_ece(p, label), abs=1e-9)
    assert estimate.value == pytest.approx(
        np.sqrt(parts["ACE"] * parts["ECE"])
    )
    assert 0 <= estimate.low < estimate.value < estimate.high


def test_a_confident_model_is_worse_calibrated():
    p, label = table()
    sharp = p**3 / (p**3).sum(axis=1, keepdims=True)
    truth = np.eye(6, dtype=bool)
    honest, _ = d.calibration(p, truth, label)
    bold, _ = d.calibration(sharp, truth, label)
    assert bold.low > honest.high


def test_class_balance_is_the_published_one():
    p, label = table()
    estimate, parts = d.class_balance(p, np.eye(6, dtype=bool), label)
    right = p.argmax(axis=1) == label
    by_class = [right[label == j].mean() for j in range(6)]
    spread = [p[label == j, j].std() for j in range(6)]
    assert parts["accuracy"] == pytest.approx(1 - np.std(by_class, ddof=1))
    assert parts["confidence"] == pytest.approx(1 - np.mean(spread))
    assert estimate.value == pytest.approx(
        np.sqrt(parts["accuracy"] * parts["confidence"])
    )


def test_several_classes_may_be_right():
    # Six classes, two labels: even and odd
    p, label = table()
    truth = np.array([[1, 0] * 3, [0, 1] * 3], dtype=bool)
    merged = p @ truth.T.astype(float)
    _, parts = d.calibration(p, truth, label % 2)
    expected = published_ace(merged, label % 2)
    assert parts["ACE"] == pytest.approx(expected, abs=1e-9)


def test_adversarial_robustness_is_the_geometric_mean_of_ratios():
    rng = np.random.default_rng(0)
    right = rng.random(400) < 0.8
    attacked = {
        "PGD": right & (rng.random(400) < 0.2),
        "FGSM": right & (rng.random(400) < 0.5),
    }
    estimate, parts = d.adversarial_robustness(right, attacked)
    ratios = [column.mean() / right.mean() for column in attacked.values()]
    assert list(parts.values()) == pytest.approx(ratios)
    assert estimate.value == pytest.approx(np.sqrt(np.prod(ratios)))
    assert estimate.low < estimate.value < estimate.high


def test_an_attack_that_leaves_nothing_has_an_upper_end():
    right = np.ones(100, bool)
    half = np.arange(100) < 50
    estimate, _ = d.adversarial_robustness(
        right, {"PGD": ~right, "FGSM": half}
    )
    assert (estimate.value, estimate.low) == (0.0, 0.0)
    assert estimate.high == pytest.approx(np.sqrt(0.03 * 0.5))


def test_nothing_right_leaves_nothing_to_measure():
    wrong = np.zeros(10, bool)
    assert d.adversarial_robustness(wrong, {"PGD": wrong})[0].value is None
    assert d.corruption_robustness(wrong, np.zeros((10, 3))).value is None
    assert d.ood_robustness(wrong, {"sketch": wrong})[0].value is None
    assert d.object_focus(wrong, wrong, wrong)[0].value is None
    assert d.shape_bias(wrong, wrong)[0].value is None


def test_corruption_robustness_is_the_mean_of_ratios():
    rng = np.random.default_rng(0)
    right = rng.random(200) < 0.9
    grid = rng.random((200, 15)) < 0.5
    estimate = d.corruption_robustness(right, grid)
    ratios = grid.mean(axis=0) / right.mean()
    assert estimate.value == pytest.approx(ratios.mean())


def test_ood_robustness_and_its_interval():
    rng = np.random.default_rng(0)
    values = []
    for _ in range(300):
        right = rng.random(500) < 0.8
        variants = {
            "a": rng.random(200) < 0.4,
            "b": rng.random(100) < 0.6,
        }
        estimate, parts = d.ood_robustness(right, variants)
        values.append(
            estimate.low <= np.sqrt(0.4 * 0.6) / 0.8 <= estimate.high
        )
    assert parts["a"] == variants["a"].mean() / right.mean()
    assert 0.91 <= np.mean(values) <= 0.985


def test_object_focus_and_shape_bias():
    right = np.arange(10) < 8
    same, other = np.arange(20) < 18, np.arange(20) < 14
    estimate, parts = d.object_focus(right, same, other)
    assert estimate.value == pytest.approx(1 - (0.9 - 0.7) / 0.8)
    assert parts == {"mixed_same": 0.9, "mixed_rand": 0.7}

    shape = np.array([True] * 3 + [False] * 7)
    texture = np.array([False] * 4 + [True] * 6)
    estimate, _ = d.shape_bias(shape, texture)
    assert estimate.value == pytest.approx(3 / 9)
    assert estimate.low < 3 / 9 < estimate.high


def test_accuracy_of_all_right_is_not_certain():
    assert d.accuracy(np.ones(10)).low < 0.8
    assert d.accuracy(np.zeros(10)).high > 0.2
    # Ten views of two originals are two
    source = np.repeat(["a", "b"], 5)
    assert d.accuracy(np.ones(10), source).low < 0.5


def mean_of(x):
    return lambda rows: x[rows].mean()


def test_the_jackknife_of_a_mean_covers_it():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        x = rng.exponential(size=200)
        found = jackknife(mean_of(x), np.arange(200) % 20)
        covered.append(found.low <= 1 <= found.high)
    assert 0.91 <= np.mean(covered) <= 0.985


def test_a_jackknife_without_folds_has_no_interval():
    assert jackknife(lambda rows: 1.0, np.zeros(5, int)).low is None
    undefined = jackknife(
        lambda rows: 1.0 if rows.all() else np.nan, np.arange(5)
    )
    assert undefined.value == 1 and undefined.low is None
