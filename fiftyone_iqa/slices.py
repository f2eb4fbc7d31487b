"""Finds the slices of a dataset in which quality and accuracy fall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from .analysis.estimate import Estimate
from .analysis.slices import (
    MIN_N,
    MIN_SOURCES,
    Comparison,
    Membership,
    SliceStatistics,
    rank_slices,
)
from .arguments import checked
from .candidates import BAND, HAS, read_candidates, slice_fields
from .errors import IQAError
from .quality_columns import QualityColumns
from .saved_views import PREFIX, save_view
from .selection import image_samples, select
from .views import check_correctness, direction, metric_field

MAX_SLICES = 100

_LONGEST_NAME = 90  # FiftyOne allows 100
_ESTIMATES = ("shift", "accuracy", "lift")


@dataclass(frozen=True)
class Slice(Comparison):
    """A subset by a field's value, with how it compares to the rest.

    Attributes:
        field: path of the field, or ``"tags"``
        kind: ``"is"`` (the value), ``"has"`` (the value is in a list) or
            ``"band"`` (of values)
        value: of the field; of a band ``[low, high]``, both included

    Its name is for people; the others are those of
    :class:`fiftyone_iqa.analysis.slices.Comparison`.
    """

    field: str
    kind: str
    value: object

    @property
    def condition(self) -> dict:
        """The MongoDB condition that selects it."""
        if self.kind == BAND:
            low, high = self.value
            return {self.field: {"$gte": low, "$lte": high}}
        return {self.field: self.value}

    @classmethod
    def from_dict(cls, values: dict) -> Slice:
        """Returns what :meth:`to_dict` wrote."""
        values = {f.name: values[f.name] for f in fields(cls)}
        for name in _ESTIMATES:
            values[name] = Estimate(**values[name])
        return cls(**values)


class SliceTable(Sequence):
    """Slices in the order of their ranking, the worst first.

    Args:
        samples: the collection they were found in
        slices: list of :class:`Slice`
        metric: the quality field
        n_tested: how many slices were compared
        skipped: ``{field: reason}`` of the fields left out
    """

    def __init__(self, samples, slices, metric, n_tested, skipped):
        self._samples = samples
        self._slices = list(slices)
        self.metric = metric
        self.n_tested = n_tested
        self.skipped = skipped

    def __len__(self):
        return len(self._slices)

    def __getitem__(self, index):
        return self._slices[index]

    def view(self, index: int):
        """Returns the view of a slice."""
        return slice_view(self._samples, self[index])

    def save(self, index: int, name: str | None = None) -> str:
        """Saves the view of a slice.

        Args:
            index: of the slice
            name (None): of the saved view, by default
                ``iqa_slice_<field>_<value>``

        Returns:
            its name

        Raises:
            IQAError: see :func:`fiftyone_iqa.saved_views.save_view`
        """
        found = self[index]
        said = f"Slice {found.name}: n {found.n:,}, mean {self.metric} "
        said += f"{found.mean_quality:.4g}"
        if found.accuracy.value is not None:
            said += f", accuracy {found.accuracy}, lift {found.lift}"
        if name is None:
            name = f"{PREFIX}slice_{found.name}".replace(".", "_")
            name = name[:_LONGEST_NAME]
        record = {"metric": self.metric, "slice": found.to_dict()}
        save_view(self.view(index), name, said, record=record)
        return name

    def to_pandas(self):
        """Returns the table, one row per slice.

        An estimate ``x`` is in columns ``x``, ``x_low`` and ``x_high``.
        """
        import pandas as pd

        return pd.DataFrame([_flat(s) for s in self], columns=list(_columns()))

    def to_dict(self) -> dict:
        """Returns JSON-serialisable values."""
        return {
            "metric": self.metric,
            "n_tested": self.n_tested,
            "skipped": self.skipped,
            "slices": [s.to_dict() for s in self],
        }

    @classmethod
    def from_dict(cls, values: dict, samples) -> SliceTable:
        """Returns what :meth:`to_dict` wrote.

        Args:
            values: the dict
            samples: the collection that views are made of
        """
        slices = [Slice.from_dict(row) for row in values["slices"]]
        return cls(
            samples,
            slices,
            values["metric"],
            values["n_tested"],
            values["skipped"],
        )

    def __repr__(self):
        return f"SliceTable({len(self)} of {self.n_tested} slices)"

    def __str__(self):
        if not self:
            return f"No slice is large enough ({self.n_tested} tested)"
        table = self.to_pandas()
        names = ["name", "n", "mean_quality", "shift", "shift_q"]
        if table.accuracy.notna().any():
            names += ["accuracy", "lift", "lift_q"]
        return table[names].to_string(float_format=lambda x: f"{x:.3g}")


@checked
def find_slices(
    samples,
    metric,
    correctness=None,
    by=None,
    source=None,
    min_n=MIN_N,
    min_sources=MIN_SOURCES,
    max_slices=MAX_SLICES,
    higher_is_better=None,
    progress=None,
) -> SliceTable:
    """Ranks slices by how much quality and accuracy fall in them.

    Each slice is compared with all other images (or objects). Intervals and
    p values are clustered by original image; q values hold the share of
    false discoveries down over all slices tested (Benjamini and Hochberg
    1995). The ranking is by the falls that are certain, see
    :func:`fiftyone_iqa.analysis.slices.rank_slices`.

    Args:
        samples: a dataset or view
        metric: a quality field, of images or of objects, or a metric that
            has one field
        correctness (None): the boolean field; without it slices are ranked
            by quality alone
        by (None): a field, or several: strings, booleans, integers, label
            fields, ``"tags"``, and quality fields, whose bands (fifths of
            their values) are slices. By default all of these that have at
            most 200 values (integers 50, labels 2,000); of the quality
            fields, the metric itself only with ``correctness``. Ids, paths,
            evaluations and this package's own bookkeeping are left out
        source (None): field that names the original image of each sample;
            by default ``source_id`` where the dataset has it
        min_n (20): scored images that a slice, and its rest, need
        min_sources (5): original images they need
        max_slices (100): how many slices to keep, the worst
        higher_is_better (None): for a metric without a direction, whether
            the poor ones are those of low values
        progress (None): whether to render a progress bar (True/False), use
            the default value ``fiftyone.config.show_progress_bars`` (None),
            or a progress callback function to invoke instead

    Returns:
        a :class:`SliceTable`

    Raises:
        IQAError: if a field is missing or of a kind that makes no slices, or
            the metric's direction is open
    """
    _check_counts(min_n=min_n, min_sources=min_sources, max_slices=max_slices)
    samples = image_samples(samples)
    field = metric_field(samples, metric)
    higher = direction(field, higher_is_better)
    if correctness is not None:
        check_correctness(samples, field, correctness)
    candidates = slice_fields(samples, field, correctness, by, source)
    also = () if correctness is None else (correctness,)
    columns = QualityColumns(samples, [field], source, also)
    correct = None if correctness is None else columns.correct(correctness)

    (table,) = _tables(
        samples,
        candidates,
        columns,
        [field],
        [higher],
        correct,
        (min_n, min_sources),
        max_slices,
        progress,
    )
    if by is not None:
        for path, why in table.skipped.items():
            raise IQAError(f"No slices by {path!r}: {why}")
    return table


def slices_of_metrics(
    samples, columns, fields, correctness, max_slices, progress=None
) -> list[SliceTable]:
    """Ranks slices by each of several metrics, as :func:`find_slices` does.

    The fields that make slices are read once.

    Args:
        samples: a dataset or view
        columns: its :class:`~.quality_columns.QualityColumns`
        fields: their :class:`~.quality_columns.MetricField`; those without a
            direction are left out
        correctness: the boolean field
        max_slices: how many slices to keep of each metric
        progress (None): see :func:`find_slices`

    Raises:
        IQAError: if a quality is infinite, or a metric has none at all
    """
    return _tables(
        samples,
        slice_fields(
            samples, fields[0], correctness, None, columns.source_field
        ),
        columns,
        fields,
        [field.higher_is_better for field in fields],
        columns.correct(correctness),
        (MIN_N, MIN_SOURCES),
        max_slices,
        progress,
    )


def _tables(
    samples,
    candidates,
    columns,
    metrics,
    directions,
    correct,
    limits,
    max_slices,
    progress,
):
    """Returns a table per metric that has a direction."""
    import fiftyone.core.utils as fou

    kept = [i for i, higher in enumerate(directions) if higher is not None]
    read, skipped = [], {}
    with fou.ProgressBar(total=len(candidates), progress=progress) as bar:
        all_found = read_candidates(samples, columns, candidates)
        for candidate, (found, why) in zip(candidates, all_found):
            if found is None:
                skipped[candidate.path] = why
            else:
                read.append((candidate, found))
            bar.update()

    rankings = rank_slices(
        [membership for _, membership in read],
        columns.quality[:, kept],
        [directions[i] for i in kept],
        correct,
        columns.source,
        *limits,
    )
    return [
        SliceTable(
            samples,
            [_slice(*read[s.membership], s) for s in ranked[:max_slices]],
            metrics[i].path,
            len(ranked),
            skipped,
        )
        for i, ranked in zip(kept, rankings)
    ]


def slice_view(samples, found: Slice | dict):
    """Returns the view of a slice.

    Of objects' slices by a field of objects the view has those objects only.

    Args:
        samples: the dataset or view the slice was found in, or another one
            with the field
        found: a :class:`Slice`, or its ``to_dict()``

    Raises:
        IQAError: if there is no such field
    """
    if isinstance(found, dict):
        found = Slice.from_dict(found)
    return select(image_samples(samples), found.condition)


def _slice(candidate, membership: Membership, s: SliceStatistics):
    value = s.name
    if candidate.kind == BAND:
        at = membership.names.index(value) + 1
        name = (
            f"{candidate.path} {value[0]:.4g} to {value[1]:.4g} "
            f"(band {at} of {len(membership.names)})"
        )
        value = list(value)
    else:
        verb = " has " if candidate.kind == HAS else " = "
        name = f"{candidate.path}{verb}{value}"
    own = {f.name: getattr(s, f.name) for f in fields(Comparison)}
    own["name"] = name
    return Slice(field=candidate.path, kind=candidate.kind, value=value, **own)


def _flat(found):
    row = {}
    for f in fields(Slice):
        value = getattr(found, f.name)
        if isinstance(value, Estimate):
            row[f.name] = value.value
            row[f"{f.name}_low"] = value.low
            row[f"{f.name}_high"] = value.high
        else:
            row[f.name] = value
    return row


def _columns():
    # What it is, and then its numbers
    names = [f.name for f in fields(Slice)]
    n = len(fields(Comparison))
    for name in names[n:] + names[:n]:
        yield name
        if name in _ESTIMATES:
            yield from (f"{name}_low", f"{name}_high")


def _check_counts(**counts):
    for name, value in counts.items():
        if not isinstance(value, (int, np.integer)) or value < 2 - (
            name == "max_slices"
        ):
            raise IQAError(f"{name} must be a whole number of 2 or more")
