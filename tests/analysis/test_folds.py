"""Splits and folds keep a source's rows together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiftyone_iqa.analysis.folds import folds_by_source, split_by_source
from fiftyone_iqa.errors import IQAError

_SOURCES = st.lists(st.integers(0, 30), min_size=2, max_size=200).filter(
    lambda source: len(set(source)) > 1
)


@settings(max_examples=100, deadline=None)
@given(_SOURCES, st.floats(0.01, 0.99), st.integers(0, 5))
def test_no_source_is_on_both_sides(source, test_share, seed):
    source = np.array(source)
    test = split_by_source(source, test_share, seed)
    held_out, kept = set(source[test]), set(source[~test])
    assert not held_out & kept
    assert held_out and kept
    wanted = test_share * len(set(source))
    assert abs(len(held_out) - wanted) <= 1


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 9)),
        min_size=1,
        max_size=200,
    ),
    st.integers(2, 7),
)
def test_folds_keep_sources_together_and_are_even(rows, n_folds):
    group, source = np.array(rows).T
    fold = folds_by_source(source, n_folds, group=group)
    assert fold.shape == (len(rows),)
    for g in set(group):
        dealt = {
            s: set(fold[(group == g) & (source == s)])
            for s in set(source[group == g])
        }
        assert all(len(folds) == 1 for folds in dealt.values())
        sizes = np.bincount([min(f) for f in dealt.values()], None, n_folds)
        assert sizes.max() - sizes.min() <= 1


def test_draws_do_not_depend_on_the_order_of_rows():
    source = np.repeat([f"{i:03d}" for i in range(50)], 4)
    order = np.random.default_rng(0).permutation(200)
    assert (
        split_by_source(source)[order] == split_by_source(source[order])
    ).all()
    assert (
        folds_by_source(source)[order] == folds_by_source(source[order])
    ).all()


def test_draws_depend_on_the_seed_alone():
    source = np.arange(100)
    assert (split_by_source(source) == split_by_source(source)).all()
    assert (split_by_source(source) != split_by_source(source, seed=1)).any()
    assert (folds_by_source(source) == folds_by_source(source)).all()
    assert (folds_by_source(source) != folds_by_source(source, seed=1)).any()
    # A frozen draw: the same in all versions of numpy, on all machines
    assert np.flatnonzero(split_by_source(np.arange(20))).tolist() == [
        1,
        8,
        18,
        19,
    ]


def test_groups_have_folds_of_their_own():
    group = np.repeat(np.arange(50), 10)
    fold = folds_by_source(None, 5, group=group).reshape(50, 10)
    assert (np.sort(fold) == np.repeat(range(5), 2)).all()
    assert len({tuple(row) for row in fold.tolist()}) > 40


def test_rows_can_be_their_own_sources():
    fold = folds_by_source(None, 5, n_rows=11)
    assert np.bincount(fold).tolist() == [3, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: split_by_source(["a", "a"]), "one source"),
        (lambda: split_by_source(["a", "b"], 20), "between 0 and 1"),
        (lambda: split_by_source(["a", None]), "no source"),
        (lambda: folds_by_source(["a", "b"], 1), "at least 2"),
    ],
)
def test_impossible_splits_are_refused(call, message):
    with pytest.raises(IQAError, match=message):
        call()
