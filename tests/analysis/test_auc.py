"""AUC by ranks and its clustered intervals."""

import numpy as np
import pytest
from scipy.special import expit, logit, stdtrit
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from fiftyone_iqa.analysis.auc import auc, auc_interval, grouped_auc
from fiftyone_iqa.errors import IQAError


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def _wins(scores, correct):
    """The O(n²) matrix of right against wrong rows: 1, ½ for ties, 0."""
    right, wrong = scores[correct][:, None], scores[~correct][None]
    return (right > wrong) + 0.5 * (right == wrong)


def _delong_variance(scores, correct):
    """DeLong et al. 1988, equation 5, from the matrix of pairs."""
    wins = _wins(scores, correct)
    m, n = wins.shape
    return wins.mean(1).var(ddof=1) / m + wins.mean(0).var(ddof=1) / n


def _obuchowski_variance(scores, correct, source):
    """Obuchowski 1997, with loops over clusters and the matrix of pairs."""
    wins = _wins(scores, correct)
    m, n = wins.shape
    area = wins.mean()
    s10 = s01 = s11 = 0.0
    clusters = np.unique(source)
    for cluster in clusters:
        mine = source == cluster
        rows, columns = mine[correct], mine[~correct]
        x = wins.mean(1)[rows].sum() - rows.sum() * area
        y = wins.mean(0)[columns].sum() - columns.sum() * area
        s10, s01, s11 = s10 + x * x, s01 + y * y, s11 + x * y
    k = len(clusters)
    k10, k01 = len(set(source[correct])), len(set(source[~correct]))
    s10 *= k10 / ((k10 - 1) * m)
    s01 *= k01 / ((k01 - 1) * n)
    s11 *= k / (k - 1)
    return s10 / m + s01 / n + 2 * s11 / (m * n)


def _ends(area, variance, n_clusters, confidence):
    error = np.sqrt(variance) / (area * (1 - area))
    reach = stdtrit(n_clusters - 1, 0.5 + confidence / 2) * error
    return expit(logit(area) - reach), expit(logit(area) + reach)


@pytest.mark.parametrize("digits", [8, 1, 0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_auc_is_that_of_scikit_learn_and_of_mann_whitney(rng, digits, dtype):
    correct = rng.random(800) < 0.3
    scores = (rng.normal(size=800) + correct).round(digits).astype(dtype)

    value = auc(scores, correct)

    assert value == pytest.approx(roc_auc_score(correct, scores), abs=1e-12)
    u = mannwhitneyu(scores[correct], scores[~correct]).statistic
    pairs = correct.sum() * (~correct).sum()
    assert value == pytest.approx(u / pairs, abs=1e-12)


@pytest.mark.parametrize("correct", [[True, True], [False, False]])
def test_one_class_has_no_auc(correct):
    assert auc([0.1, 0.2], correct) is None
    assert auc_interval([0.1, 0.2], correct).value is None


def test_extremes():
    assert auc([1, 2, 3, 4], [False, False, True, True]) == 1
    assert auc([4, 3, 2, 1], [False, False, True, True]) == 0
    assert auc([5, 5, 5, 5], [False, False, True, True]) == 0.5
    assert auc([-np.inf, 0, np.inf], [0, 0, 1]) == 1


def test_grouped_auc_is_auc_per_group(rng):
    group = rng.integers(0, 40, 3000)
    group[group == 7] = 8  # A group without rows, in between
    correct = rng.random(3000) < 0.4
    correct[group == 3] = True
    scores = (rng.normal(size=3000) + 0.5 * correct).round(1)

    values = grouped_auc(scores, correct, group, 42)

    assert values.shape == (42,)
    assert np.isnan(values[[3, 7, 40, 41]]).all()
    for g in set(range(40)) - {3, 7}:
        expected = roc_auc_score(correct[group == g], scores[group == g])
        assert values[g] == pytest.approx(expected, abs=1e-12)


def test_grouped_auc_of_nothing():
    assert grouped_auc([], np.zeros(0, bool), np.zeros(0, int)).shape == (0,)
    assert np.isnan(
        grouped_auc([], np.zeros(0, bool), np.zeros(0, int), 2)
    ).all()


@pytest.mark.parametrize("digits", [8, 0])
def test_sources_that_occur_once_give_delongs_variance(rng, digits):
    correct = rng.random(120) < 0.6
    scores = (rng.normal(size=120) + correct).round(digits)
    variance = _delong_variance(scores, correct)
    expected = _ends(roc_auc_score(correct, scores), variance, 120, 0.9)

    names = np.array([f"image {i}" for i in rng.permutation(120)])
    for source in (None, names):
        found = auc_interval(scores, correct, source, confidence=0.9)
        assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("digits", [8, 0])
def test_repeated_sources_give_obuchowskis_variance(rng, digits):
    source = rng.integers(0, 25, 200)
    effect = rng.normal(size=25)[source]
    correct = effect + rng.normal(size=200) > 0.2
    scores = (effect + rng.normal(size=200)).round(digits)
    variance = _obuchowski_variance(scores, correct, source)
    expected = _ends(roc_auc_score(correct, scores), variance, 25, 0.95)

    found = auc_interval(scores, correct, source)

    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)


def test_variance_agrees_with_the_jackknife_over_sources(rng):
    source = np.repeat(np.arange(150), 10)
    effect = rng.normal(size=150)[source]
    correct = effect + rng.normal(size=1500) > 0
    scores = effect + rng.normal(size=1500)
    left_out = [
        auc(scores[source != i], correct[source != i]) for i in range(150)
    ]
    jackknife = np.sqrt(149 * np.var(left_out))

    found = auc_interval(scores, correct, source)

    spread = logit(found.high) - logit(found.low)
    error = spread / 2 / stdtrit(149, 0.975)
    error *= found.value * (1 - found.value)
    assert error == pytest.approx(jackknife, rel=0.02)


def test_repeating_every_row_leaves_the_clustered_interval_alone(rng):
    correct = rng.random(80) < 0.5
    scores = rng.normal(size=80) + correct
    once = auc_interval(scores, correct)
    twice = [np.tile(column, 2) for column in (scores, correct)]

    clustered = auc_interval(*twice, np.tile(np.arange(80), 2))

    assert clustered.value == pytest.approx(once.value, abs=1e-12)
    # Within the corrections k / (k - 1), which differ a little
    assert clustered.high == pytest.approx(once.high, abs=2e-3)
    pointwise = auc_interval(*twice)
    ratio = (pointwise.high - pointwise.low) / (once.high - once.low)
    assert ratio == pytest.approx(np.sqrt(0.5), rel=0.03)


def test_no_interval_where_there_is_nothing_to_go_by():
    perfect = auc_interval([1, 2, 3, 4], [False, False, True, True])
    assert (perfect.value, perfect.low, perfect.high) == (1, None, None)

    one_source_is_wrong = auc_interval(
        [1, 4, 3, 2, 5], [0, 0, 1, 1, 1], ["a", "a", "a", "b", "c"]
    )
    assert one_source_is_wrong.value == pytest.approx(2 / 3)
    assert one_source_is_wrong.low is None


def test_a_constant_score_is_chance_for_certain():
    found = auc_interval(np.zeros(6), [0, 1, 0, 1, 0, 1])
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def _simulate(rng, n_sources, n_conditions, within):
    """Scores and correctness of images that depend on their source.

    Both are cuts through normal variables with correlation 0.6, within and
    between sources, so the AUC is known: with (X, Z) and (X', Z') two
    independent images, P(X > X' | Z > 0 > Z') = 1/2 + 2/π asin(0.6/√2).
    """
    mix = np.array([[1, 0], [0.6, 0.8]]).T
    of_source = rng.normal(size=(n_sources, 1, 2)) @ mix
    of_image = rng.normal(size=(n_sources, n_conditions, 2)) @ mix
    both = np.sqrt(within) * of_source + np.sqrt(1 - within) * of_image
    x, z = both.reshape(-1, 2).T
    return x, z > 0, np.repeat(np.arange(n_sources), n_conditions)


_TRUE_AUC = 0.5 + 2 / np.pi * np.arcsin(0.6 / np.sqrt(2))


def _coverage(n_datasets, sources_known, **options):
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(n_datasets):
        scores, correct, source = _simulate(rng, **options)
        found = auc_interval(
            scores, correct, source if sources_known else None
        )
        covered.append(found.low < _TRUE_AUC < found.high)
    return np.mean(covered)


@pytest.mark.parametrize(
    ("n_sources", "n_conditions", "within"),
    [(150, 20, 0.7), (20, 20, 0.7), (150, 1, 0)],
)
def test_clustered_intervals_cover(n_sources, n_conditions, within):
    coverage = _coverage(
        800,
        True,
        n_sources=n_sources,
        n_conditions=n_conditions,
        within=within,
    )
    assert 0.93 <= coverage <= 0.97


def test_pointwise_intervals_do_not_cover_dependent_images():
    coverage = _coverage(
        400, False, n_sources=150, n_conditions=20, within=0.7
    )
    assert coverage < 0.7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], [True]), "one length"),
        (([1.0, np.nan], [True, False]), "NaN"),
        (([1.0, 2.0], [2, 0]), "True or False"),
        (([1.0, 2.0], [True, False], ["a"]), "one source per row"),
        (([1.0, 2.0], [True, False], ["a", None]), "1 rows have no source"),
        (([1.0, 2.0], [True, False], None, 95), "between 0 and 1"),
    ],
)
def test_what_cannot_be_ranked_is_refused(arguments, message):
    with pytest.raises(IQAError, match=message):
        auc_interval(*arguments)


@pytest.mark.parametrize("group", [[0], [0, -1]])
def test_groups_that_do_not_fit_are_refused(group):
    with pytest.raises(IQAError):
        grouped_auc([1.0, 2.0], [True, False], group)
