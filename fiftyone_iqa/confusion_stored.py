"""Confusion of probabilities that exist: arrays, and fields of logits."""

from __future__ import annotations

import hashlib
import os

import numpy as np

from .confusion.score import RunningConfusion, confusion_scores, mean_entropy
from .confusion_inputs import Scored, log_probabilities
from .errors import IQAError


class StoredProbabilities:
    """Where confusion comes from: arrays.

    Args:
        source: what is scored
        probabilities: ``(T, M, n, C)``, or an iterable of ``(M, n, C)``
        options: of :func:`fiftyone_iqa.confusion_score`

    Raises:
        IQAError: if they are no probabilities of these samples
    """

    device = "cpu"

    def __init__(self, source, probabilities, options):
        n = len(source.samples)
        epochs = _Last(_iterated(probabilities))
        scores = confusion_scores(epochs)
        last = np.asarray(epochs.last)
        if len(scores) != n:
            raise IQAError(
                f"There are probabilities of {len(scores):,} images and "
                f"{n:,} samples"
            )
        self.n_classes = last.shape[2]
        self._scored = Scored(scores)
        if options["store_predictions"]:
            self._scored.classes = checked_names(options, self.n_classes)
            self._scored.log_probabilities = log_probabilities(last)
        self.identity = {
            "source": "probabilities",
            "members": len(last),
            "n_classes": self.n_classes,
            "digest": hashlib.sha256(scores.tobytes()).hexdigest()[:12],
        }
        self.provenance = {"n_classes": self.n_classes}

    def compute(self, progress) -> Scored:
        """Returns the scores."""
        return self._scored

    def done(self) -> None:
        """Has nothing to remove."""


class _Last:
    """Iterates once, and keeps what came last."""

    def __init__(self, values):
        self._values, self.last = values, None

    def __iter__(self):
        for value in self._values:
            self.last = value
            yield value


class StoredLogits:
    """Where confusion comes from: predictions that keep their logits.

    Args:
        source: what is scored
        grid: names of fields: epochs of members; a flat list is one epoch
        options: of :func:`fiftyone_iqa.confusion_score`

    Raises:
        IQAError: if a field is missing or holds no logits
    """

    device = "cpu"

    def __init__(self, source, grid, options):
        self._source = source
        self._grid = as_grid(grid)
        sizes = {size for row in self._grid for size in map(self._size, row)}
        if len(sizes) != 1:
            raise IQAError(
                "The fields' logits are of different numbers of classes: "
                f"{', '.join(map(str, sorted(sizes)))}"
            )
        (self.n_classes,) = sizes
        self._store = options["store_predictions"]
        if self._store:
            self._classes = checked_names(options, self.n_classes)
        self.identity = {"source": "logits", "logits": self._grid}
        self.provenance = {"n_classes": self.n_classes}

    def compute(self, progress) -> Scored:
        """Reads the fields, an epoch at a time."""
        n = len(self._source.samples)
        failures, scores = {}, RunningConfusion(n)
        log_p = None
        with progress(n * sum(map(len, self._grid)), "Reading") as step:
            for row in self._grid:
                members = []
                for name in row:
                    members.append(self._read(name, failures))
                    step(n)
                scores.add(mean_entropy(members))
            if self._store:
                log_p = log_probabilities(members)
        return Scored(
            scores.scores(),
            failures,
            log_p,
            self._classes if log_p is not None else [],
        )

    def done(self) -> None:
        """Has nothing to remove."""

    def _path(self, name):
        return f"{self._source.view_root}{name}.logits"

    def _size(self, name):
        import fiftyone as fo

        field = self._source.samples.get_field(self._source.view_root + name)
        kind = getattr(field, "document_type", None)
        if kind is None or not issubclass(kind, fo.Classification):
            raise IQAError(
                f"Dataset {self._source.dataset.name!r} has no classification "
                f"field {name!r}"
            )
        path = self._path(name)
        some = self._source.samples.exists(path).limit(1)
        found = some.values(path)
        if not found or len(found[0]) < 2:
            raise IQAError(
                f"Field {name!r} holds no logits; run compute_predictions "
                "with store_logits=True"
            )
        return len(found[0])

    def _read(self, name, failures):
        """Returns ``(n, C)`` probabilities, uniform where logits lack."""
        from scipy.special import softmax

        found = self._source.samples.values(self._path(name))
        array = np.zeros((len(found), self.n_classes))
        for i, row in enumerate(found):
            if row is None or len(row) != self.n_classes:
                failures[i] = f"field {name!r} has no logits here"
            elif not np.isfinite(row).all():
                failures[i] = f"the logits of field {name!r} are not finite"
            else:
                array[i] = row
        return softmax(array, axis=1)


def as_grid(value) -> list[list]:
    """Returns epochs of members; a single one or a flat list is one epoch.

    Raises:
        IQAError: if it is empty
    """
    if isinstance(value, (str, os.PathLike)) or not hasattr(value, "__iter__"):
        value = [value]
    rows = list(value)
    if not any(isinstance(row, (list, tuple)) for row in rows):
        rows = [rows]
    rows = [
        list(row) if isinstance(row, (list, tuple)) else [row] for row in rows
    ]
    if not rows or not all(rows):
        raise IQAError("There must be one epoch at least, of one member")
    return rows


def checked_names(options, n: int) -> list[str]:
    """Returns the names of n classes.

    Raises:
        IQAError: if there are none, or not n
    """
    classes = options["classes"]
    if classes is None or isinstance(classes, str) or len(classes) != n:
        raise IQAError(
            f"store_predictions= needs classes=[...], the names of the {n} "
            "classes in the order of the probabilities"
        )
    return list(classes)


def _iterated(probabilities):
    if isinstance(probabilities, np.ndarray) and probabilities.ndim != 4:
        raise IQAError(
            "probabilities must be of shape (epochs, members, images, "
            f"classes), not {probabilities.shape}"
        )
    try:
        return iter(probabilities)
    except TypeError:
        raise IQAError(
            "probabilities must be an array or an iterable of arrays, not "
            f"{type(probabilities).__name__}"
        ) from None
