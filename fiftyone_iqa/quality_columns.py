"""Quality and correctness of a collection as columns: the analysis's edge."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .errors import IQAError
from .faults import is_empty
from .metrics.registry import HIGHER, LOWER, PREDICTION, get_metric
from .reading import is_list, name_fields, read_values
from .scoring.source import INFO_KEY

SOURCE_FIELD = "source_id"
CONDITION_FIELDS = ("corruption", "severity")


@dataclass(frozen=True)
class MetricField:
    """A field that holds a quality metric, with what is known of it.

    Attributes:
        path: the field
        direction: ``"higher"``, ``"lower"`` or ``"none"``
        guidance: ``"none"``, ``"weak"`` or ``"strong"``, or None for a field
            somebody else computed
        metric: name of the metric, or ``"external"``
        identity: the frozen configuration, or None
    """

    path: str
    direction: str
    guidance: str | None
    metric: str
    identity: dict | None

    @property
    def higher_is_better(self) -> bool | None:
        """The direction as a bool, None where there is none."""
        return {HIGHER: True, LOWER: False}.get(self.direction)


def metric_fields(samples, metrics: Sequence[str] | str) -> list[MetricField]:
    """Finds the fields of metrics.

    Args:
        samples: a dataset or view
        metrics: field paths (``"zsclip_ql"``,
            ``"ground_truth.detections.tv"``) or names of metrics
            (``"zsclip"``), which stand for all their fields

    Raises:
        IQAError: if a field is missing, is no quality metric, or fields of
            samples and of objects are mixed
    """
    check_collection(samples)
    if isinstance(metrics, str):
        metrics = [metrics]
    fields = []
    for name in metrics:
        fields += _fields_of(samples, name)
    fields = list({field.path: field for field in fields}.values())
    if not fields:
        raise IQAError(
            "metrics is empty; name quality fields, such as 'zsclip_ql'"
        )
    roots = {object_root(samples, field.path) for field in fields}
    if len(roots) > 1:
        raise IQAError(
            "metrics of images and of objects cannot be analysed together: "
            f"{', '.join(field.path for field in fields)}"
        )
    return fields


def check_is_collection(samples) -> None:
    """Raises IQAError unless it is a dataset or view."""
    import fiftyone.core.collections as foc

    if not isinstance(samples, foc.SampleCollection):
        raise IQAError(
            "samples must be a FiftyOne dataset or view, not "
            f"{type(samples).__name__}"
        )


def check_collection(samples) -> None:
    """Raises IQAError unless it is a dataset or view with samples."""
    check_is_collection(samples)
    if is_empty(samples):
        raise IQAError("The collection is empty: there is nothing to analyse")


def label_path(samples, ground_truth: str | None) -> str | None:
    """Returns the path of the labels of a field of true labels.

    Raises:
        IQAError: if there is no such field
    """
    import fiftyone as fo

    if ground_truth is None:
        return None
    field = samples.get_field(ground_truth)
    if field is None:
        raise IQAError(
            f"Dataset {samples._root_dataset.name!r} has no field "
            f"{ground_truth!r}"
        )
    if isinstance(field, fo.EmbeddedDocumentField):
        return f"{ground_truth}.label"
    return ground_truth


def _fields_of(samples, name):
    if not isinstance(name, str):
        raise IQAError(f"A metric is the name of a field, not {name!r}")
    if samples.get_field(name) is not None:
        return [_metric_field(samples, name)]

    try:
        spec = get_metric(name).spec
    except IQAError:
        known = ", ".join(quality_field_paths(samples)) or "none"
        raise IQAError(
            f"Dataset {samples._root_dataset.name!r} has no field {name!r}; "
            f"its quality fields are {known}"
        ) from None
    scores = [o.suffix for o in spec.outputs if o.kind != PREDICTION]
    names = spec.field_names()
    found = [
        _metric_field(samples, names[suffix])
        for suffix in scores
        if samples.get_field(names[suffix]) is not None
    ]
    if not found:
        raise IQAError(
            f"Metric {name!r} has not been computed on dataset "
            f"{samples._root_dataset.name!r}; run "
            f"compute_quality(samples, metrics={name!r}) first"
        )
    return found


def _metric_field(samples, path):
    import fiftyone as fo

    field = samples.get_field(path)
    info = (field.info or {}).get(INFO_KEY) or {}
    if not isinstance(field, (fo.FloatField, fo.IntField)):
        raise IQAError(
            f"Field {path!r} is a {type(field).__name__}; a quality metric "
            "is a float or integer field"
        )
    if "direction" not in info:
        raise IQAError(
            f"Field {path!r} has no direction: declare it with "
            f"use_quality_field(samples, {path!r}, higher_is_better=…)"
        )
    return MetricField(
        path,
        info["direction"],
        info.get("guidance"),
        info["metric"],
        # The database's dicts are bound to their dataset; this one is plain
        json.loads(json.dumps(info.get("identity"))),
    )


def is_quality_field(field) -> bool:
    """Whether a field holds numbers whose direction is declared.

    A task model's predictions carry a direction too (none), and no numbers.
    """
    import fiftyone as fo

    info = (field.info or {}).get(INFO_KEY) or {}
    return isinstance(field, (fo.FloatField, fo.IntField)) and (
        "direction" in info
    )


def quality_field_paths(samples) -> list[str]:
    """Returns the paths of a dataset's quality fields, objects' too."""
    schema = samples._root_dataset.get_field_schema(flat=True)
    return [path for path, field in schema.items() if is_quality_field(field)]


def object_root(samples, path):
    """Returns the list of objects a path lies in, or None for a sample's."""
    parts = path.split(".")
    for i in range(1, len(parts)):
        parent = ".".join(parts[:i])
        if is_list(samples.get_field(parent)):
            return parent
    return None


def read_scores(samples, path: str) -> np.ndarray:
    """Reads the finite values of one quality field, of samples or objects."""
    (values,) = read_values(samples, [path])
    if object_root(samples, path) is not None:
        values = _flat(values)
    scores = np.array(values, dtype=float)
    return scores[np.isfinite(scores)]


def _flat(rows):
    return [value for row in rows for value in row or ()]


class QualityColumns:
    """Reads columns of equal length: a row per image, or per object.

    Columns of samples are repeated for their objects where the metrics are
    objects'.

    Args:
        samples: a dataset or view
        fields: from :func:`metric_fields`
        source (None): field that names the original image of each sample;
            by default ``source_id`` where the dataset has it, and a sample
            without one is its own source
        also (()): paths of fields whose columns will be asked for: they are
            read in the same pass

    Attributes:
        n: rows
        quality: ``(n, m)`` float64, NaN where missing
        source: ``(n,)`` ids of the original images

    Raises:
        IQAError: if ``source`` or a field of ``also`` is missing
    """

    def __init__(
        self,
        samples,
        fields: Sequence[MetricField],
        source=None,
        also: Sequence[str] = (),
    ):
        self._samples = samples
        self._root = object_root(samples, fields[0].path)
        if source is None and samples.get_field(SOURCE_FIELD) is not None:
            source = SOURCE_FIELD
        self.source_field = source

        metrics = [field.path for field in fields]
        named = "id" if source is None else source
        for path in (named, *also):
            self._check(path)
        paths = list(dict.fromkeys([*metrics, named, *also]))
        values = dict(zip(paths, read_values(samples, paths)))
        self._values = {path: values[path] for path in also}

        self._counts = None
        columns = [values[path] for path in metrics]
        if self._root is not None:
            self._counts = np.array([len(row or ()) for row in columns[0]])
            columns = [_flat(column) for column in columns]
        self.quality = np.array(columns, dtype=float).T
        self.n = len(self.quality)

        ids = values[named]
        if None in ids:
            (own,) = read_values(samples, ["id"])
            ids = [i if s is None else s for i, s in zip(own, ids)]
        self.source = np.asarray(self.spread(ids), dtype=object)

    def column(self, path: str) -> list:
        """Returns ``n`` values of any field, None where missing.

        Raises:
            IQAError: if there is no such field, or it belongs to other
                objects than the metrics
        """
        self._check(path)
        root = object_root(self._samples, path)
        if root is not None and root != self._root:
            raise IQAError(
                f"Field {path!r} belongs to objects, and the metrics to "
                f"{'images' if self._root is None else self._root}"
            )
        values = self._values.get(path)
        if values is None:
            (values,) = read_values(self._samples, [path])
        return self.aligned(path, values)

    def aligned(self, path: str, values: list) -> list:
        """Returns ``n`` values of what :func:`read_values` returned."""
        if object_root(self._samples, path) is None:
            return self.spread(values)
        return _flat(values)

    def correct(self, path: str) -> np.ndarray:
        """Returns ``(n,)`` 1 right, 0 wrong, NaN where unknown.

        Raises:
            IQAError: if it is no boolean field
        """
        import fiftyone as fo

        self._check(path)
        if not isinstance(self._samples.get_field(path), fo.BooleanField):
            raise IQAError(
                f"Field {path!r} is no boolean field; compute_correctness() "
                "writes one"
            )
        return np.array(self.column(path), dtype=float)

    def groups(self, paths: Sequence[str]) -> list:
        """Returns ``n`` tuples of the fields' values, None where any is.

        Raises:
            IQAError: if a field is missing or its values are no names
        """
        columns = [self.names(path) for path in paths]
        return [
            None if any(v is None for v in row) else row
            for row in zip(*columns)
        ]

    def names(self, by: Sequence[str] | str) -> list:
        """Returns ``n`` names of slices: one field's values, or tuples.

        Raises:
            IQAError: if a field is missing or its values are no names
        """
        if not isinstance(by, str):
            return self.groups(list(by))
        self._check(by)
        field = self._samples.get_field(by)
        if not isinstance(field, name_fields()):
            raise IQAError(
                f"Field {by!r} is a {type(field).__name__}; groups and slices "
                "are the values of a text, number, boolean or date field"
            )
        return self.column(by)

    def tags(self) -> dict:
        """Returns ``{tag: (n,) bool}`` of the samples' tags."""
        rows = [set(tags) for tags in read_values(self._samples, ["tags"])[0]]
        names = sorted(set().union(*rows))
        rows = self.spread(rows)
        return {tag: np.array([tag in row for row in rows]) for tag in names}

    def spread(self, values) -> list:
        """Repeats the samples' values for their objects."""
        if self._counts is None:
            return list(values)
        return [v for v, n in zip(values, self._counts) for _ in range(n)]

    def _check(self, path):
        if not isinstance(path, str) or self._samples.get_field(path) is None:
            raise IQAError(
                f"Dataset {self._samples._root_dataset.name!r} has no field "
                f"{path!r}"
            )
