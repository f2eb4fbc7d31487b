"""Splits and folds that never part the rows of a source."""

from __future__ import annotations

import numpy as np

from ..errors import IQAError
from .clusters import codes, source_codes


def split_by_source(source, test_share=0.2, seed=0) -> np.ndarray:
    """Draws sources, all rows of which are held out.

    The draw depends on the set of sources and the seed, not on the order of
    rows or how many rows a source has.

    Args:
        source: ``(n,)`` ids of the rows' sources
        test_share (0.2): share of the sources to hold out, between 0 and 1;
            at least one source is held out and one is not
        seed (0): int

    Returns:
        ``(n,)`` bools, True for rows held out

    Raises:
        IQAError: if there are fewer than two sources, one is missing or
            ``test_share`` is not between 0 and 1
    """
    if not 0 < test_share < 1:
        raise IQAError(
            f"test_share must be between 0 and 1, such as 0.2, not "
            f"{test_share}"
        )
    numbers, distinct = codes(source)
    n_sources = len(distinct)
    if n_sources < 2:
        raise IQAError(
            "All rows come from one source image; a split by source needs "
            "at least two"
        )
    n_test = min(max(round(test_share * n_sources), 1), n_sources - 1)
    held_out = np.zeros(n_sources, bool)
    # RandomState's stream is the same in all versions of numpy
    drawn = np.random.RandomState(seed).permutation(n_sources)[:n_test]
    held_out[drawn] = True
    return held_out[numbers]


def folds_by_source(
    source, n_folds=5, seed=0, group=None, n_rows=None
) -> np.ndarray:
    """Deals sources into folds of equal numbers of sources.

    Args:
        source: ``(n,)`` ids of the rows' sources; None makes each row its
            own
        n_folds (5): the number of folds, at least 2
        seed (0): int
        group (None): ``(n,)`` ints from 0; sources are dealt anew within
            each group, so that every group has its own folds
        n_rows (None): n, where both ``source`` and ``group`` are None

    Returns:
        ``(n,)`` ints 0 … n_folds − 1; all rows of a source (of a group) have
        one number

    Raises:
        IQAError: if a source is missing or ``n_folds`` is under 2
    """
    if n_folds < 2:
        raise IQAError(f"n_folds must be at least 2, not {n_folds}")

    if n_rows is None:
        n_rows = len(group if source is None else source)
    owner = np.zeros(n_rows, np.int64) if group is None else np.asarray(group)
    if source is None:
        unit, unit_owner = np.arange(n_rows), owner
    else:
        numbers = source_codes(source, n_rows)
        n_sources = int(numbers.max(initial=0)) + 1
        unit, pairs = codes(owner.astype(np.int64) * n_sources + numbers)
        unit_owner = pairs // n_sources

    fold = np.empty(len(unit_owner), np.int8 if n_folds < 128 else np.int64)
    fold[_shuffled(unit_owner, seed)] = _places(unit_owner) % n_folds
    return fold[unit]


def _shuffled(owner, seed):
    """Returns units sorted by owner, in random order within one."""
    draws = np.random.RandomState(seed).randint(
        2**32, size=len(owner), dtype=np.uint32
    )
    # One sort of integers instead of a slower one by two keys
    return np.argsort((owner.astype(np.uint64) << 32) + draws, kind="stable")


def _places(owner):
    """Returns 0, 1, … within each owner, owners in ascending order."""
    counts = np.bincount(owner)
    starts = np.cumsum(counts) - counts
    return np.arange(len(owner)) - np.repeat(starts, counts)
