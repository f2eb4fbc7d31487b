"""Means inside and outside many slices at once, clustered by source."""

from __future__ import annotations

import numpy as np

from ..errors import IQAError


class Pairs:
    """Entries of a membership in runs of one slice and one source.

    Rows are numbered by source here, so that runs are consecutive.

    Args:
        membership: a :class:`~.slices.Membership`
        cluster: ``(n,)`` sources of the rows so numbered, from 0
        place: ``(n,)`` numbers of the rows

    Attributes:
        k: number of slices
        n: ``(k,)`` rows of each
        slice: ``(r,)`` of the runs
        source: ``(r,)`` of the runs
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

    def sums(self, values) -> np.ndarray:
        """Returns a column's sums over the runs."""
        if len(self.starts) == len(self.rows):
            return values[self.rows]
        return np.add.reduceat(values[self.rows], self.starts)

    def over_slices(self, values) -> np.ndarray:
        """Sums values of the runs over the slices."""
        return np.bincount(self.slice, weights=values, minlength=self.k)


class Contrast:
    """Compares the means of one column inside and outside slices.

    See :func:`~.slices.rank_slices` for the standard error.

    Args:
        values: ``(n,)`` floats, NaN where missing
        cluster: ``(n,)`` sources, from 0
        by_source: ``(n,)`` the rows sorted by source

    Attributes:
        mean: of all values
        variance: of all values
    """

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
        self._distinct = len(self._counts) == len(values)
        squares = deviation @ deviation
        self.variance = squares / self._n
        pairs = self._counts @ self._counts - self._n
        together = self._totals @ self._totals - squares
        self._icc = 0.0
        if pairs > 0 and self.variance > 0:
            self._icc = np.clip(together / (self.variance * pairs), 0.0, 1.0)

    def _sums(self, pairs):
        """Returns sums over the sources of slices, of t, n, T and N.

        Those are a source's sum and rows within the slice, and in all.
        """
        n, t = pairs.sums(self._known), pairs.sums(self._deviation)
        sums = {"n": pairs.over_slices(n), "t": pairs.over_slices(t)}
        sums["tt"] = pairs.over_slices(t * t)
        if self._distinct:
            # One row per source: n is 0 or 1, and t and n are T and N
            sums |= dict.fromkeys(("inside", "nn", "nN"), sums["n"])
            sums |= dict.fromkeys(("tn", "tN", "nT"), sums["t"])
            sums["tT"] = sums["tt"]
            sums["outside"] = self._n_sources - sums["n"]
            return sums

        of_n, of_t = self._counts[pairs.source], self._totals[pairs.source]
        products = {
            "nn": n * n,
            "tn": t * n,
            "tT": t * of_t,
            "tN": t * of_n,
            "nT": n * of_t,
            "nN": n * of_n,
            "inside": n > 0,
            "outside": (n == of_n) & (n > 0),
        }
        sums |= {k: pairs.over_slices(v) for k, v in products.items()}
        sums["outside"] = self._n_sources - sums["outside"]
        return sums

    def compare(self, pairs, min_n, min_sources, confidence):
        """Compares each slice with the rest.

        Args:
            pairs: the :class:`Pairs` of k slices
            min_n: values that slice and rest need
            min_sources: sources they need
            confidence: the intervals' coverage

        Returns:
            columns of length k: ``enough`` (bools), ``n`` values,
            ``n_sources``, ``mean`` and ``reach`` of its interval to each
            side, ``difference`` to the rest's mean, ``difference_reach``,
            ``p``, and ``sd`` of all values
        """
        from scipy.special import stdtr, stdtrit

        sums = self._sums(pairs)
        n, total = sums["n"], sums["t"]
        inside, outside = sums["inside"], sums["outside"]
        n_rest = self._n - n
        with np.errstate(divide="ignore", invalid="ignore"):
            mean, rest = total / n, -total / n_rest
            own = sums["tt"] - 2 * mean * sums["tn"] + mean**2 * sums["nn"]
            own = np.maximum(own, 0) * inside / (inside - 1)
            reach = stdtrit(inside - 1, 0.5 + confidence / 2)
            reach *= np.sqrt(own) / n

            # A source's part in the difference is a t - b n - c T + d N,
            # with its sum t and rows n inside, T and N in all
            a, b = 1 / n + 1 / n_rest, mean / n + rest / n_rest
            c, d = 1 / n_rest, rest / n_rest
            robust = (
                c**2 * (self._totals @ self._totals)
                + d**2 * (self._counts @ self._counts)
                - 2 * c * d * (self._totals @ self._counts)
                + a**2 * sums["tt"]
                + b**2 * sums["nn"]
                - 2 * a * b * sums["tn"]
                - 2 * a * c * sums["tT"]
                + 2 * a * d * sums["tN"]
                + 2 * b * c * sums["nT"]
                - 2 * b * d * sums["nN"]
            )
            # And of the rows' weights a n - c N
            weights = (
                c**2 * (self._counts @ self._counts)
                + a**2 * sums["nn"]
                - 2 * a * c * sums["nN"]
            )
            null = self.variance * (a + self._icc * (weights - a))
            fewest = np.minimum(inside, outside)
            robust *= fewest / (fewest - 1)
            error = np.sqrt(np.maximum(np.maximum(robust, null), 0))
            difference = mean - rest
            p = 2 * stdtr(fewest - 1, -abs(difference) / error)
            p = np.where(difference == 0, 1.0, p)
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
