"""What an ensemble is trained on and scores: a collection as arrays."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .errors import IQAError
from .metrics.registry import Scorer
from .preprocessing import ResizeCrop
from .quality_columns import SOURCE_FIELD
from .scoring.decode import default_num_workers
from .scoring.pipeline import Item, Pipeline
from .scoring.source import open_source

_ARRAY, _DONE = "inputs.npy", "inputs.json"
_BATCH = 64
_KEY = "inputs"


@dataclass
class Scored:
    """Confusion of a collection.

    Attributes:
        scores: ``(n,)`` float64, nats; of failed images any
        failures: ``{row: reason}``
        log_probabilities: ``(n, C)`` float32 ln p of the last epoch, or None
        classes: C labels, where there are probabilities
    """

    scores: np.ndarray
    failures: dict[int, str] = field(default_factory=dict)
    log_probabilities: np.ndarray | None = None
    classes: list[str] = field(default_factory=list)


@dataclass
class Rows:
    """The images of a call: those to score first, then others to train on.

    Attributes:
        n_scored: how many are to be scored
        ids: of each row
        items: what to decode, in the order of rows
        group: ids of the originals; folds keep their rows together
        labels: class labels, None where there is none
        train: ``(n,)`` bools: rows to train on
    """

    n_scored: int
    ids: list
    items: list[Item]
    group: list
    labels: list
    train: np.ndarray
    classes: list[str] = field(default_factory=list)

    def __len__(self):
        return len(self.ids)


def read_rows(source, label_field, train_on, classes=None) -> Rows:
    """Reads which images there are, and their labels.

    Args:
        source: what is scored
        label_field: a classification field; None where nothing is trained
        train_on: a collection, or None to train on what has a label
        classes: the labels that count, or None for all there are

    Raises:
        IQAError: if there is no such field, or nothing to tell apart
    """
    # What is only scored may have no labels at all
    own_field = label_field
    if train_on is not None and not source.samples.has_field(label_field):
        own_field = None
    columns = _columns(source, own_field)
    n = len(columns[0])
    if label_field is None:
        return _rows(n, columns, np.zeros(n, bool), [])

    train = np.array([label is not None for label in columns[-1]])
    if train_on is not None:
        other = open_source(train_on)
        if type(other) is not type(source):
            raise IQAError(
                "train_on must hold what samples does: images or objects"
            )
        more = _columns(other, label_field)
        known = {id_: i for i, id_ in enumerate(columns[0])}
        train[:] = False
        fresh = []
        for i, id_ in enumerate(more[0]):
            if id_ not in known:
                fresh.append(i)
            elif more[-1][i] is not None:
                train[known[id_]] = True
        columns = [
            [*old, *(new[i] for i in fresh)] for old, new in zip(columns, more)
        ]
        extra = [columns[-1][i] is not None for i in range(n, n + len(fresh))]
        train = np.concatenate([train, np.array(extra, bool)])

    own = sorted({columns[-1][i] for i in np.flatnonzero(train)})
    if classes is not None:
        own = list(classes)
        train &= np.array([label in set(own) for label in columns[-1]])
    if len(own) < 2 or train.sum() < 2:
        raise IQAError(
            f"An ensemble needs labelled images of two classes at least; "
            f"field {label_field!r} has "
            f"{f'only {own[0]!r}' if own else 'none'}"
        )
    return _rows(n, columns, train, own)


def _rows(n_scored, columns, train, classes):
    ids, paths, boxes, group, labels = columns
    items = [
        Item(i, path, box, (_KEY,))
        for i, (path, box) in enumerate(zip(paths, boxes))
    ]
    return Rows(n_scored, ids, items, group, labels, train, classes)


def _columns(source, label_field):
    """Returns ids, paths, boxes, groups and labels."""
    samples = source.samples
    ids, paths, boxes, *_ = source.read([])
    group = ids
    if samples.has_field(SOURCE_FIELD):
        found = samples.values(SOURCE_FIELD)
        group = [i if s is None else s for i, s in zip(ids, found)]
    elif samples._is_patches:
        group = samples.values("sample_id")
    labels = [None] * len(ids)
    if label_field is not None:
        _check_labels(samples, label_field)
        labels = samples.values(f"{label_field}.label")
    return [ids, paths, boxes, [str(g) for g in group], labels]


def _check_labels(samples, label_field):
    import fiftyone as fo

    kinds = (fo.Classification, fo.Detection)
    schema = samples.get_field_schema(
        ftype=fo.EmbeddedDocumentField, embedded_doc_type=kinds
    )
    if label_field not in schema:
        raise IQAError(
            f"Collection {samples.name or samples.dataset_name!r} has no "
            f"field {label_field!r} with one label per image; it has "
            f"{', '.join(schema) or 'none'}"
        )


def log_probabilities(members) -> np.ndarray:
    """Returns ``(n, C)`` float32 ln of the members' mean probabilities.

    Args:
        members: ``(M, n, C)`` probabilities
    """
    mean = np.asarray(members).mean(axis=0, dtype=np.float64)
    return np.log(np.maximum(mean, np.finfo(np.float32).tiny)).astype("f4")


class PixelReader(Scorer):
    """Resized pixels.

    Args:
        image_size: side of the central square, in pixels
    """

    def __init__(self, image_size: int):
        self.prepare = ResizeCrop(image_size, image_size, "bilinear")
        self.input_key = str(self.prepare)

    def features(self, inputs):
        """Returns the pixels themselves."""
        return inputs

    def score(self, features):
        """Scores nothing."""
        return {}


class PreparedReader(PixelReader):
    """What a task model's own preprocessing makes of an image.

    Args:
        preprocessing: a task model's
    """

    def __init__(self, preprocessing):
        self.prepare = preprocessing
        self.input_key = str(preprocessing)


class EmbeddingReader(PixelReader):
    """Embeddings of an encoder, from the cache where they are known.

    Args:
        encoder: an :class:`fiftyone_iqa.encoders.Encoder`
    """

    def __init__(self, encoder):
        self._encoder = encoder
        self.prepare = encoder.preprocessing
        self.input_key = f"{encoder.name}: {encoder.preprocessing}"
        self.cache_space = (
            f"{encoder.id} {encoder.precision} {encoder.preprocessing}"
        )
        self.device = str(encoder.device)

    def features(self, inputs):
        """Returns ``(n, d)`` unit rows."""
        return self._encoder.encode_images(np.stack(inputs))


class _Collector(Pipeline):
    """Hands the features out instead of scores."""

    @staticmethod
    def _finish(key, scorer, rows, features, outcomes):
        for row in rows:
            outcomes[row].values[key] = features[row]


def read_inputs(rows: Rows, reader: Scorer, directory, num_workers, step):
    """Decodes every image once, into one array on disk.

    What an earlier run left complete in the directory is taken as it is.

    Args:
        rows: which images
        reader: what is made of one
        directory: where ``inputs.npy`` is written
        num_workers: images decoded at once, or None
        step: called with the number of images of each batch

    Returns:
        ``(n, …)`` memory-mapped array, and ``{row: reason}`` of images that
        could not be read, whose entries are 0

    Raises:
        IQAError: if no image could be read, or they come in several shapes
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    path, done = directory / _ARRAY, directory / _DONE
    if done.is_file():
        failures = json.loads(done.read_text("utf-8"))
        step(len(rows))
        return (
            np.load(path, mmap_mode="r"),
            {int(row): reason for row, reason in failures.items()},
        )

    if num_workers is None:
        num_workers = default_num_workers()
    pipeline = _Collector(
        {_KEY: reader}, _BATCH, num_workers, "thread", use_cache=True
    )
    array, failures = None, {}
    try:
        for outcomes in pipeline.run(rows.items):
            for outcome in outcomes:
                index = outcome.item.index
                if _KEY in outcome.failures:
                    failures[index] = outcome.failures[_KEY]
                    continue
                value = outcome.values[_KEY]
                if array is None:
                    array = np.lib.format.open_memmap(
                        path, "w+", value.dtype, (len(rows), *value.shape)
                    )
                if value.shape != array.shape[1:]:
                    raise IQAError(
                        f"Images come in shapes {array.shape[1:]} and "
                        f"{value.shape}; the network needs one"
                    )
                array[index] = value
            step(len(outcomes))
    finally:
        pipeline.close()
    if array is None:
        first = next(iter(failures.values()))
        raise IQAError(f"None of the images could be read; the first: {first}")
    array.flush()
    temporary = done.with_suffix(".part")
    temporary.write_text(json.dumps(failures), "utf-8")
    os.replace(temporary, done)
    return np.load(path, mmap_mode="r"), failures
