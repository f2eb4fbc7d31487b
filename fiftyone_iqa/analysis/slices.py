"""Slices ranked by how far quality and accuracy fall in them.

A slice is compared with the rest, all rows outside it. Rows of one source
are allowed to depend on each other in any way, also across the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ..errors import IQAError
from .clusters import check_confidence, source_codes
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
class SliceStatistics:
    """One slice against the rest.

    Attributes:
        membership: position of its :class:`Membership`
        name: of the slice
        n: rows
        n_scored: rows with quality
        n_judged: rows with correctness
        n_sources: sources of the rows with quality
        mean_quality: in units of the metric
        shift: mean quality minus the rest's, in standard deviations of all
            rows; negative is poorer
        shift_p: of the test that quality is the rest's
        shift_q: ``shift_p`` after Benjamini and Hochberg (1995), over all
            slices tested
        accuracy: share of right rows
        lift: accuracy minus the rest's
        lift_p: of the test that accuracy is the rest's, or None
        lift_q: as ``shift_q``, or None
        score: what the ranking is by
    """

    membership: int
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


def rank_slices(
    memberships: Sequence[Membership],
    quality,
    higher_is_better: bool,
    correct=None,
    source=None,
    min_n: int = MIN_N,
    min_sources: int = MIN_SOURCES,
    confidence: float = 0.95,
) -> list[SliceStatistics]:
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
        quality: ``(n,)`` floats, NaN where missing
        higher_is_better: the metric's direction
        correct (None): ``(n,)`` 1 right, 0 wrong, NaN where unknown
        source (None): ``(n,)`` ids of the rows' sources; None makes each
            row its own
        min_n (20): rows with quality that a slice and its rest need, and
            with correctness, for the accuracy to be given
        min_sources (5): sources they need
        confidence (0.95): the intervals' coverage

    Returns:
        the slices that are large enough

    Raises:
        IQAError: if shapes differ, a quality is infinite or all are missing,
            or correctness holds other values
    """
    check_confidence(confidence)
    quality = _column(quality, len(quality), "quality")
    n_rows = len(quality)
    if np.isinf(quality).any():
        raise IQAError("quality holds infinite values; set them to None")
    if not np.isfinite(quality).any():
        raise IQAError("No row has quality: compute it on these rows first")
    cluster = source_codes(source, n_rows)
    by_source = np.argsort(cluster, kind="stable")
    contrasts = [_Contrast(quality, cluster, by_source)]
    if correct is not None:
        correct = _column(correct, n_rows, "correctness")
        if not (np.isnan(correct) | (correct == 0) | (correct == 1)).all():
            raise IQAError(
                "correctness must be 1 or 0, NaN where unknown; got other "
                "values"
            )
        if np.isfinite(correct).any():
            contrasts.append(_Contrast(correct, cluster, by_source))

    limits = min_n, min_sources, confidence
    place = np.empty(n_rows, np.int64)
    place[by_source] = np.arange(n_rows)
    found = []
    for i, membership in enumerate(memberships):
        pairs = _Pairs(membership, cluster[by_source], place)
        compared = [c.compare(pairs, *limits) for c in contrasts]
        found += _statistics(
            i, membership.names, pairs.n, compared, higher_is_better
        )
    return _ranked(found)


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


class _Pairs:
    """Entries of a membership in runs of one slice and one source.

    Rows are numbered by source here, so that runs are consecutive.
    """

    def __init__(self, membership, cluster, place):
        self.k = len(membership.names)
        codes = np.asarray(membership.codes)
        if membership.rows is None:
            if len(codes) != len(place):
                raise IQAError(
                    f"There are {len(place):,} rows and {len(codes):,} "
                    "codes; pass one code per row, or rows="
                )
            rows = place
        else:
            rows = place[membership.rows]
        # Of 16 bits, numbers are sorted many times faster
        if self.k < 2**15:
            codes = codes.astype(np.int16)
        if membership.rows is None:
            ordered = np.empty_like(codes)
            ordered[rows] = codes
            codes, rows = ordered, np.arange(len(place))
        else:
            order = np.argsort(rows, kind="stable")
            codes, rows = codes[order], rows[order]
        order = np.argsort(codes, kind="stable")
        order = order[np.searchsorted(codes, 0, sorter=order) :]
        self.rows = rows[order]
        codes = codes[order]
        source = cluster[self.rows]
        new = np.ones(len(codes), bool)
        new[1:] = (codes[1:] != codes[:-1]) | (source[1:] != source[:-1])
        self.starts = np.flatnonzero(new)
        self.slice = codes[self.starts].astype(np.int64)
        self.source = source[self.starts]
        self.n = np.bincount(codes, minlength=self.k)

    def sums(self, values):
        """Returns a column's sums over the runs."""
        if len(self.starts) == len(self.rows):
            return values[self.rows]
        return np.add.reduceat(values[self.rows], self.starts)

    def over_slices(self, values):
        """Sums values of the runs over the slices."""
        return np.bincount(self.slice, weights=values, minlength=self.k)


class _Contrast:
    """Compares the means of one column inside and outside slices."""

    def __init__(self, values, cluster, by_source):
        known = np.isfinite(values)
        self.mean = values[known].mean()
        self._known = known[by_source].astype(np.float64)
        deviation = np.where(known, values - self.mean, 0.0)
        self._deviation = deviation[by_source]
        self._n = float(known.sum())
        # Per source; N and T of the formulas below
        self._counts = np.bincount(cluster, weights=known)
        self._totals = np.bincount(cluster, weights=deviation)
        self._n_sources = np.count_nonzero(self._counts)
        squares = deviation @ deviation
        self.variance = squares / self._n
        pairs = self._counts @ self._counts - self._n
        together = self._totals @ self._totals - squares
        self._icc = 0.0
        if pairs > 0 and self.variance > 0:
            self._icc = np.clip(together / (self.variance * pairs), 0.0, 1.0)

    def compare(self, pairs, min_n, min_sources, confidence):
        """Returns what is known of each slice, as columns of length k."""
        from scipy.special import stdtr, stdtrit

        n_sc, t_sc = pairs.sums(self._known), pairs.sums(self._deviation)
        n_c, t_c = self._counts[pairs.source], self._totals[pairs.source]
        n, total = pairs.over_slices(n_sc), pairs.over_slices(t_sc)
        n_rest = self._n - n
        inside = pairs.over_slices(n_sc > 0)
        outside = self._n_sources - pairs.over_slices(
            (n_c > 0) & (n_sc == n_c)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            mean, rest = total / n, -total / n_rest
            of = pairs.slice
            spread = t_sc - mean[of] * n_sc
            own = pairs.over_slices(spread**2) * inside / (inside - 1)
            reach = stdtrit(inside - 1, 0.5 + confidence / 2)
            reach *= np.sqrt(own) / n

            # Sources outside the slice, from sums over all of them
            left = t_c - rest[of] * n_c
            moved = (
                spread / n[of] - (left - t_sc + rest[of] * n_sc) / (n_rest[of])
            )
            robust = (
                self._totals @ self._totals
                - 2 * rest * (self._totals @ self._counts)
                + rest**2 * (self._counts @ self._counts)
                - pairs.over_slices(left**2)
            ) / n_rest**2 + pairs.over_slices(moved**2)
            fewest = np.minimum(inside, outside)
            robust *= fewest / (fewest - 1)

            weight = n_sc / n[of] - (n_c - n_sc) / n_rest[of]
            alone = 1 / n + 1 / n_rest
            sums = (
                self._counts @ self._counts - pairs.over_slices(n_c**2)
            ) / n_rest**2 + pairs.over_slices(weight**2)
            null = self.variance * (alone + self._icc * (sums - alone))
            error = np.sqrt(np.maximum(robust, null))
            difference = mean - rest
            p = 2 * stdtr(fewest - 1, -abs(difference) / error)
            critical = stdtrit(fewest - 1, 0.5 + confidence / 2)
        enough = (np.minimum(n, n_rest) >= min_n) & (fewest >= min_sources)
        return {
            "enough": enough & (self.variance > 0),
            "n": n.astype(np.int64),
            "n_sources": inside.astype(np.int64),
            "mean": self.mean + mean,
            "reach": reach,
            "difference": difference,
            "difference_reach": critical * error,
            "p": p,
            "sd": np.full(pairs.k, np.sqrt(self.variance)),
        }


def _statistics(membership, names, n, compared, higher_is_better):
    """Returns the slices of one membership that are large enough."""
    quality, *rest = compared
    sign = 1.0 if higher_is_better else -1.0
    rows = []
    for k in np.flatnonzero(quality["enough"]).tolist():
        of = {name: column[k].item() for name, column in quality.items()}
        right = None
        if rest:
            right = {name: c[k].item() for name, c in rest[0].items()}
        n_judged = right["n"] if right else 0
        if right and not right["enough"]:
            right = None
        shift = sign * of["difference"] / of["sd"]
        reach = of["difference_reach"] / of["sd"]
        score = max(0.0, -shift - reach)
        accuracy, lift = Estimate(None), Estimate(None)
        if right:
            accuracy = _accuracy(right["mean"], right["reach"])
            lift = _around(right["difference"], right["difference_reach"])
            score += max(0.0, -lift.high / right["sd"])
        rows.append(
            SliceStatistics(
                membership,
                names[k],
                int(n[k]),
                of["n"],
                n_judged,
                of["n_sources"],
                of["mean"],
                _around(shift, reach),
                of["p"],
                None,
                accuracy,
                lift,
                right["p"] if right else None,
                None,
                score,
            )
        )
    return rows


def _around(value, reach):
    return Estimate(value, value - reach, value + reach)


def _accuracy(value, reach):
    """Rows that are all right, or all wrong, give no interval."""
    value = min(max(value, 0.0), 1.0)
    if not 0 < value < 1 or not reach > 0:
        return Estimate(value)
    return Estimate(value, max(0.0, value - reach), min(1.0, value + reach))


def _ranked(found):
    from dataclasses import replace

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
