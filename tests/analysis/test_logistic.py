"""The one-dimensional solver against scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from fiftyone_iqa.analysis import logistic
from fiftyone_iqa.analysis.logistic import (
    cross_entropy,
    fit_logistic,
    probability,
)
from fiftyone_iqa.errors import IQAError


def _sklearn(values, correct, solver="lbfgs"):
    model = LogisticRegression(
        C=1.0, tol=1e-10, max_iter=100_000, solver=solver
    )
    model.fit(np.asarray(values, np.float64)[:, None], correct)
    return model.coef_[0, 0], model.intercept_[0]


def _standardised(values):
    return (values - values.mean()) / values.std()


def _problem(rng, n, kind):
    if kind == "noise":
        return rng.normal(size=n), rng.random(n) < 0.5
    if kind == "signal":
        z = rng.normal(size=n)
        return z, z + rng.normal(size=n) > 0.5
    if kind == "rare":
        z = rng.normal(size=n)
        correct = z > np.quantile(z, 0.97)
        correct[0] = ~correct[0]
        return z, correct
    if kind == "separable":
        z = np.sort(rng.normal(size=n))
        return z, np.arange(n) >= n // 3
    if kind == "heavy tails":
        # Undamped, Newton's steps go round in circles here (n = 60)
        z = _standardised(rng.standard_cauchy(n) ** 3)
        return z, (z > 0) ^ (rng.random(n) < 0.1)
    if kind == "outlier":
        z = np.r_[rng.normal(size=n - 1) * 0.01, 50.0]
        return z, np.r_[rng.random(n - 1) < 0.5, False]
    if kind == "two values":
        z = _standardised(rng.integers(0, 2, n).astype(float))
        return z, rng.random(n) < np.where(z > 0, 0.8, 0.3)
    raise AssertionError(kind)


_KINDS = (
    "noise",
    "signal",
    "rare",
    "separable",
    "heavy tails",
    "outlier",
    "two values",
)


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("n", [60, 3000])
def test_one_problem_is_solved_as_by_scikit_learn(kind, n):
    values, correct = _problem(np.random.default_rng(1), n, kind)

    slope, intercept = fit_logistic(values, correct)

    expected = _sklearn(values, correct, "newton-cholesky")
    assert (slope[0], intercept[0]) == pytest.approx(expected, abs=1e-6)


def test_many_problems_are_solved_as_by_scikit_learns_default(monkeypatch):
    # Several chunks, one of them a single problem longer than a chunk
    monkeypatch.setattr(logistic, "_CHUNK_ROWS", 1000)
    rng = np.random.default_rng(0)
    lengths = [*rng.integers(30, 300, 30), 1500, 40]
    problems = [_problem(rng, n, _KINDS[i % 4]) for i, n in enumerate(lengths)]
    values, correct = (np.concatenate(column) for column in zip(*problems))

    slope, intercept = fit_logistic(values, correct, lengths)

    expected = np.array([_sklearn(*problem) for problem in problems]).T
    assert slope == pytest.approx(expected[0], abs=1e-6)
    assert intercept == pytest.approx(expected[1], abs=1e-6)


def test_float32_columns_are_solved_in_double_precision():
    values, correct = _problem(np.random.default_rng(2), 500, "signal")
    values = values.astype(np.float32)

    slope, intercept = fit_logistic(values, correct)

    expected = _sklearn(values.astype(np.float64), correct)
    assert (slope[0], intercept[0]) == pytest.approx(expected, abs=1e-6)


def test_problems_of_one_class_or_without_rows_are_nan():
    values, correct = _problem(np.random.default_rng(3), 90, "signal")
    correct[:20], correct[20:40] = True, False
    counts = [20, 0, 20, 50, 0]

    slope, intercept = fit_logistic(values, correct, counts)

    assert np.isnan(slope).tolist() == [True, True, True, False, True]
    assert np.isnan(intercept).tolist() == np.isnan(slope).tolist()
    alone = fit_logistic(values[40:], correct[40:])
    assert (slope[3], intercept[3]) == (alone[0][0], alone[1][0])


def test_a_constant_feature_gets_no_slope_and_the_base_rate():
    slope, intercept = fit_logistic(np.zeros(10), np.arange(10) < 3)
    assert slope[0] == 0
    assert probability(intercept[0]) == pytest.approx(0.3, abs=1e-12)


def test_the_slope_has_the_sign_of_the_covariance():
    # So a fitted AUC under 0.5 on the data themselves cannot happen
    rng = np.random.default_rng(4)
    values = rng.normal(size=(300, 25))
    correct = rng.random((300, 25)) < rng.random((300, 1))
    counts = np.full(300, 25)
    slope, _ = fit_logistic(values.ravel(), correct.ravel(), counts)
    deviation = values - values.mean(1, keepdims=True)
    covariance = (deviation * correct).mean(1)
    known = ~np.isnan(slope)
    assert known.sum() > 250
    assert (np.sign(slope[known]) == np.sign(covariance[known])).all()


def test_cross_entropy_and_probability():
    logits = np.array([-800.0, -2.0, 0.0, 3.0, 800.0])
    correct = np.array([False, True, True, False, True])
    assert probability(logits) == pytest.approx(
        [0, 0.11920292202211755, 0.5, 0.9525741268224334, 1], abs=1e-15
    )
    losses = cross_entropy(logits, correct)
    assert losses[[0, 4]].tolist() == [0, 0]
    assert losses[1:4].mean() == pytest.approx(
        log_loss(correct[1:4], probability(logits[1:4])), abs=1e-12
    )
    # Probabilities of 0 are taken as scikit-learn takes them
    worst = cross_entropy(np.array([800.0]), np.array([False]))
    assert worst[0] == pytest.approx(log_loss([0], [1.0], labels=[0, 1]))


@pytest.mark.parametrize(
    ("values", "correct", "counts"),
    [
        ([1.0, 2.0], [True], None),
        ([1.0, 2.0], [True, False], [1]),
        ([1.0, np.nan], [True, False], None),
        ([1.0, np.inf], [True, False], None),
    ],
)
def test_what_cannot_be_fitted_is_refused(values, correct, counts):
    with pytest.raises(IQAError):
        fit_logistic(values, correct, counts)
