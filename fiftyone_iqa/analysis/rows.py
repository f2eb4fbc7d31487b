"""Checked columns: which rows an analysis can use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import IQAError


@dataclass(frozen=True)
class Rows:
    """The rows that have everything.

    Attributes:
        quality: ``(n, m)`` floats, one column per metric
        correct: ``(n,)`` bools
        keys: name → ``(n,)`` column of ids, or None where none was given
        n_missing: rows left out
    """

    quality: np.ndarray
    correct: np.ndarray
    keys: dict
    n_missing: int


def usable_rows(quality, correct, source=None, **groups) -> Rows:
    """Leaves out rows without quality, correctness or group.

    Args:
        quality: ``(n,)`` or ``(n, m)`` floats, None or NaN where missing
        correct: ``(n,)`` bools (or 0 and 1), None or NaN where missing
        source (None): ``(n,)`` ids, or None
        **groups: name → ``(n,)`` ids, None where missing

    Returns:
        the :class:`Rows`; ``source`` is one of their keys

    Raises:
        IQAError: if shapes differ, a quality is infinite, correctness holds
            other values, or no row is left
    """
    quality = _float_columns(quality)
    correct = np.asarray(correct)
    keys = {"source": source, **groups}
    keys = {k: None if v is None else np.asarray(v) for k, v in keys.items()}
    n = len(quality)
    for name, column in {"correct": correct, **keys}.items():
        if column is not None and column.shape != (n,):
            raise IQAError(
                f"quality has {n:,} rows and {name} is of shape "
                f"{column.shape}; pass one value per row"
            )

    missing = np.isnan(quality).any(axis=1)
    n_infinite = np.count_nonzero(np.isinf(quality))
    if n_infinite:
        raise IQAError(
            f"quality holds {n_infinite:,} infinite values; clear them, or "
            "set them to None so that their rows are left out"
        )
    if correct.dtype != bool:
        correct = _correctness(correct)
        missing |= np.isnan(correct)
    for name in groups:
        missing |= _is_missing(keys[name])

    n_missing = int(np.count_nonzero(missing))
    if n_missing == n:
        raise IQAError(
            f"None of the {n:,} rows has both quality and correctness: "
            "compute them on the same images"
        )
    if n_missing:
        kept = ~missing
        quality, correct = quality[kept], correct[kept]
        keys = {k: None if v is None else v[kept] for k, v in keys.items()}
    return Rows(quality, correct.astype(bool, copy=False), keys, n_missing)


def _float_columns(quality):
    quality = np.asarray(quality)
    if quality.dtype not in (np.float32, np.float64):
        try:
            quality = quality.astype(np.float64)
        except (TypeError, ValueError):
            raise IQAError(
                "quality must be numbers, None or NaN where missing; got "
                f"{quality.dtype}"
            ) from None
    if quality.ndim == 1:
        quality = quality[:, None]
    if quality.ndim != 2 or not quality.size:
        raise IQAError(
            "quality must be one number per row, or one column per metric; "
            f"got shape {quality.shape}"
        )
    return quality


def _correctness(correct):
    try:
        values = correct.astype(np.float64)
    except (TypeError, ValueError):
        values = np.array([np.inf])
    if not (np.isnan(values) | (values == 0) | (values == 1)).all():
        raise IQAError(
            "correct must be True or False, None where missing; got other "
            "values"
        )
    return values


def _is_missing(column):
    import pandas as pd

    return pd.isna(column)
