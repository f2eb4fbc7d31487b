"""Point-wise predictability, against scikit-learn and known answers."""

import json

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from sklearn.preprocessing import StandardScaler

from fiftyone_iqa.analysis.auc import auc_interval
from fiftyone_iqa.analysis.clusters import clustered_mean
from fiftyone_iqa.analysis.folds import split_by_source
from fiftyone_iqa.analysis.predictability import (
    predictability,
    predictability_by_variant,
)
from fiftyone_iqa.errors import IQAError


def _images(n_sources=120, n_conditions=10, seed=0):
    """Three metrics and correctness that depend on source and condition."""
    rng = np.random.default_rng(seed)
    source = np.repeat(np.arange(n_sources), n_conditions)
    latent = rng.normal(size=n_sources)[source]
    latent = latent + np.tile(rng.normal(size=n_conditions), n_sources)
    noise = rng.normal(size=(len(source), 4))
    quality = latent[:, None] * [1, 0.3, 0] + noise[:, :3]
    quality = quality * [2, 0.01, 30] + [5, 0.2, -100]
    return quality, latent + noise[:, 3] > 0.4, source


def _reference(quality, correct, source):
    """The same split, scaled and fitted by scikit-learn."""
    test = split_by_source(source)
    scaler = StandardScaler().fit(quality[~test])
    z = scaler.transform(quality)
    model = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000)
    model.fit(z[~test], correct[~test])
    return model, model.predict_proba(z[test])[:, 1], test


@pytest.mark.parametrize("columns", [[0], [1], [2], [0, 1, 2]])
def test_the_model_is_that_of_scikit_learn(columns):
    quality, correct, source = _images()
    quality = quality[:, columns]
    model, p, test = _reference(quality, correct, source)

    found = predictability(quality, correct, source)

    assert np.atleast_1d(found.slope) == pytest.approx(
        model.coef_[0], abs=1e-6
    )
    assert found.intercept == pytest.approx(model.intercept_[0], abs=1e-6)
    happened = correct[test]
    for value, expected in (
        (found.fitted_auc.value, roc_auc_score(happened, p)),
        (found.cross_entropy.value, log_loss(happened, p)),
        (found.brier, brier_score_loss(happened, p)),
        (
            found.base_entropy,
            log_loss(happened, np.full(test.sum(), correct[~test].mean())),
        ),
    ):
        assert value == pytest.approx(expected, abs=1e-6)
    assert 0 <= found.calibration_error < 0.15
    assert (found.n, found.n_sources, found.n_missing) == (1200, 120, 0)
    assert (found.n_train, found.n_test) == (960, 240)
    assert found.accuracy == correct.mean()


def test_intervals_are_clustered_by_source():
    quality, correct, source = _images()
    quality = quality[:, 0]
    _, p, test = _reference(quality[:, None], correct, source)

    found = predictability(quality, correct, source, confidence=0.9)

    assert found.auc == auc_interval(quality, correct, source, 0.9)
    expected = auc_interval(p, correct[test], source[test], 0.9)
    for name in ("value", "low", "high"):
        assert getattr(found.fitted_auc, name) == pytest.approx(
            getattr(expected, name), abs=1e-9
        )
    losses = -np.log(np.where(correct[test], p, 1 - p))
    expected = clustered_mean(losses, source[test], 0.9)
    assert found.cross_entropy.high == pytest.approx(expected.high, abs=1e-6)

    alone = predictability(quality, correct, confidence=0.9)
    assert alone.n_sources == 1200
    width = found.auc.high - found.auc.low
    assert width > 1.1 * (alone.auc.high - alone.auc.low)


def test_raw_auc_follows_the_declared_direction():
    quality, correct, source = _images()
    up = predictability(quality[:, 0], correct, source)
    down = predictability(-quality[:, 0], correct, source, False)
    wrong = predictability(quality[:, 0], correct, source, False)
    unknown = predictability(quality[:, 0], correct, source, None)
    assert down.auc == up.auc
    assert wrong.auc.value == pytest.approx(1 - up.auc.value, abs=1e-12)
    assert unknown.auc.value is None
    # The model finds the direction itself
    assert wrong.fitted_auc == unknown.fitted_auc == up.fitted_auc
    assert down.slope == pytest.approx(-up.slope, abs=1e-9)
    several = predictability(quality, correct, source)
    assert several.auc.value is None
    assert len(several.slope) == 3


def test_units_do_not_matter_unless_raw():
    quality, correct, source = _images()
    quality = quality[:, 0]
    found = predictability(quality, correct, source)
    tiny = predictability(3e-7 * quality + 1e-3, correct, source)
    assert tiny.slope == pytest.approx(found.slope, rel=1e-6)
    assert tiny.fitted_auc.value == found.fitted_auc.value


def _nearly_constant(accuracy):
    """A metric as ZSCLIP's Q_p at temperature 1: 0.001 for all images."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=4000)
    latent = 0.5 * z + np.sqrt(0.75) * rng.normal(size=4000)
    return 1e-3 + 1e-5 * z, latent > norm.ppf(1 - accuracy)


@pytest.mark.parametrize("accuracy", [0.35, 0.65])
def test_paper_raw_takes_its_sign_from_the_accuracy(accuracy):
    quality, correct = _nearly_constant(accuracy)

    raw = predictability(quality, correct, protocol="paper_raw")
    scaled = predictability(quality, correct)

    # One metric, one relation; the paper's protocol flips with accuracy
    assert scaled.auc.value > 0.65
    assert scaled.fitted_auc.value > 0.65
    assert scaled.cross_entropy.high < scaled.base_entropy
    if accuracy < 0.5:
        assert raw.slope < 0
        assert raw.fitted_auc.value < 0.35
    else:
        assert raw.slope > 0
        assert raw.fitted_auc.value > 0.65
    assert raw.cross_entropy.value == pytest.approx(raw.base_entropy, abs=1e-3)
    assert raw.auc == scaled.auc


def test_paper_raw_is_scikit_learns_default_on_the_metric_as_it_is():
    quality, correct, source = _images()
    test = split_by_source(source)
    model = LogisticRegression().fit(quality[~test, :1], correct[~test])
    p = model.predict_proba(quality[test, :1])[:, 1]

    found = predictability(
        quality[:, 0], correct, source, protocol="paper_raw"
    )

    assert found.protocol == "paper_raw"
    assert found.slope == pytest.approx(model.coef_[0, 0], abs=1e-9)
    assert found.fitted_auc.value == pytest.approx(
        roc_auc_score(correct[test], p), abs=1e-9
    )


def test_a_metric_that_knows_nothing_reaches_the_base_rate():
    quality, correct, source = _images(400)
    found = predictability(quality[:, 2], correct, source)
    assert found.auc.value == pytest.approx(0.5, abs=0.03)
    assert found.cross_entropy.value == pytest.approx(
        found.base_entropy, abs=0.01
    )


def test_a_metric_that_does_not_vary_is_chance():
    _, correct, source = _images()
    # 0.1 has no exact float: its mean differs from it
    found = predictability(np.full(1200, 0.1), correct, source)
    assert found.slope == 0
    assert found.auc.value == found.fitted_auc.value == 0.5
    assert found.cross_entropy.value == pytest.approx(
        found.base_entropy, abs=1e-9
    )
    jointly = np.column_stack([np.full(1200, 0.1), np.full(1200, 7.0)])
    assert predictability(jointly, correct, source).slope == (0, 0)


def test_missing_rows_are_left_out_and_counted():
    quality, correct, source = _images()
    quality = quality[:, 0]
    gappy_quality = quality.astype(object)
    gappy_quality[::7] = None
    gappy_correct = correct.astype(object)
    gappy_correct[3::50] = None
    kept = np.ones(1200, bool)
    kept[::7] = kept[3::50] = False
    kept_sources = [f"image {s}" for s in source]

    found = predictability(
        gappy_quality.tolist(), gappy_correct.tolist(), kept_sources
    )

    assert found.n_missing == 1200 - kept.sum()
    assert found.n == kept.sum()
    assert found.auc == auc_interval(
        quality[kept], correct[kept], source[kept]
    )


def test_float32_columns_give_nearly_the_same():
    quality, correct, source = _images()
    single = predictability(quality.astype(np.float32), correct, source)
    double = predictability(quality, correct, source)
    assert single.slope == pytest.approx(double.slope, abs=1e-4)
    assert single.fitted_auc.value == pytest.approx(
        double.fitted_auc.value, abs=1e-4
    )


def test_results_are_repeatable_and_serialisable():
    arguments = _images()
    found = predictability(*arguments)
    assert found == predictability(*arguments)
    assert found != predictability(*arguments, seed=1)
    stored = json.loads(json.dumps(found.to_dict()))
    assert stored["cross_entropy"]["value"] == found.cross_entropy.value
    assert stored["slope"] == list(found.slope)
    assert stored["auc"] == {"value": None, "low": None, "high": None}
    assert "1,200 images of 120 sources" in str(found)


def test_held_out_rows_of_one_class_have_no_auc():
    quality = np.arange(12.0)
    # Two of twelve are wrong; with this seed none of them is held out
    correct = np.arange(12) > 1
    test = split_by_source(np.arange(12), 0.2, 0)
    assert correct[test].all()
    found = predictability(quality, correct)
    assert found.fitted_auc.value is None
    assert found.cross_entropy.value < 0.7
    assert json.loads(json.dumps(found.to_dict()))["fitted_auc"] == {
        "value": None,
        "low": None,
        "high": None,
    }


_Q = np.arange(10.0)
_M = np.arange(10) % 2 == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((_Q[:9], _M), "9 rows"),
        ((_Q, _M, ["a"] * 9), "source is of shape"),
        ((_Q, np.ones(10)), "0 wrong rows"),
        ((_Q, ~_M, np.where(_M, "a", _Q)), "5 wrong rows come from fewer"),
        ((_Q, _M, ["a"] * 9 + [None]), "no source"),
        ((np.where(_Q > 8, np.inf, _Q), _M), "1 infinite"),
        ((_Q * np.nan, _M), "None of the 10 rows"),
        ((_Q, np.arange(10)), "True or False"),
        ((_Q, np.array(["no"] * 10)), "True or False"),
        ((np.array(["low"] * 10), _M), "must be numbers"),
        ((_Q[:0], _M[:0]), "one number per row"),
        ((np.zeros((10, 2, 2)), _M), "one number per row"),
        ((_Q, _M, None, True, "raw"), "no protocol 'raw'"),
        ((_Q, _M, None, True, "paper_raw", 20), "test_share"),
        ((_Q, _M, None, True, "paper_raw", 0.2, 0, 95), "confidence"),
    ],
)
def test_what_cannot_be_predicted_is_refused(arguments, message):
    with pytest.raises(IQAError, match=message):
        predictability(*arguments)


def test_training_rows_of_one_class_are_refused():
    source = np.arange(4)
    wrong = split_by_source(source, 0.5)
    with pytest.raises(IQAError, match="All training rows are right"):
        predictability(_Q[:4], ~wrong, source, test_share=0.5)


def test_variants_are_judged_each_by_itself():
    quality, correct, source = _images()
    # Nine variants, each with one image of every source
    share = np.tile([None, *np.arange(1, 10) / 100], 120)

    found = predictability_by_variant(
        quality[:, 0], correct, share, source, higher_is_better=True
    )

    assert found.variants == tuple(np.arange(1, 10) / 100)
    of = share == 0.03
    alone = predictability(quality[of, 0], correct[of], source[of])
    assert found.results[2] == alone
    areas = [result.auc.value for result in found.results]
    assert found.mean_auc == pytest.approx(np.mean(areas))
    assert found.sigma_auc == pytest.approx(np.std(areas))
    fitted = [result.fitted_auc.value for result in found.results]
    assert found.mean_fitted_auc == pytest.approx(np.mean(fitted))
    stored = json.loads(json.dumps(found.to_dict()))
    assert stored["results"][2] == alone.to_dict()

    undirected = predictability_by_variant(
        quality[:, 0], correct, share, source, higher_is_better=None
    )
    assert undirected.mean_auc is None


def test_a_variant_that_fails_is_named():
    with pytest.raises(IQAError, match="Variant 'bad': The 0 wrong rows"):
        predictability_by_variant(
            np.r_[_Q, _Q], np.r_[_M, _M | True], ["a"] * 10 + ["bad"] * 10
        )
