"""Slices against the rest: known answers, calibration, ranking."""

import json

import numpy as np
import pytest
from scipy import stats

from fiftyone_iqa.analysis.clusters import clustered_mean
from fiftyone_iqa.analysis.slices import (
    Membership,
    false_discovery_rates,
    rank_slices,
)
from fiftyone_iqa.errors import IQAError


def data(n=3000, n_sources=300, seed=0):
    rng = np.random.default_rng(seed)
    source = rng.integers(0, n_sources, n)
    content = rng.normal(size=n_sources)[source]
    quality = 5 + content + rng.normal(size=n)
    correct = (rng.random(n) < 1 / (1 + np.exp(-content - 1))).astype(float)
    codes = rng.integers(-1, 6, n)
    quality[codes == 3] -= 1.0
    correct[(codes == 3) & (rng.random(n) < 0.5)] = 0.0
    quality[::7] = np.nan
    correct[::11] = np.nan
    return Membership(tuple("abcdef"), codes), quality, correct, source


def test_statistics_are_those_of_the_definitions():
    membership, quality, correct, source = data()
    ranked = rank_slices([membership], quality, True, correct, source)
    assert sorted(s.name for s in ranked) == list("abcdef")
    assert ranked[0].name == "d"
    for s in ranked:
        inside = membership.codes == "abcdef".index(s.name)
        q, qk = quality[inside], np.isfinite(quality)
        assert s.n == inside.sum()
        assert s.n_scored == np.isfinite(q).sum()
        assert s.n_sources == len(set(source[inside & qk]))
        assert s.mean_quality == pytest.approx(np.nanmean(q), abs=1e-12)
        shift = np.nanmean(q) - np.nanmean(quality[~inside])
        assert s.shift.value == pytest.approx(
            shift / np.nanstd(quality), abs=1e-12
        )
        judged = inside & np.isfinite(correct)
        assert s.n_judged == judged.sum()
        expected = clustered_mean(correct[judged], source[judged])
        assert (s.accuracy.value, s.accuracy.low, s.accuracy.high) == (
            pytest.approx((expected.value, expected.low, expected.high))
        )
        lift = np.nanmean(correct[inside]) - np.nanmean(correct[~inside])
        assert s.lift.value == pytest.approx(lift, abs=1e-12)


def test_the_error_is_the_cluster_robust_one_of_the_difference():
    """Against the sandwich formula written out source by source."""
    membership, quality, correct, source = data()
    ranked = rank_slices([membership], quality, True, correct, source)
    judged = np.isfinite(correct)
    y, g = correct[judged], source[judged]
    for s in ranked:
        inside = (membership.codes == "abcdef".index(s.name))[judged]
        residual = np.where(inside, y - y[inside].mean(), 0)
        residual = residual / inside.sum()
        outside = np.where(inside, 0, y - y[~inside].mean())
        outside = outside / (~inside).sum()
        u = np.array([(residual - outside)[g == k].sum() for k in set(g)])
        fewest = min(len(set(g[inside])), len(set(g[~inside])))
        error = np.sqrt((u @ u) * fewest / (fewest - 1))
        p = 2 * stats.t.sf(abs(s.lift.value) / error, fewest - 1)
        # The other error, of equal means, is the larger one for some
        assert s.lift_p >= p * (1 - 1e-9)
        reach = stats.t.ppf(0.975, fewest - 1) * error
        assert s.lift.high - s.lift.value >= reach * (1 - 1e-9)
        assert s.lift.high - s.lift.value < 1.2 * reach


def test_rows_that_are_their_own_sources_give_welchs_error():
    rng = np.random.default_rng(1)
    quality = rng.normal(size=400)
    quality[:100] *= 3
    membership = Membership(("a",), np.repeat([0, -1], [100, 300]))
    (s,) = rank_slices([membership], quality, True)
    a, b = quality[:100], quality[100:]
    error = np.sqrt(a.var() / 99 + b.var() / 300 * 100 / 99)
    t = (a.mean() - b.mean()) / error
    assert s.shift_p == pytest.approx(2 * stats.t.sf(abs(t), 99), rel=1e-9)


def test_slices_that_differ_in_nothing():
    """Both halves of every source are alike: no difference, no error."""
    source = np.repeat(np.arange(40), 2)
    quality = source.astype(float)
    codes = np.tile([0, -1], 40)
    (s,) = rank_slices(
        [Membership(("a",), codes)], quality, True, quality % 2, source
    )
    assert s.shift.value == s.lift.value == 0
    assert s.shift_p == s.lift_p == 1


def test_paired_slices_are_compared_within_their_sources():
    """Against the paired t test, where every source has one row in each."""
    rng = np.random.default_rng(0)
    content = rng.normal(0, 3, 200)
    a, b = content - 0.3 + rng.normal(size=200), content + rng.normal(size=200)
    quality = np.concatenate([a, b])
    source = np.tile(np.arange(200), 2)
    codes = np.repeat([0, -1], 200)
    (s,) = rank_slices(
        [Membership(("a",), codes)], quality, True, None, source
    )
    paired = stats.ttest_rel(a, b).pvalue
    # The larger of two errors is taken
    assert 0.99 * paired < s.shift_p < 3 * paired
    assert s.shift_p < stats.ttest_ind(a, b).pvalue / 10


def test_q_values_are_scipys():
    p = [0.01, None, 0.02, 0.03, 0.5]
    q = false_discovery_rates(p)
    expected = stats.false_discovery_control([0.01, 0.02, 0.03, 0.5])
    assert q[1] is None
    assert [v for v in q if v is not None] == pytest.approx(expected)
    assert false_discovery_rates([None]) == [None]

    membership, quality, correct, source = data()
    ranked = rank_slices([membership], quality, True, correct, source)
    for name in ("shift", "lift"):
        p = [getattr(s, f"{name}_p") for s in ranked]
        q = [getattr(s, f"{name}_q") for s in ranked]
        assert q == pytest.approx(stats.false_discovery_control(p))


def test_lower_is_better_turns_the_shift_only():
    membership, quality, correct, source = data()
    a = rank_slices([membership], quality, True, correct, source)
    b = rank_slices([membership], -quality, False, correct, source)
    for x, y in zip(a, b):
        assert x.name == y.name
        assert x.shift.value == pytest.approx(y.shift.value, abs=1e-12)
        assert x.mean_quality == pytest.approx(-y.mean_quality)
        assert x.score == pytest.approx(y.score)


def test_masks_and_several_memberships_agree_with_codes():
    membership, quality, correct, source = data()
    masks = {
        name: membership.codes == i for i, name in enumerate(membership.names)
    }
    rows = (quality, True, correct, source)
    a = rank_slices([membership], *rows)
    b = rank_slices([Membership.from_masks(masks)], *rows)
    assert json.dumps([s.to_dict() for s in a]) == json.dumps(
        [s.to_dict() for s in b]
    )
    both = rank_slices(
        [membership, Membership(("x",), np.where(masks["d"], 0, -1))], *rows
    )
    assert {(s.membership, s.name) for s in both[:2]} == {(0, "d"), (1, "x")}


def test_overlapping_slices():
    n = 100
    masks = {"first": np.arange(n) < 50, "most": np.arange(n) < 70}
    quality = np.where(np.arange(n) < 50, 0.0, 1.0)
    quality += 0.01 * np.sin(np.arange(n))
    ranked = rank_slices([Membership.from_masks(masks)], quality, True)
    assert [(s.name, s.n) for s in ranked] == [("first", 50), ("most", 70)]


def test_small_slices_and_small_rests_are_left_out():
    quality = np.random.default_rng(0).normal(size=100)
    codes = np.repeat([0, 1, 2], [19, 21, 60])
    found = rank_slices([Membership(tuple("abc"), codes)], quality, True)
    assert {s.name for s in found} == {"b", "c"}
    everything = Membership(("all",), np.where(np.arange(100) < 81, 0, -1))
    assert rank_slices([everything], quality, True) == []
    few = rank_slices(
        [Membership(tuple("abc"), codes)],
        quality,
        True,
        source=np.arange(100) % 4,
    )
    assert few == []


def test_slices_without_enough_correctness_are_not_compared():
    quality = np.random.default_rng(0).normal(size=200)
    correct = np.full(200, np.nan)
    correct[90:] = np.arange(110) % 2
    codes = np.repeat([0, 1], 100)
    found = rank_slices(
        [Membership(tuple("ab"), codes)], quality, True, correct
    )
    # 10 judged rows in the one, and so in the other's rest
    for s in found:
        assert s.lift.value is None and s.lift_p is None
        assert s.lift_q is None and s.shift_p is not None
        # What was counted, without an interval
        own = correct[codes == "ab".index(s.name)]
        assert s.accuracy.value == pytest.approx(np.nanmean(own))
        assert s.accuracy.low is None
    assert {s.n_judged for s in found} == {10, 100}
    # It does not count in the ranking
    plain = rank_slices([Membership(tuple("ab"), codes)], quality, True)
    assert {s.name: s.score for s in found} == {s.name: s.score for s in plain}


def test_slices_that_nobody_judged_have_no_accuracy():
    quality = np.random.default_rng(0).normal(size=200)
    correct = np.full(200, np.nan)
    correct[100:] = np.arange(100) % 2
    codes = np.repeat([0, 1], 100)
    a, b = rank_slices(
        [Membership(tuple("ab"), codes)], quality, True, correct
    )
    found = {s.name: s.accuracy.value for s in (a, b)}
    assert found == {"a": None, "b": 0.5}


def test_several_metrics_are_ranked_as_one_by_one():
    membership, quality, correct, source = data()
    other = np.random.default_rng(9).normal(size=len(quality))
    together = rank_slices(
        [membership],
        np.column_stack([quality, other]),
        [True, False],
        correct,
        source,
    )
    assert together == [
        rank_slices([membership], column, higher, correct, source)
        for column, higher in ((quality, True), (other, False))
    ]


def test_slices_that_are_all_right_prove_nothing():
    rng = np.random.default_rng(0)
    correct = (rng.random(2000) < 0.95).astype(float)
    correct[:20] = 1
    codes = np.where(np.arange(2000) < 20, 0, -1)
    (s,) = rank_slices(
        [Membership(("a",), codes)], rng.normal(size=2000), True, correct
    )
    assert s.accuracy.value == 1 and s.accuracy.low is None
    assert s.lift_p > 0.2


@pytest.mark.parametrize(
    ("accuracy", "n_sources", "per_source", "spread"),
    [(0.95, 20, 5, 2.0), (0.6, 50, 5, 2.0), (0.6, 40, 1, 0.0)],
)
def test_few_slices_that_are_like_the_rest_are_found(
    accuracy, n_sources, per_source, spread
):
    """Simulated: at most the nominal 5 % (four standard errors allowed)."""
    rng = np.random.default_rng(0)
    source = np.repeat(np.arange(300), per_source)
    found = []
    for _ in range(150):
        content = rng.normal(0, spread, 300)[source]
        logit = np.log(accuracy / (1 - accuracy)) + content
        correct = (rng.random(len(source)) < 1 / (1 + np.exp(-logit))) * 1.0
        codes = np.where(source < n_sources, 0, -1)
        quality = content + rng.normal(size=len(source))
        membership = Membership(("a",), codes)
        (s,) = rank_slices([membership], quality, True, correct, source)
        found += [s.lift_p < 0.05, s.shift_p < 0.05]
    assert np.mean(found) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 300)


def test_certain_falls_rank_before_large_ones():
    rng = np.random.default_rng(0)
    quality = rng.normal(size=20000)
    codes = np.full(20000, 2)
    codes[:5000], codes[5000:5020] = 0, 1
    quality[:5000] -= 0.5
    quality[5000:5020] = rng.normal(-0.6, 1, 20)
    ranked = rank_slices([Membership(tuple("abc"), codes)], quality, True)
    assert ranked[0].name == "a"
    scores = [s.score for s in ranked]
    assert scores == sorted(scores, reverse=True)


def test_constant_columns_have_no_slices():
    codes = np.arange(100) % 2
    found = rank_slices(
        [Membership(("a", "b"), codes)], np.ones(100), True, np.ones(100)
    )
    assert found == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quality": [np.inf, 1.0]}, "infinite"),
        ({"quality": [np.nan, np.nan]}, "No row has quality"),
        ({"correct": [1.0]}, "correctness of shape"),
        ({"correct": [1.0, 2.0]}, "1 or 0"),
        ({"codes": [0]}, "one code per row"),
    ],
)
def test_bad_columns_are_refused(change, message):
    columns = {"quality": [1.0, 2.0], "correct": None, "codes": [0, 0]}
    columns.update(change)
    with pytest.raises(IQAError, match=message):
        rank_slices(
            [Membership(("a",), np.array(columns["codes"]))],
            columns["quality"],
            True,
            columns["correct"],
        )
