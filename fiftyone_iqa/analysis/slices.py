"""Slices ranked by how far quality and accuracy fall in them.

A slice is compared with the rest, all rows outside it. Rows of one source
are allowed to depend on each other in any way, also across the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from ..errors import IQAError
from .clusters import check_confidence, source_codes
from .contrasts import Contrast, Pairs
from .estimate import Estimate

MIN_N = 20
MIN_SOURCES = 5


@dataclass(frozen=True)
class Membership:
    """Which rows belong to which slices of one field.

    Attributes:
        names: ``(k,)`` of the slices
        codes: ``(m,)`` ints, the slice of each entry, negative for none
        rows: ``(m,)`` ints, the row of each entry, every row at most once
            per slice; None where entry i is row i
    """

    names: tuple
    codes: np.ndarray
    rows: np.ndarray | None = None

    @classmethod
    def from_masks(cls, masks: dict) -> Membership:
        """Makes one of ``{name: (n,) bools}``."""
        rows = [np.flatnonzero(mask) for mask in masks.values()]
        codes = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
        return cls(
            tuple(masks), codes, np.concatenate([[], *rows]).astype(int)
        )


@dataclass(frozen=True)
class Comparison:
    """How a slice compares with the rest.

    Attributes:
        name: of the slice
        n: images, or objects
        n_scored: of them with quality
        n_judged: of them with correctness
        n_sources: original images of those with quality
        mean_quality: in units of the metric
        shift: mean quality minus the rest's, in standard deviations of all
            rows; negative is poorer
        shift_p: of the test that quality is the rest's
        shift_q: ``shift_p``, guarded for the number of slices tested
            (Benjamini and Hochberg 1995)
        accuracy: share of right ones. Without interval where the judged
            ones are too few, or of too few sources, to be compared: then
            there is no lift
        lift: accuracy minus the rest's
        lift_p: of the test that accuracy is the rest's, or None
        lift_q: as ``shift_q``, or None
        score: what the ranking is by, see :func:`rank_slices`
    """

    name: object
    n: int
    n_scored: int
    n_judged: int
    n_sources: int
    mean_quality: float
    shift: Estimate
    shift_p: float | None
    shift_q: float | None
    accuracy: Estimate
    lift: Estimate
    lift_p: float | None
    lift_q: float | None
    score: float

    def to_dict(self) -> dict:
        """Returns JSON-serialisable values, if the name is one."""
        return asdict(self)


@dataclass(frozen=True)
class SliceStatistics(Comparison):
    """One slice against the rest.

    Attributes:
        membership: position of its :class:`Membership`
    """

    membership: int


def rank_slices(
    memberships: Sequence[Membership],
    quality,
    higher_is_better: bool | Sequence[bool],
    correct=None,
    source=None,
    min_n: int = MIN_N,
    min_sources: int = MIN_SOURCES,
    confidence: float = 0.95,
) -> list[SliceStatistics] | list[list[SliceStatistics]]:
    """Compares slices with the rest and ranks them, the worst first.

    Standard errors are cluster-robust, of the difference between two means
    with sources as clusters, and at least as large as they were if slice and
    rest did not differ and the rows of a source had their correlation over
    all rows. The second matters where nearly all rows are right: 20 right
    ones in a row vary by nothing, and prove nothing. Student's t has one
    degree of freedom less than the slice (or the rest) has sources.

    A slice's score is by how much quality falls at least plus by how much
    accuracy falls at least: the nearer end of each interval, in standard
    deviations of all rows, 0 where the interval includes no fall. Slices of
    score 0 follow by their falls as estimated.

    Args:
        memberships: of the rows in slices
        quality: ``(n,)`` floats, NaN where missing; or ``(n, m)`` of several
            metrics, whose rankings share what does not depend on quality
        higher_is_better: the metric's direction; of several, ``m`` of them
        correct (None): ``(n,)`` 1 right, 0 wrong, NaN where unknown
        source (None): ``(n,)`` ids of the rows' sources; None makes each
            row its own
        min_n (20): rows with quality that a slice and its rest need, and
            with correctness, for the accuracy to be given
        min_sources (5): sources they need
        confidence (0.95): the intervals' coverage

    Returns:
        the slices that are large enough; of several metrics a list for each

    Raises:
        IQAError: if shapes differ, a quality is infinite or all are missing,
            or correctness holds other values
    """
    check_confidence(confidence)
    quality = np.asarray(quality, dtype=np.float64)
    if quality.ndim == 2:
        columns, directions = list(quality.T), list(higher_is_better)
    else:
        columns, directions = [quality], [higher_is_better]
    n_rows = len(quality)
    for column in columns:
        _check_quality(column, n_rows)
    cluster = source_codes(source, n_rows)
    by_source = np.argsort(cluster, kind="stable")
    contrasts = [Contrast(column, cluster, by_source) for column in columns]
    if correct is not None:
        correct = _column(correct, n_rows, "correctness")
        if not (np.isnan(correct) | (correct == 0) | (correct == 1)).all():
            raise IQAError(
                "correctness must be 1 or 0, NaN where unknown; got other "
                "values"
            )
        if np.isfinite(correct).any():
            contrasts.append(Contrast(correct, cluster, by_source))

    judged = len(contrasts) > len(columns)

    limits = min_n, min_sources, confidence
    place = np.empty(n_rows, np.int64)
    place[by_source] = np.arange(n_rows)
    found: list[list] = [[] for _ in columns]
    for i, membership in enumerate(memberships):
        pairs = Pairs(membership, cluster[by_source], place)
        compared = [c.compare(pairs, *limits) for c in contrasts]
        right = compared.pop() if judged else None
        for rows, of_quality, higher in zip(found, compared, directions):
            rows += _statistics(
                i, membership.names, pairs.n, of_quality, right, higher
            )
    ranked = [_ranked(rows) for rows in found]
    return ranked if quality.ndim == 2 else ranked[0]


def false_discovery_rates(p: Sequence[float | None]) -> list[float | None]:
    """Adjusts p values as Benjamini and Hochberg (1995) do; None stays."""
    from scipy.stats import false_discovery_control

    known = [i for i, value in enumerate(p) if value is not None]
    q: list[float | None] = [None] * len(p)
    if known:
        adjusted = false_discovery_control([p[i] for i in known])
        for i, value in zip(known, adjusted.tolist()):
            q[i] = value
    return q


def _column(values, n, name):
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (n,):
        raise IQAError(
            f"There are {n:,} rows and {name} of shape {values.shape}; pass "
            "one value per row"
        )
    return values


def _check_quality(quality, n):
    _column(quality, n, "quality")
    if np.isinf(quality).any():
        raise IQAError("quality holds infinite values; set them to None")
    if not np.isfinite(quality).any():
        raise IQAError("No row has quality: compute it on these rows first")


def _statistics(membership, names, n, quality, right, higher_is_better):
    """Returns the slices of one membership that are large enough."""
    sign = 1.0 if higher_is_better else -1.0
    rows = []
    for k in np.flatnonzero(quality["enough"]).tolist():
        of = {name: column[k].item() for name, column in quality.items()}
        shift = sign * of["difference"] / of["sd"]
        reach = of["difference_reach"] / of["sd"]
        score = max(0.0, -shift - reach)
        accuracy, lift, lift_p = Estimate(None), Estimate(None), None
        n_judged = 0 if right is None else int(right["n"][k])
        if n_judged:
            its = {name: column[k].item() for name, column in right.items()}
            if its["enough"]:
                accuracy = _accuracy(its["mean"], its["reach"])
                lift = _around(its["difference"], its["difference_reach"])
                lift_p = its["p"]
                score += max(0.0, -lift.high / its["sd"])
            else:
                # What was counted is true; what it says of others is open
                accuracy = _accuracy(its["mean"], 0.0)
        rows.append(
            SliceStatistics(
                name=names[k],
                n=int(n[k]),
                n_scored=of["n"],
                n_judged=n_judged,
                n_sources=of["n_sources"],
                mean_quality=of["mean"],
                shift=_around(shift, reach),
                shift_p=of["p"],
                shift_q=None,
                accuracy=accuracy,
                lift=lift,
                lift_p=lift_p,
                lift_q=None,
                score=score,
                membership=membership,
            )
        )
    return rows


def _around(value, reach):
    return Estimate(value, value - reach, value + reach)


def _accuracy(value, reach):
    """Rows that are all right, or all wrong, or too few have no interval."""
    value = min(max(round(value, 12), 0.0), 1.0)  # 1 - 1e-16 is 1
    if not 0 < value < 1 or not reach > 0:
        return Estimate(value)
    return Estimate(value, max(0.0, value - reach), min(1.0, value + reach))


def _ranked(found):
    shift_q = false_discovery_rates([s.shift_p for s in found])
    lift_q = false_discovery_rates([s.lift_p for s in found])
    found = [
        replace(s, shift_q=a, lift_q=b)
        for s, a, b in zip(found, shift_q, lift_q)
    ]
    # Python's sort is stable: ties keep the order of the fields
    return sorted(
        found, key=lambda s: (-s.score, s.shift.value + (s.lift.value or 0.0))
    )
