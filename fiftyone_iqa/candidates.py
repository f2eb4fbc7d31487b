"""Fields that make slices, read as codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .analysis.slices import Membership
from .errors import IQAError
from .quality_columns import SOURCE_FIELD, is_quality_field, object_root
from .reading import read_values
from .scoring.source import FAILURE_FIELD, INFO_KEY

IS, HAS, BAND = "is", "has", "band"
N_BANDS = 5
MAX_STRINGS = 200
MAX_INTEGERS = 50
MAX_LABELS = 2000

_AT_ONCE = 8

_BOOKKEEPING = frozenset(
    {
        "id",
        "filepath",
        "created_at",
        "last_modified_at",
        "corruption_protocol",
        SOURCE_FIELD,
        FAILURE_FIELD,
        "sample_id",
        "frame_id",
    }
)


@dataclass(frozen=True)
class Candidate:
    """A field whose values are slices.

    Attributes:
        path: of the values
        kind: ``"is"``, ``"has"`` or ``"band"``
        most: distinct values it may have
    """

    path: str
    kind: str
    most: int


def slice_fields(samples, metric, correctness, by, source):
    """Returns the :class:`Candidate` fields.

    Args:
        samples: a dataset or view
        metric: a :class:`~.quality_columns.MetricField`
        correctness: path of the boolean field, or None
        by: paths, or None for all that suit
        source: the field of sources, or None

    Raises:
        IQAError: if a field of ``by`` is missing or makes no slices
    """
    root = object_root(samples, metric.path)
    if by is not None:
        by = [by] if isinstance(by, str) else list(by)
        if not by:
            raise IQAError("by is empty; leave it out for all fields")
        return [_asked(samples, path, root) for path in dict.fromkeys(by)]

    left_out = {*_BOOKKEEPING, source, correctness, *_evaluations(samples)}
    if correctness is None:
        # That the poorest fifth is poor is no finding
        left_out.add(metric.path)
    paths = list(samples.get_field_schema())
    if root is not None:
        of_objects = samples.get_field(root).field.get_field_schema()
        left_out |= {f"{root}.{name}" for name in left_out if name}
        paths += [f"{root}.{name}" for name in of_objects]
    found = []
    for path in paths:
        info = (samples.get_field(path).info or {}).get(INFO_KEY) or {}
        if path not in left_out and info.get("metric") != "correctness":
            candidate = _candidate(samples, path, root)
            if candidate is not None and candidate.path not in left_out:
                found.append(candidate)
    return list({c.path: c for c in found}.values())


def read_candidates(samples, columns, candidates):
    """Reads candidates' values.

    Args:
        samples: a dataset or view
        columns: its :class:`~.quality_columns.QualityColumns`
        candidates: list of :class:`Candidate`

    Yields:
        of each its :class:`~.analysis.slices.Membership` and None, or None
        and why it makes no slices
    """
    # Together they are read several times faster than one by one; all at
    # once they might not fit in memory
    for start in range(0, len(candidates), _AT_ONCE):
        chunk = candidates[start : start + _AT_ONCE]
        values = read_values(samples, [c.path for c in chunk])
        for candidate in chunk:
            yield _membership(columns, candidate, values.pop(0))


def _membership(columns, candidate, values):
    if candidate.kind == HAS:
        membership = _contents(columns.spread(values))
    elif candidate.kind == BAND:
        values = columns.aligned(candidate.path, values)
        membership = _bands(np.array(values, float))
    else:
        codes, names = _numbered(columns.aligned(candidate.path, values))
        membership = Membership(names, codes)
    n = len(membership.names)
    if n == 0:
        return None, "it has no values"
    if n > candidate.most:
        return None, f"it has {n:,} values, more than {candidate.most:,}"
    return membership, None


def _asked(samples, path, root):
    field = samples.get_field(path) if isinstance(path, str) else None
    if field is None:
        raise IQAError(
            f"Dataset {samples._root_dataset.name!r} has no field {path!r}"
        )
    found = _candidate(samples, path, root)
    if found is None:
        raise IQAError(
            f"Field {path!r} is a {type(field).__name__}; slices are made by "
            "strings, booleans, integers, labels, tags and quality fields "
            "(declare those with use_quality_field)"
        )
    if found.kind == IS:
        own = object_root(samples, path)
        if own not in (None, root):
            raise IQAError(f"Field {path!r} belongs to other objects")
    return found


def _candidate(samples, path, root):
    """Returns the candidate a field is, or None."""
    import fiftyone as fo

    field = samples.get_field(path)
    own = object_root(samples, path)
    if is_quality_field(field):
        return Candidate(path, BAND, N_BANDS) if own in (None, root) else None
    if isinstance(field, fo.EmbeddedDocumentField):
        kind = field.document_type
        if not issubclass(kind, fo.Label):
            return None
        many = getattr(kind, "_LABEL_LIST_FIELD", None)
        path = f"{path}.{many}.label" if many else f"{path}.label"
        if samples.get_field(path) is None:
            return None
        # Of the very objects, the label is a value of their own
        single = object_root(samples, path) in (None, root)
        return Candidate(path, IS if single else HAS, MAX_LABELS)
    if isinstance(field, fo.ListField):
        if isinstance(field.field, fo.StringField) and own is None:
            return Candidate(path, HAS, MAX_STRINGS)
        return None
    if not isinstance(field, (fo.StringField, fo.BooleanField, fo.IntField)):
        return None
    most = MAX_INTEGERS if isinstance(field, fo.IntField) else MAX_STRINGS
    if path.endswith(".label"):
        most = MAX_LABELS
    return Candidate(path, IS if own in (None, root) else HAS, most)


def _evaluations(samples):
    dataset = samples._root_dataset
    for key in dataset.list_evaluations():
        for suffix in ("", "_tp", "_fp", "_fn", "_id", "_iou"):
            yield key + suffix


def _numbered(values):
    import pandas as pd

    # Of mixed objects, True is not 1 and None is missing
    codes, names = pd.factorize(np.asarray(values, dtype=object))
    return codes, tuple(names.tolist())


def _contents(lists):
    """Returns the slices of rows whose lists have a value."""
    counts = [len(values or ()) for values in lists]
    rows = np.repeat(np.arange(len(lists)), counts)
    codes, names = _numbered([v for values in lists for v in values or ()])
    known = codes >= 0
    # A value that is twice in a list is once in the slice
    keys = rows[known] * max(1, len(names)) + codes[known]
    rows, codes = np.divmod(np.unique(keys), max(1, len(names)))
    return Membership(names, codes, rows)


def _bands(values):
    """Returns slices of about equally many values each."""
    known = np.isfinite(values)
    codes = np.full(len(values), -1)
    if not known.any():
        return Membership((), codes)
    inside = values[known]
    edges = np.quantile(inside, np.linspace(0, 1, N_BANDS + 1)[1:-1])
    codes[known] = np.searchsorted(np.unique(edges), inside, side="left")
    filled, codes[known] = np.unique(codes[known], return_inverse=True)
    names = []
    for band in range(len(filled)):
        own = values[codes == band]
        names.append((float(own.min()), float(own.max())))
    return Membership(tuple(names), codes)
