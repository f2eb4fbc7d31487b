"""What an export's images are, and why they were exported."""

from __future__ import annotations

import csv
import json
import math
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from .export_folder import CSV_NAME, JSON_NAME, list_files
from .quality_columns import object_root
from .scoring.source import FAILURE_FIELD, INFO_KEY
from .views import metric_field

_FIRST = ("id", "filepath", "exported", "tags", "reasons", FAILURE_FIELD)


class Manifest:
    """The rows of a manifest, read before anything is written.

    Args:
        view: the collection
        fields: names of the fields to describe, or None for all
        metric: a quality field, or None
        reason: a sentence, or None

    Raises:
        IQAError: if the metric is no quality field
    """

    def __init__(self, view, fields, metric, reason):
        self._dataset = view._root_dataset
        self._metric = None if metric is None else metric_field(view, metric)
        self._reason = reason
        paths = _paths(view, fields)
        if self._metric is not None and self._metric.path not in paths:
            paths.append(self._metric.path)
        has_failures = view.get_field(FAILURE_FIELD) is not None
        read = ["id", "filepath", "tags", *paths]
        columns = [*view.values([*read, *[FAILURE_FIELD] * has_failures])]
        failures = columns.pop() if has_failures else [None] * len(columns[0])
        ids, filepaths, tags, *values = columns
        self._columns = dict(zip(paths, values))
        reasons = self._reasons(len(ids), failures)
        self._rows = [
            {
                "id": id_,
                "filepath": filepath,
                "exported": None,
                "tags": list(own or ()),
                "reasons": why,
                FAILURE_FIELD: failure or None,
                **{p: _plain(c[i]) for p, c in self._columns.items()},
            }
            for i, (id_, filepath, own, why, failure) in enumerate(
                zip(ids, filepaths, tags, reasons, failures)
            )
        ]

    def write(self, folder: Path, dataset_type, exported) -> None:
        """Writes both manifests.

        Args:
            folder: the export's
            dataset_type: its name
            exported: where each image went, relative to the folder, or None
        """
        for row, path in zip(self._rows, exported):
            row["exported"] = path
        metric = self._metric
        found = {
            "created": datetime.now(timezone.utc).isoformat(
                timespec="seconds"
            ),
            "dataset": self._dataset.name,
            "dataset_type": dataset_type,
            "n": len(self._rows),
            "reason": self._reason,
            "metric": metric and {
                "field": metric.path,
                "direction": metric.direction,
                "identity": metric.identity,
            },
            "samples": self._rows,
            "files": list_files(folder),
        }  # fmt: skip
        text = json.dumps(found, indent=1, ensure_ascii=False, default=str)
        (folder / JSON_NAME).write_text(text, "utf-8")
        with open(folder / CSV_NAME, "w", encoding="utf-8", newline="") as f:
            writer = csv.writer(f)
            names = [*_FIRST, *self._columns]
            writer.writerow(names)
            writer.writerows(
                [_cell(row[n]) for n in names] for row in self._rows
            )

    def _reasons(self, n, failures):
        reasons = [[self._reason] if self._reason else [] for _ in range(n)]
        if self._metric is not None:
            for own, said in zip(reasons, self._ranks()):
                own += said
        for own, failure in zip(reasons, failures):
            own += [
                f"{name} failed: {why}"
                for name, why in (failure or {}).items()
            ]
        return reasons

    def _ranks(self):
        """Yields what is to be said of each sample's (poorest) quality."""
        path = self._metric.path
        everywhere = _numbers(self._dataset.values(path, unwind=True))
        higher = self._metric.higher_is_better
        sign = -1 if higher is False else 1
        ordered = np.sort(sign * everywhere)
        for value in self._columns[path]:
            own = sign * _numbers(
                value if isinstance(value, list) else [value]
            )
            if not len(own):
                yield [f"{path} is missing"]
                continue
            poorest = own.min()
            said = f"{path} {sign * poorest:.6g}"
            if higher is not None:
                rank = np.searchsorted(ordered, poorest, side="right")
                said += (
                    f", among the poorest {100 * rank / len(ordered):.3g} % "
                    f"of the dataset's {len(ordered):,} scores"
                )
            yield [said]


def _paths(view, fields):
    """Returns the paths of the values that fit a cell."""
    import fiftyone as fo

    plain = (
        fo.StringField,
        fo.BooleanField,
        fo.IntField,
        fo.FloatField,
    )
    skipped = {"id", "filepath", "tags", FAILURE_FIELD}
    found = []
    for path, field in view.get_field_schema(flat=True).items():
        top = path.split(".")[0]
        if top in skipped or top.startswith("_"):
            continue
        if fields is not None and not any(
            path == f or path.startswith(f"{f}.") for f in fields
        ):
            continue
        if object_root(view, path) is not None:
            # Of objects, what this package wrote
            if INFO_KEY in (field.info or {}):
                found.append(path)
        elif "." not in path:
            if isinstance(field, plain):
                found.append(path)
        elif _is_label_of_classification(view, path):
            found.append(path)
    return found


def _is_label_of_classification(view, path):
    import fiftyone as fo

    parent, _, leaf = path.rpartition(".")
    kind = getattr(view.get_field(parent), "document_type", None)
    return (
        leaf in ("label", "confidence")
        and kind is not None
        and issubclass(kind, fo.Classification)
    )


def _numbers(values):
    numbers = np.array(values, dtype=float)
    return numbers[np.isfinite(numbers)]


def _plain(value):
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _cell(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return value
