"""The fit of accuracy to quality between conditions."""

import json

import numpy as np
import pytest

from fiftyone_iqa.analysis.between import (
    BetweenConditions,
    fit_between,
    segments,
)
from fiftyone_iqa.analysis.prior import fit_prior

N_SOURCES = 60


def draw(rng, level, offset=0.0, noise=1.0, n=N_SOURCES):
    """A condition: quality is a noisy sign of its level."""
    quality = level + noise * rng.normal(size=n)
    p = np.clip(0.5 + 0.2 * level + offset, 0, 1)
    return quality, (rng.random(n) < p).astype(float)


def reference(rng, spread=0.0, n_conditions=15, **kwargs):
    """Columns of conditions at five levels each."""
    columns = []
    for _ in range(n_conditions):
        offset = spread * rng.normal()
        for level in np.linspace(-2, 2, 5) + rng.uniform(-0.3, 0.3):
            columns.append(draw(rng, level, offset, **kwargs))
    quality, correct = map(np.concatenate, zip(*columns))
    n = len(columns[0][0])
    groups = np.repeat(np.arange(len(columns)), n)
    sources = np.tile(np.arange(n), len(columns))
    return quality[:, None], correct, sources, groups, groups // 5


@pytest.fixture(scope="module")
def fitted():
    return fit_between(*reference(np.random.default_rng(0), n=300))


def test_noisy_quality_does_not_flatten_it(fitted):
    """The curve of single images is too flat for conditions."""
    rng = np.random.default_rng(1)
    quality, correct, sources, *_ = reference(rng, n=300)
    curve = fit_prior(
        quality, correct, ["q"], [True], source=sources, n_resamples=2
    )
    for level in (-1.8, -1.0, 1.0, 1.8):
        new, _ = draw(rng, level, n=20_000)
        truth = 0.5 + 0.2 * level
        assert fitted.accuracy(new[:, None]) == pytest.approx(truth, abs=0.04)
        flat = curve.predict(new).mean()
        assert abs(flat - 0.5) < 0.8 * abs(truth - 0.5)


def test_a_mixture_has_the_mean_of_its_parts(fitted):
    rng = np.random.default_rng(2)
    a, b = (draw(rng, level, n=500)[0][:, None] for level in (-1, 1))
    parts = fitted.accuracy(a), fitted.accuracy(b)
    both = fitted.accuracy(np.concatenate([a, b]))
    assert both == pytest.approx(np.mean(parts), abs=1e-12)


def test_spread_is_that_of_new_conditions():
    rng = np.random.default_rng(3)
    found = [
        fit_between(*reference(rng, spread, n=400)).spread
        for spread in (0.0, 0.05, 0.1)
    ]
    # Offsets of .05 and .1 are .0025 and .01 over a mean p (1 - p) of .19
    assert found[0] < 0.004
    assert found[1] == pytest.approx(0.013, rel=0.7)
    assert found[2] == pytest.approx(0.053, rel=0.7)


def test_intervals_cover_new_conditions():
    from scipy.stats import t

    rng = np.random.default_rng(4)
    hits = []
    for _ in range(15):
        fit = fit_between(*reference(rng, 0.05))
        reach = t(fit.n_conditions - 1).ppf(0.975)
        for _ in range(30):
            level, offset = rng.uniform(-1.8, 1.8), 0.05 * rng.normal()
            quality, correct = draw(rng, level, offset, n=200)
            error = fit.accuracy(quality[:, None]) - correct.mean()
            variance = fit.variance(quality[:, None], np.arange(200))
            hits.append(abs(error) <= reach * np.sqrt(variance))
    assert 0.9 <= np.mean(hits) <= 0.995


def test_images_of_one_source_say_less(fitted):
    correlated = BetweenConditions.from_dict(
        {**fitted.to_dict(), "source_correlation": 0.5}
    )
    quality = np.zeros((100, 1))
    alone = correlated.variance(quality, np.arange(100))
    shared = correlated.variance(quality, np.arange(100) // 10)
    assert shared > 2 * alone


def test_a_steep_fit_expects_more_error():
    rng = np.random.default_rng(5)
    sharp = fit_between(*reference(rng, noise=0.3))
    noisy = fit_between(*reference(rng, noise=3.0))
    assert noisy.noise > sharp.noise
    assert noisy.expected_error > sharp.expected_error


def test_too_few_groups_or_conditions_give_none():
    quality, correct, sources, groups, conditions = reference(
        np.random.default_rng(6), n_conditions=4
    )
    columns = quality, correct, sources
    assert fit_between(*columns, groups, conditions) is not None
    assert fit_between(*columns, groups, conditions // 2) is None
    few = np.where(groups < 7, groups, -1)
    assert fit_between(*columns, few, groups) is None


def test_rows_without_a_group_are_left_out():
    quality, correct, sources, groups, conditions = reference(
        np.random.default_rng(7)
    )
    fit = fit_between(quality, correct, sources, groups, conditions)
    more = fit_between(
        np.concatenate([quality, np.full((500, 1), 9.0)]),
        np.concatenate([correct, np.zeros(500)]),
        np.concatenate([sources, np.zeros(500, int)]),
        np.concatenate([groups, np.full(500, -1)]),
        np.concatenate([conditions, np.zeros(500, int)]),
    )
    assert more == fit


def test_segments_are_how_far_a_value_is():
    found = segments(np.array([[-1.0], [0.5], [2.0], [9.0]]), [[0, 1, 3]])
    assert found.tolist() == [[0, 0], [0.5, 0], [1, 0.5], [1, 1]]


def test_json_round_trip(fitted):
    values = json.loads(json.dumps(fitted.to_dict(), allow_nan=False))
    assert BetweenConditions.from_dict(values) == fitted
    with pytest.raises(ValueError, match="do not fit together"):
        BetweenConditions.from_dict({**values, "slopes": [1.0] * 99})
