"""Accuracy to expect: estimates, intervals, slices, warnings, identities."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiftyone_iqa.analysis.expected import (
    ASSUMPTION,
    _grid_mass,
    check_identities,
    expected_accuracy,
)
from fiftyone_iqa.analysis.prior import QualityPrior, fit_prior
from fiftyone_iqa.errors import ConfigurationMismatchError, IQAError


def curve(quality):
    return 0.5 + 0.35 * np.tanh(quality)


def draw(rng, level, n, offset=0.0):
    """Images of one condition, whose accuracy lies off the curve."""
    quality = rng.normal(level, 0.5, n).round(1)
    p = curve(quality)
    p = np.clip(p + offset * np.sqrt(p * (1 - p)), 0, 1)
    return quality, (rng.random(n) < p).astype(float)


def learn(rng, spread=0.0, n_conditions=15, images=40, **kwargs):
    """A prior learnt under conditions of five severities each."""
    columns = []
    for condition in range(n_conditions):
        offset = np.sqrt(spread) * rng.normal()
        for severity in range(5):
            level = rng.normal(0.5 - 0.2 * severity, 0.3)
            quality, correct = draw(rng, level, images, offset)
            columns.append((quality, correct, condition, severity))
    quality, correct = (
        np.concatenate([c[i] for c in columns]) for i in (0, 1)
    )
    group = [c[2:] for c in columns for _ in range(images)]
    kwargs = {
        "group": group,
        "condition": [name[0] for name in group],
        "n_resamples": 25,
        **kwargs,
    }
    return fit_prior(quality, correct, ["q"], [True], **kwargs)


@pytest.fixture(scope="module")
def prior():
    return learn(np.random.default_rng(0), images=100, n_resamples=100)


def without_conditions(prior, **changes):
    """The same prior, of which only the curve is known."""
    stored = {**prior.to_dict(), "between": None, **changes}
    return QualityPrior.from_dict(stored)


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def test_estimate_is_the_mean_probability_and_near_the_truth(prior, rng):
    prior = without_conditions(prior)
    for level in (-0.8, 0.0, 0.8):
        quality, correct = draw(rng, level, 5000)
        found = expected_accuracy(prior, quality).accuracy
        mean = prior.predict(quality).mean()
        assert found.value == pytest.approx(mean, abs=1e-12)
        assert found.value == pytest.approx(correct.mean(), abs=0.02)
        assert found.low < correct.mean() < found.high


def test_intervals_cover_the_realised_accuracy_under_new_conditions():
    rng = np.random.default_rng(2)
    hits = {"known": [], "unknown": []}
    for _ in range(25):
        priors = {"known": learn(rng, spread=0.02)}
        priors["unknown"] = without_conditions(priors["known"])
        for _ in range(30):
            offset = np.sqrt(0.02) * rng.normal()
            quality, correct = draw(rng, rng.normal(0, 0.4), 300, offset)
            for name, prior in priors.items():
                found = expected_accuracy(prior, quality).accuracy
                hit = found.low <= correct.mean() <= found.high
                hits[name].append(hit)
    assert 0.9 <= np.mean(hits["known"]) <= 0.99
    # What the interval is without the doubt about conditions
    assert np.mean(hits["unknown"]) < 0.8


def test_a_prior_that_knew_no_conditions_says_so(rng):
    quality, _ = draw(rng, 0, 300)
    ignorant = learn(rng, spread=0.02, group=None, condition=None)
    assert ignorant.between is None
    warnings = expected_accuracy(ignorant, quality).warnings
    assert len(warnings) == 1
    assert "the prior knew no conditions" in warnings[0]
    assert "group_by=" in warnings[0]
    informed = learn(rng, spread=0.02)
    assert expected_accuracy(informed, quality).warnings == ()


def half_width(estimate):
    return (estimate.high - estimate.low) / 2


def test_several_images_per_source_widen_the_interval(prior, rng):
    quality, _ = draw(rng, 0, 400)
    source = [f"s{i // 10}" for i in range(400)]
    for correlation in (0.0, 0.5):
        related = without_conditions(prior, source_correlation=correlation)
        alone = half_width(expected_accuracy(related, quality).accuracy)
        found = expected_accuracy(related, quality, source=source).accuracy
        if correlation:
            assert half_width(found) > 1.5 * alone
        else:
            assert half_width(found) == pytest.approx(alone, abs=1e-12)


def test_chance_is_that_of_simulated_images(prior):
    # Images of a source are right or wrong together, or by themselves
    from fiftyone_iqa.analysis.expected import _chance

    rng = np.random.default_rng(3)
    sources = np.repeat(np.arange(12), 5)
    p = rng.uniform(0.2, 0.9, 12)[sources]
    accuracies = []
    for _ in range(20_000):
        together = rng.random(12)[sources]
        u = np.where(rng.random(60) < 0.7, together, rng.random(60))
        accuracies.append((u < p).mean())
    found = _chance(p, sources, 0.49)
    assert found == pytest.approx(np.var(accuracies), rel=0.05)


def test_a_source_is_needed_for_every_row(prior):
    with pytest.raises(IQAError, match="1 rows have no source"):
        expected_accuracy(prior, [0.0, 1.0], source=["a", None])


def test_slices_are_sorted_and_add_up_to_the_whole(prior, rng):
    quality, _ = draw(rng, 0, 900)
    names = np.where(quality > 0.2, "good", "fair").astype(object)
    names[quality < -0.5] = "poor"
    found = expected_accuracy(prior, quality, slices=names)
    assert [part.name for part in found.slices] == ["poor", "fair", "good"]
    n = [part.n for part in found.slices]
    values = [part.accuracy.value for part in found.slices]
    assert n == [int((names == p.name).sum()) for p in found.slices]
    assert sum(n) == found.n
    assert np.average(values, weights=n) == pytest.approx(
        found.accuracy.value, abs=1e-12
    )
    for part in found.slices:
        alone = expected_accuracy(prior, quality[names == part.name])
        assert alone.accuracy.value == pytest.approx(
            part.accuracy.value, abs=1e-12
        )
        assert alone.accuracy.low == pytest.approx(
            part.accuracy.low, abs=1e-12
        )


def test_rows_of_no_slice_and_slices_without_quality_are_left_out(prior):
    found = expected_accuracy(
        prior,
        [0.5, -0.5, 0.1, np.nan],
        slices=[("a", 1), None, ("a", 1), "empty"],
    )
    assert [(part.name, part.n) for part in found.slices] == [(("a", 1), 2)]
    assert found.n == 3


def test_images_without_quality_are_counted(prior, rng):
    quality, _ = draw(rng, 0, 300)
    holed = np.concatenate([[np.nan] * 40, quality])
    found = expected_accuracy(prior, holed)
    assert (found.n, found.n_missing) == (300, 40)
    whole = expected_accuracy(prior, quality)
    assert found.accuracy == whole.accuracy
    assert "300 images (40 without quality)" in str(found)
    with pytest.raises(IQAError, match="No image has q.*compute quality"):
        expected_accuracy(prior, [np.nan, np.nan])


def test_images_beyond_what_was_seen_are_warned_of(prior, rng):
    reference = prior.seen[0]
    inside = rng.uniform(reference[5], reference[-6], 960)
    for n, warned in ((40, False), (60, True)):
        found = expected_accuracy(
            prior, np.concatenate([inside, np.full(n, 50.0)])
        )
        share = n / (960 + n)
        assert found.outside["q"] == pytest.approx(share, abs=1e-12)
        said = [w for w in found.warnings if "beyond what the prior" in w]
        assert bool(said) == warned
    assert said[0].startswith("6% of the images have a q")


def test_a_collection_unlike_the_reference_is_warned_of(prior, rng):
    quality, _ = draw(rng, 1.1, 1000)
    quality = np.clip(quality, *prior.seen[0][[2, -3]])
    found = expected_accuracy(prior, quality)
    assert found.ks["q"] > 0.5
    assert any("KS distance" in warning for warning in found.warnings)


def test_ks_distance_is_that_of_scipy():
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(4)
    reference = rng.normal(size=3000)
    correct = (rng.random(3000) < curve(reference)).astype(float)
    prior = fit_prior(reference, correct, ["q"], [True], n_resamples=2)
    for shift in (0.0, 0.3, 1.0, 9.0):
        quality = rng.normal(shift, 1, 500)
        expected = ks_2samp(reference, quality).statistic
        found = expected_accuracy(prior, quality).ks["q"]
        assert found == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("values", [[0.0, 1.0], [0.0, 1 / 3, 2 / 3]])
def test_equal_values_are_no_distance(values):
    # Also of a saved prior: 2/3 must not be rounded beyond itself
    rng = np.random.default_rng(5)
    reference = rng.choice(values, 2000)
    correct = (rng.random(2000) < curve(reference)).astype(float)
    prior = fit_prior(reference, correct, ["q"], [True], n_resamples=2)
    loaded = QualityPrior.from_dict(json.loads(json.dumps(prior.to_dict())))
    for p in (prior, loaded):
        found = expected_accuracy(p, reference)
        assert found.ks["q"] < 0.01
        assert found.outside["q"] == 0
        # All at one value that was rarely seen: as far as can be
        other = expected_accuracy(p, np.full(100, 0.5))
        assert other.ks["q"] > 0.3


def test_two_values_have_an_estimate(rng):
    reference = np.repeat([0.0, 1.0], [3, 9997])
    correct = (rng.random(10_000) < 0.7).astype(float)
    prior = fit_prior(reference, correct, ["q"], [True], n_resamples=10)
    found = expected_accuracy(prior, reference).accuracy
    assert found.value == pytest.approx(0.7, abs=0.02)
    assert found.low < found.value < found.high


def test_several_metrics_are_all_needed(rng):
    quality = rng.normal(size=(2000, 2))
    p = curve(quality.sum(axis=1))
    correct = (rng.random(2000) < p).astype(float)
    prior = fit_prior(
        quality, correct, ["a", "b"], [True, True], n_resamples=10
    )
    new = rng.normal(size=(500, 2))
    new[:7, 0] = np.nan
    new[5:9, 1] = np.nan
    found = expected_accuracy(prior, new)
    assert (found.n, found.n_missing) == (491, 9)
    assert set(found.outside) == set(found.ks) == {"a", "b"}
    truth = curve(new[9:].sum(axis=1)).mean()
    assert found.accuracy.value == pytest.approx(truth, abs=0.04)
    with pytest.raises(IQAError, match="No image has a and b"):
        expected_accuracy(prior, np.full((4, 2), np.nan))


IDENTITY = {
    "encoder": "ViT-B-32/openai",
    "classes": "a94a8fe5",
    "templates": ["a photo of a {}"],
    "temperature": 0.01,
}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("encoder", "lite"),
        ("classes", "b6589fc6"),
        ("templates", ["a drawing of a {}"]),
        ("temperature", 1.0),
        ("precision", "fp16"),
    ],
)
def test_scores_made_otherwise_are_refused(prior, key, value):
    stored = {**prior.to_dict(), "identities": [IDENTITY]}
    prior = QualityPrior.from_dict(stored)
    other = {**IDENTITY, key: value}
    with pytest.raises(ConfigurationMismatchError) as raised:
        expected_accuracy(prior, [0.0, 1.0], identities=[other])
    said = f"'q', whose scores were made otherwise: {key} was "
    said += f"{IDENTITY.get(key)}, is {value}. Compute quality"
    assert said in str(raised.value)


def test_equal_identities_pass(prior):
    stored = {**prior.to_dict(), "identities": [IDENTITY]}
    prior_of_package = QualityPrior.from_dict(json.loads(json.dumps(stored)))
    check_identities(prior_of_package, [dict(reversed(IDENTITY.items()))])
    check_identities(prior, [None])
    expected_accuracy(prior_of_package, [0.0, 1.0], identities=[IDENTITY])


def test_a_strangers_field_is_not_the_packages(prior):
    with pytest.raises(ConfigurationMismatchError, match="only here; a prior"):
        check_identities(prior, [IDENTITY])
    stored = {**prior.to_dict(), "identities": [IDENTITY]}
    with pytest.raises(
        ConfigurationMismatchError, match="only where the prior was learnt"
    ):
        check_identities(QualityPrior.from_dict(stored), [None])


@settings(max_examples=60, deadline=None)
@given(
    grid=st.lists(st.integers(-50, 50), min_size=2, max_size=20, unique=True),
    scores=st.lists(st.floats(-80, 80), min_size=1, max_size=30),
    seed=st.integers(0, 100),
)
def test_grid_mass_gives_the_mean_of_interpolated_curves(grid, scores, seed):
    grid = np.sort(np.array(grid)) / 7
    scores = np.array([*scores, grid[0], grid[-1]])
    curves = np.random.default_rng(seed).random((5, len(grid)))
    mass = _grid_mass(scores, grid)
    assert mass.sum() == pytest.approx(1, abs=1e-12)
    expected = [np.interp(scores, grid, values).mean() for values in curves]
    assert curves @ mass == pytest.approx(np.array(expected), abs=1e-12)


def test_interval_widens_with_confidence_and_stays_inside(prior):
    quality = np.array([-2.0, 0.0, 2.0])
    narrow = expected_accuracy(prior, quality, confidence=0.5).accuracy
    wide = expected_accuracy(prior, quality, confidence=0.999).accuracy
    assert wide.low < narrow.low < narrow.high < wide.high
    one = expected_accuracy(prior, [5.0], confidence=0.999).accuracy
    assert 0 <= one.low <= one.value <= one.high <= 1


def test_to_dict_and_text_say_all_there_is(prior, rng):
    quality, _ = draw(rng, 0, 50)
    found = expected_accuracy(prior, quality, slices=["a", "b"] * 25)
    stored = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert stored["accuracy"] == found.accuracy.to_dict()
    assert [part["name"] for part in stored["slices"]] == [
        part.name for part in found.slices
    ]
    assert stored["assumption"] == ASSUMPTION
    text = str(found)
    assert f"expected accuracy {found.accuracy} over 50 images" in text
    assert f"  a: {found.slices[0].accuracy}" in text or "  b: " in text
    assert text.endswith(f"Assumed: {ASSUMPTION}")
