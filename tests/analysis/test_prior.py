"""Priors: calibration, bands, how they transport, their files."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from fiftyone_iqa.analysis.prior import QualityPrior, fit_prior, load_prior
from fiftyone_iqa.errors import IQAError


def logistic(quality):
    return 1 / (1 + np.exp(-0.5 - 1.5 * quality))


def step(quality):
    return np.where(quality > 0.3, 0.9, 0.4)


def draw(n=1000, curve=logistic, seed=0):
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=n)
    return quality, (rng.random(n) < curve(quality)).astype(float)


def fit(quality, correct, higher_is_better=True, **kwargs):
    kwargs = {"n_resamples": 20, **kwargs}
    return fit_prior(quality, correct, ["q"], [higher_is_better], **kwargs)


def test_curve_is_that_of_scikit_learn_on_the_rows():
    quality, correct = draw(500, step)
    quality = 50 + 7 * quality
    prior = fit(quality, correct)
    assert prior.calibrator == "isotonic"
    at = prior.grid * prior.scale + prior.centre
    model = IsotonicRegression(out_of_bounds="clip").fit(quality, correct)
    expected = model.predict(at).clip(0.001, 0.999)
    assert prior.curve == pytest.approx(expected, abs=1e-9)
    assert prior.predict(at) == pytest.approx(expected, abs=1e-9)

    quality, correct = draw(500, seed=1)
    prior = fit(50 + 7 * quality, correct)
    assert prior.calibrator == "logistic"
    standard = (quality - quality.mean()) / quality.std()
    model = LogisticRegression(tol=1e-10, max_iter=1000)
    model.fit(standard[:, None], correct)
    expected = model.predict_proba(prior.grid[:, None])[:, 1]
    assert prior.curve == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("curve", "calibrator"), [(step, "isotonic"), (logistic, "logistic")]
)
@pytest.mark.parametrize("seed", range(3))
def test_the_calibrator_is_the_one_that_predicts_left_out_sources(
    curve, calibrator, seed
):
    quality, correct = draw(2000, curve, seed)
    prior = fit(quality, correct, n_resamples=2)
    assert prior.calibrator == calibrator
    losses = prior.log_loss
    assert set(losses) == {"isotonic", "logistic", "base rate"}
    assert losses[calibrator] == min(losses.values())
    # Nothing predicts better than the truth does, but for chance
    p = curve(quality)
    truth = -np.log(np.where(correct == 1, p, 1 - p)).mean()
    assert truth - 0.005 < losses[calibrator] < truth + 0.02
    rate = correct.mean()
    entropy = -rate * np.log(rate) - (1 - rate) * np.log(1 - rate)
    assert losses["base rate"] == pytest.approx(entropy, abs=0.002)


def test_rows_of_a_source_are_left_out_together():
    # Each source's 20 rows share quality and outcome, which are unrelated:
    # a fold with a twin of the row left out would know the answer
    rng = np.random.default_rng(0)
    source = np.repeat(np.arange(60), 20)
    quality = rng.normal(size=60)[source]
    correct = (rng.random(60) < 0.5).astype(float)[source]
    losses = fit(quality, correct, source=source, n_resamples=2).log_loss
    assert losses["logistic"] > 0.68
    assert losses["isotonic"] > 0.68


def test_lower_is_better_turns_the_score_round():
    quality, correct = draw()
    rising, falling = fit(quality, correct), fit(-quality, correct, False)
    assert falling.weights.tolist() == [-1]
    at = np.linspace(-4, 4, 50)
    assert falling.predict(-at) == pytest.approx(rising.predict(at), abs=1e-9)
    assert falling.predict([-3.0])[0] > falling.predict([3.0])[0]


def test_a_direction_that_is_not_declared_is_learnt():
    quality, correct = draw()
    assert fit(quality, correct, None).weights.tolist() == [1]
    assert fit(-quality, correct, None).weights.tolist() == [-1]
    # A declared one is kept; what contradicts it is the base rate
    wrong = fit(quality, correct, False)
    assert np.ptp(wrong.predict(np.linspace(-1.5, 1.5, 20))) < 0.05


def test_several_metrics_predict_better_than_each():
    rng = np.random.default_rng(0)
    quality = rng.normal(size=(3000, 3)) * [1, 100, 1e-3]
    useful = quality[:, 0] - quality[:, 1] / 100
    correct = (rng.random(3000) < logistic(useful)).astype(float)
    names, directions = ["a", "b", "noise"], [True, None, True]
    joint = fit_prior(quality, correct, names, directions, n_resamples=5)
    assert joint.metrics == ("a", "b", "noise")
    assert joint.weights[:2] == pytest.approx([0.707, -0.707], abs=0.05)
    assert abs(joint.weights[2]) < 0.05
    assert np.linalg.norm(joint.weights) == pytest.approx(1, abs=1e-12)
    for i, direction in enumerate(directions):
        alone = fit(quality[:, i], correct, direction, n_resamples=2)
        assert min(joint.log_loss.values()) < min(alone.log_loss.values())

    p = joint.predict(quality)
    assert p == pytest.approx(logistic(useful), abs=0.1)
    quality[0, 1] = np.nan
    assert np.isnan(joint.predict(quality)).tolist() == [True] + [False] * 2999


def test_rows_that_miss_anything_are_left_out():
    quality, correct = draw(400)
    source = np.arange(400) // 4
    group = [("blur", i % 5) for i in range(400)]
    whole = fit(quality, correct, source=source, group=group)
    padded = fit(
        np.concatenate([[np.nan, 3.0, np.inf], quality]),
        np.concatenate([[1.0, np.nan, 1.0], correct]),
        source=np.concatenate([[900, 901, 902], source]),
        group=[("noise", 1), None, ("fog", 1), *group],
    )
    assert padded.to_dict() == whole.to_dict()
    assert (whole.n, whole.n_sources) == (400, 100)
    assert whole.accuracy == correct.mean()


def test_order_of_rows_does_not_matter():
    quality, correct = draw(400)
    source = np.array([f"s{i // 4}" for i in range(400)])
    a = fit(quality, correct, source=source)
    order = np.random.default_rng(1).permutation(400)
    b = fit(quality[order], correct[order], source=source[order])
    assert b.log_loss == pytest.approx(a.log_loss, abs=1e-9)
    assert b.replicates == pytest.approx(a.replicates, abs=1e-5)


def test_rows_without_source_are_refused():
    quality, correct = draw(40)
    source = [None, *range(39)]
    with pytest.raises(IQAError, match="1 rows have no source"):
        fit(quality, correct, source=source)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(20, 400),
    digits=st.integers(0, 3),
    better=st.sampled_from([True, False, None]),
)
def test_a_curve_never_falls_with_quality(seed, n, digits, better):
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=n).round(digits)
    correct = (rng.random(n) < 0.5 + 0.3 * np.sin(quality)).astype(float)
    correct[:2] = 0, 1
    prior = fit(quality, correct, better, n_resamples=3)
    at = np.linspace(-5, 5, 200)[:: -1 if prior.weights[0] < 0 else 1]
    p = prior.predict(at)
    assert (np.diff(p) >= -1e-12).all()
    assert ((p >= 0) & (p <= 1)).all()
    assert (np.diff(prior.replicates, axis=1) >= -1e-12).all()
    assert (np.diff(prior.grid) > 0).all()


def draw_dependent(rng, n_sources=60, variants=20):
    """Rows whose outcomes depend strongly on their source.

    Given quality, they are right with :func:`logistic` probability.
    """
    source = np.repeat(np.arange(n_sources), variants)
    quality = rng.choice(np.linspace(-2, 2, 12), len(source))
    latent = np.sqrt(0.8) * rng.normal(size=n_sources)[source]
    latent += np.sqrt(0.2) * rng.normal(size=len(source))
    correct = norm.cdf(latent) < logistic(quality)
    return quality, correct.astype(float), source


def coverage(n_simulations, by_source):
    hits = []
    for seed in range(1000, 1000 + n_simulations):
        quality, correct, source = draw_dependent(np.random.default_rng(seed))
        source = source if by_source else None
        prior = fit(quality, correct, source=source, n_resamples=80)
        low, high = prior.band()
        truth = logistic(prior.grid * prior.scale + prior.centre)
        hits.append((low <= truth) & (truth <= high))
    return np.concatenate(hits).mean()


def test_the_band_covers_the_true_curve_as_it_resamples_sources():
    # 93.5 % of 120 simulations with 200 resamples, standard error 1.4 %
    assert 0.9 <= coverage(28, by_source=True) <= 0.99
    assert coverage(8, by_source=False) < 0.8


def test_band_lies_around_the_curve_and_widens_with_confidence():
    prior = fit(*draw(), n_resamples=100)
    low, high = prior.band()
    assert (low <= prior.curve + 1e-3).all()
    assert (high >= prior.curve - 1e-3).all()
    wide = prior.band(0.99)
    assert (wide[0] <= low).all()
    assert (wide[1] >= high).all()


def test_reliability_is_on_the_diagonal():
    prior = fit(*draw(5000), n_resamples=2)
    p, accuracy, n = prior.reliability.T
    assert n.tolist() == [500] * 10
    assert (np.diff(p) >= 0).all()
    assert accuracy == pytest.approx(p, abs=0.07)
    assert len(fit(*draw(12, seed=3), n_resamples=2).reliability) == 10


def test_seen_quantiles_are_those_of_numpy():
    quality, correct = draw()
    prior = fit(quality, correct, n_resamples=2)
    expected = np.quantile(quality, np.linspace(0, 1, 201))
    assert prior.seen.shape == (1, 201)
    assert prior.seen[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9])
def test_source_correlation_is_the_simulated_one(shared):
    # A pair of rows takes its source's draw with probability shared²
    rng = np.random.default_rng(1)
    source = np.repeat(np.arange(2000), 4)
    quality = rng.uniform(-1.5, 1, 2000)[source]
    own = rng.random(8000)
    common = rng.random(2000)[source]
    u = np.where(rng.random(8000) < shared, common, own)
    correct = (u < logistic(quality)).astype(float)
    prior = fit(quality, correct, source=source, n_resamples=2)
    assert prior.source_correlation == pytest.approx(shared**2, abs=0.03)
    if shared:
        assert fit(quality, correct).source_correlation == 0


def draw_conditions(rng, spread, n_conditions=60, severities=5, images=150):
    """Images under conditions whose accuracy lies off one curve."""
    groups = n_conditions * severities
    condition = np.repeat(np.arange(n_conditions), severities)
    level = rng.normal(0, 0.5, groups)
    quality = np.repeat(level, images) + rng.normal(0, 0.3, groups * images)
    p = 0.5 + 0.15 * np.tanh(quality)
    offset = np.sqrt(spread) * rng.normal(size=n_conditions)[condition]
    p = p + np.repeat(offset, images) * np.sqrt(p * (1 - p))
    correct = (rng.random(len(p)) < p).astype(float)
    names = [(int(c), i % severities) for i, c in enumerate(condition)]
    group = [name for name in names for _ in range(images)]
    return quality, correct, group


def test_groups_give_the_fit_between_conditions():
    quality, correct, group = draw_conditions(
        np.random.default_rng(0), 0.005, n_conditions=8, images=60
    )
    condition = [name[0] for name in group]
    columns = {"group": group, "n_resamples": 2}
    prior = fit(quality, correct, condition=condition, **columns)
    assert prior.between.n_conditions == 8
    assert fit(quality, correct, **columns).between.n_conditions == 40
    assert fit(quality, correct, n_resamples=2).between is None
    nowhere = fit(quality, correct, group=[None] * len(quality), n_resamples=2)
    assert nowhere.between is None


@pytest.fixture(scope="module")
def prior():
    quality, correct, group = draw_conditions(
        np.random.default_rng(0), 0.01, n_conditions=5, images=40
    )
    quality = np.stack([quality, np.random.default_rng(1).random(1000)], 1)
    return fit_prior(
        quality,
        correct,
        ["zsclip_qp", "tv"],
        [True, None],
        source=[f"image {i % 40}" for i in range(1000)],
        group=group,
        identities=[{"encoder": "lite", "temperature": 0.01}, None],
    )


def test_a_saved_prior_predicts_the_same(prior, tmp_path):
    path = tmp_path / "prior.json"
    prior.save(path)
    assert path.stat().st_size < 200_000
    loaded = load_prior(path)
    quality = np.random.default_rng(2).normal(0, 2, (5000, 2))
    difference = abs(loaded.predict(quality) - prior.predict(quality))
    assert difference.max() < 1e-6
    assert loaded.band() == pytest.approx(prior.band(), abs=1e-4)
    assert loaded.metrics == prior.metrics
    assert loaded.identities == prior.identities
    assert loaded.log_loss == prior.log_loss
    assert loaded.between == prior.between
    assert loaded.to_dict() == prior.to_dict()
    json.dumps(prior.to_dict(), allow_nan=False)


@pytest.mark.parametrize("scale", [1e-12, 1e9])
def test_units_of_a_metric_survive_saving(scale, tmp_path):
    quality, correct = draw(300)
    quality = quality * scale
    prior = fit(quality, correct)
    prior.save(tmp_path / "prior.json")
    loaded = load_prior(tmp_path / "prior.json")
    assert loaded.predict(quality) == pytest.approx(
        prior.predict(quality), abs=1e-6
    )


def test_saturated_scores_stay_apart_when_saved(tmp_path):
    # Half of the probabilities lie within 1e-9 of 1, others far away
    rng = np.random.default_rng(0)
    quality = 1 - 10.0 ** -rng.uniform(0, 12, 3000)
    correct = (rng.random(3000) < 0.9).astype(float)
    prior = fit(quality, correct)
    prior.save(tmp_path / "prior.json")
    loaded = load_prior(tmp_path / "prior.json")
    assert (np.diff(loaded.grid) > 0).all()
    assert loaded.predict(quality) == pytest.approx(
        prior.predict(quality), abs=1e-6
    )


def damaged(prior, **changes):
    return json.dumps({**prior.to_dict(), **changes})


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: "",
        lambda p: damaged(p)[:1000],
        lambda p: "[1, 2]",
        lambda p: "[]",
        lambda p: "{}",
        lambda p: "null",
        lambda p: '{"schema": 1}',
        lambda p: damaged(p, extra=1),
        lambda p: damaged(p, curve="high"),
        lambda p: damaged(p, curve=p.curve.tolist()[:-1]),
        lambda p: damaged(p, scale=[1.0]),
        lambda p: damaged(p, centre=[None, 0.0]),
        lambda p: damaged(p, seen=[[0.0, 1.0]] * 2),
        lambda p: damaged(p, replicates=[[0.1, 0.2], [0.3]]),
        lambda p: damaged(p, metrics=None),
    ],
)
def test_a_damaged_file_is_refused(prior, damage, tmp_path):
    path = tmp_path / "prior.json"
    path.write_text(damage(prior), encoding="utf-8")
    with pytest.raises(IQAError, match="prior.json holds no quality prior"):
        load_prior(path)


def test_a_file_that_is_no_text_or_missing_is_refused(tmp_path):
    path = tmp_path / "prior.json"
    with pytest.raises(IQAError, match="holds no quality prior"):
        load_prior(path)
    with pytest.raises(IQAError, match="holds no quality prior"):
        load_prior(tmp_path)
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(IQAError, match=r"prior\.save\(path\) writes one"):
        load_prior(path)


@pytest.mark.parametrize("schema", [2, 0, "1", None])
def test_another_schema_is_refused(prior, schema, tmp_path):
    path = tmp_path / "prior.json"
    path.write_text(damaged(prior, schema=schema), encoding="utf-8")
    with pytest.raises(IQAError, match="schema .* this version reads 1"):
        load_prior(path)


def test_fewer_than_five_sources_are_refused():
    quality, correct = draw(900)
    with pytest.raises(IQAError, match="at least 5 original .* here are 4"):
        fit(quality, correct, source=np.arange(900) % 4)
    with pytest.raises(IQAError, match="at least 5"):
        fit(np.full(20, np.nan), np.ones(20))
    fit(quality, correct, source=np.arange(900) % 5, n_resamples=2)


@pytest.mark.parametrize(("outcome", "said"), [(1, "right"), (0, "wrong")])
def test_one_outcome_is_refused(outcome, said):
    with pytest.raises(IQAError, match=f"All 50 predictions are {said}"):
        fit(np.arange(50), np.full(50, outcome))


def test_a_constant_metric_is_refused_by_name():
    quality = np.stack([np.arange(50), np.full(50, 0.1)], axis=1)
    with pytest.raises(IQAError, match=r"'tv' has the value 0\.1 everywhere"):
        fit_prior(quality, np.arange(50) % 2, ["q", "tv"], [True, True])


def test_another_number_of_columns_is_refused(prior):
    with pytest.raises(IQAError, match=r"must be \(n, 2\), one column per"):
        prior.predict(np.zeros((5, 3)))
    with pytest.raises(IQAError, match=r"must be \(n, 1\)"):
        fit(np.zeros((5, 3)), np.zeros(5))


def test_a_seed_gives_one_prior():
    quality, correct = draw(200)
    stored = json.dumps(fit(quality, correct, seed=3).to_dict())
    assert json.dumps(fit(quality, correct, seed=3).to_dict()) == stored
    assert json.dumps(fit(quality, correct, seed=4).to_dict()) != stored


def test_two_values_make_a_prior():
    # One of them rare: it must not share a bin with the other
    quality = np.repeat([0.0, 1.0], [30, 19_970])
    correct = (np.arange(20_000) % 10 < 8).astype(float)
    correct[:30] = np.arange(30) < 3
    prior = fit(quality, correct)
    assert prior.predict([0.0, 1.0]) == pytest.approx([0.1, 0.8], abs=0.05)
    QualityPrior.from_dict(prior.to_dict())
