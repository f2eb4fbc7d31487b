"""Ensembles trained on a collection; images are scored by those held out."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import zlib
from pathlib import Path

import numpy as np

from .analysis.folds import folds_by_source
from .confusion.ensemble import Ensemble, Recipe
from .confusion.inputs import Features, Pixels
from .confusion.networks import (
    check_model,
    is_head,
    network_builder,
    network_name,
)
from .confusion.objectives import ERM
from .confusion_inputs import (
    EmbeddingReader,
    PixelReader,
    Scored,
    log_probabilities,
    read_inputs,
    read_rows,
)
from .encoders import get_encoder
from .encoders.factory import resolve_device
from .errors import IQAError
from .scoring.cache import runs_dir

logger = logging.getLogger(__name__)

IMAGE_SIZE = 64
FOLDS = 3
ENOUGH_EPOCHS = 20
_STEPS = 16
ENSEMBLE_FILE = "ensemble.json"
_RUN_FILE = "run.json"


class Recipes:
    """How networks are to be built, fed and trained; checked.

    Args:
        options: of :func:`fiftyone_iqa.confusion_score`
        n_train: images to train on

    Attributes:
        device: a torch device name
        precision: ``"bf16"`` on GPUs that have it, else ``"fp32"``
        recipe: :class:`fiftyone_iqa.confusion.ensemble.Recipe`
        reader: what turns an image into an input
        identity: all that changes a score, but for the data

    Raises:
        IQAError: if they are unusable
    """

    def __init__(self, options: dict, n_train: int):
        self.model = options["model"]
        check_model(self.model)
        self.seeds = range(options["seed"], options["seed"] + options["seeds"])
        self.device = resolve_device(options["device"])
        self.precision = _precision(self.device)
        self.recipe = Recipe(
            options["epochs"],
            options["batch_size"] or default_batch_size(n_train),
            options["learning_rate"],
        )
        self.num_workers = options["num_workers"]
        self.image_size, self.encoder = None, None
        if is_head(self.model):
            _refuse(options, "image_size", self.model)
            self.encoder = get_encoder(options["encoder"], self.device)
            self.reader = EmbeddingReader(self.encoder)
        else:
            _refuse(options, "encoder", network_name(self.model))
            self.image_size = options["image_size"] or IMAGE_SIZE
            self.reader = PixelReader(self.image_size)
        self.identity = {
            "model": network_name(self.model),
            "seeds": options["seeds"],
            "seed": options["seed"],
            **self.recipe.to_dict(),
            "preprocessing": self.reader.input_key,
            "precision": self.precision,
        }
        if self.encoder is not None:
            self.identity["encoder"] = self.encoder.id

    def check_network(self, n_classes: int) -> None:
        """Raises an IQAError where the network does not take the images."""
        if self.image_size is not None:
            self.builder(n_classes, (3, self.image_size, self.image_size))

    def builder(self, n_classes: int, shape):
        """Returns a function that builds the network."""
        return network_builder(self.model, n_classes, shape)

    def inputs(self, array):
        """Returns what the network is fed."""
        return Features(array) if self.encoder is not None else Pixels(array)

    def ensemble(self, inputs, rows, train, labels, **options) -> Ensemble:
        """Returns an untrained ensemble, ERM on rows unless told otherwise."""
        options.setdefault("objective", lambda: ERM(train))
        return Ensemble(
            self.builder(len(rows.classes), inputs.shape),
            options.pop("seeds", self.seeds),
            inputs,
            labels,
            self.recipe,
            device=self.device,
            precision=self.precision,
            **options,
        )


class TrainedEnsemble:
    """Where confusion comes from: ensembles trained here.

    Args:
        source: what is scored
        label_field: the labels
        options: of :func:`fiftyone_iqa.confusion_score`

    Attributes:
        identity: what its scores mean
        provenance: what is good to know
        n_classes: C
        device: where it is trained

    Raises:
        IQAError: if they are unusable
    """

    def __init__(self, source, label_field, options):
        check_model(options["model"])
        self._rows = read_rows(
            source, label_field, options["train_on"], options["classes"]
        )
        rows = self._rows
        self._recipes = Recipes(options, int(rows.train.sum()))
        self.n_classes = len(rows.classes)
        self.device = self._recipes.device
        self._keep = options["checkpoint_dir"] is not None
        self._store = options["store_predictions"]
        self._folds = _checked_folds(options)
        self._fold = _fold_of(rows, self._folds, options["seed"])
        self._labels = labels_as_numbers(rows)
        self._check_folds(np.ones(len(rows), bool))
        self._recipes.check_network(self.n_classes)
        self.identity = {
            "source": "ensemble",
            **self._recipes.identity,
            "label_field": label_field,
            "classes": _digest(rows.classes),
            "folds": self._folds,
            "trained_on": _digest(
                sorted(
                    (str(rows.ids[i]), rows.labels[i])
                    for i in np.flatnonzero(rows.train)
                )
            ),
        }
        self.provenance = {
            "n_classes": self.n_classes,
            "n_trained_on": int(rows.train.sum()),
            "held_out": self._folds > 0,
        }
        whole = _digest([self.identity, list(map(str, rows.ids)), rows.labels])
        self._directory = runs_dir() / whole
        if self._keep:
            self._directory = Path(options["checkpoint_dir"])
            _check_directory(self._directory, whole)
        self._run = whole
        if options["epochs"] < ENOUGH_EPOCHS:
            logger.warning(
                "Confusion over %d epochs is higher than over %d and more, "
                "and not to be compared with it (section 3.3)",
                options["epochs"],
                ENOUGH_EPOCHS,
            )

    def compute(self, progress) -> Scored:
        """Trains and scores.

        Args:
            progress: callable, ``(total, label)`` to a context manager that
                yields a function of a number of images and a text
        """
        rows, recipes = self._rows, self._recipes
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / _RUN_FILE).write_text(json.dumps(self._run))
        with progress(self._total(), "Training") as step:
            array, failures = read_inputs(
                rows,
                recipes.reader,
                self._directory,
                recipes.num_workers,
                step,
            )
            readable = np.ones(len(rows), bool)
            readable[list(failures)] = False
            self._check_folds(readable)
            inputs = recipes.inputs(array)
            scored = Scored(
                np.zeros(rows.n_scored),
                {i: r for i, r in failures.items() if i < rows.n_scored},
                classes=rows.classes,
            )
            if self._store:
                shape = rows.n_scored, self.n_classes
                scored.log_probabilities = np.zeros(shape, np.float32)
            wanted = readable & (np.arange(len(rows)) < rows.n_scored)
            for fold in range(max(self._folds, 1)):
                self._score_fold(fold, readable, wanted, inputs, scored, step)
        return scored

    def done(self) -> None:
        """Removes what only an interrupted run needs; call it at the end."""
        if self._keep:
            self._tidy()
        else:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _score_fold(self, fold, readable, wanted, inputs, scored, step):
        train = np.flatnonzero(readable & self._trains(fold))
        score = np.flatnonzero(wanted & (self._fold == fold))
        said = [None]
        ensemble = self._recipes.ensemble(
            inputs,
            self._rows,
            train,
            self._labels,
            directory=self._directory / f"fold-{fold}",
            keep_epochs=self._keep,
        )

        def on_epoch(epoch, losses):
            n_folds = max(self._folds, 1)
            said[0] = (
                f"[fold {fold + 1} of {n_folds}, epoch {epoch} of "
                f"{self._recipes.recipe.epochs}, loss {np.mean(losses):.3f}]"
            )
            logger.debug("%s", said[0])

        scored.scores[score] = ensemble.score(
            score, lambda n: step(n, said[0]), on_epoch
        )
        if self._store:
            for part, p in ensemble.probabilities(score):
                scored.log_probabilities[part] = log_probabilities(p)

    def _trains(self, fold):
        """Returns ``(n,)`` bools: the rows that a fold's ensemble sees."""
        if not self._folds:
            return self._rows.train
        return self._rows.train & (self._fold != fold)

    def _check_folds(self, readable):
        for fold in range(max(self._folds, 1)):
            seen = set(self._labels[self._trains(fold) & readable])
            lacks = set(range(self.n_classes)) - seen
            if lacks:
                name = self._rows.classes[min(lacks)]
                where = f" outside fold {fold + 1}" if self._folds else ""
                raise IQAError(
                    f"Class {name!r} has no readable image to train on"
                    f"{where}: leave it out with classes=[...]"
                    + (", or pass fewer folds=" if self._folds else "")
                )

    def _total(self):
        n_members, epochs = len(self._recipes.seeds), self._recipes.recipe
        total = 0
        for fold in range(max(self._folds, 1)):
            scored = (self._fold == fold)[: self._rows.n_scored]
            total += self._trains(fold).sum() + scored.sum()
        return len(self._rows) + int(n_members * epochs.epochs * total)

    def _tidy(self):
        """Leaves the weights of every epoch, and what it takes to use them."""
        encoder = self._recipes.encoder
        about = {
            "model": network_name(self._recipes.model),
            "classes": self._rows.classes,
            "image_size": self._recipes.image_size,
            "encoder": None if encoder is None else encoder.name,
            "encoder_id": None if encoder is None else encoder.id,
            "epochs": self._recipes.recipe.epochs,
            "precision": self._recipes.precision,
        }
        (self._directory / ENSEMBLE_FILE).write_text(
            json.dumps(about, indent=1), "utf-8"
        )
        for pattern in ("inputs.*", "fold-*/*.pt"):
            for path in self._directory.glob(pattern):
                path.unlink()


def default_batch_size(n: int) -> int:
    """Returns a power of two that leaves 16 steps an epoch: 8 … 128."""
    return 2 ** min(max((n // _STEPS).bit_length() - 1, 3), 7)


def labels_as_numbers(rows) -> np.ndarray:
    """Returns ``(n,)`` ints: the classes of rows, -1 for none of them."""
    numbers = {label: i for i, label in enumerate(rows.classes)}
    return np.array([numbers.get(x, -1) for x in rows.labels], np.int64)


def _fold_of(rows, folds, seed):
    """Returns ``(n,)`` folds; those of training rows depend on them alone."""
    if not folds:
        return np.zeros(len(rows), int)
    fold = np.array([zlib.crc32(g.encode()) % folds for g in rows.group])
    train = np.flatnonzero(rows.train)
    groups = [rows.group[i] for i in train]
    if len(set(groups)) < folds:
        raise IQAError(
            f"{len(set(groups))} labelled originals cannot be dealt into "
            f"{folds} folds; pass fewer folds=, or 0"
        )
    dealt = folds_by_source(groups, folds, seed % 2**32)
    known = dict(zip(groups, dealt))
    return np.array([known.get(g, f) for g, f in zip(rows.group, fold)], int)


def _checked_folds(options):
    folds = options["folds"]
    if options["train_on"] is not None:
        if folds:
            raise IQAError(
                "folds= hold out images of the samples that are trained on; "
                "with train_on= leave it out"
            )
        return 0
    if folds is None:
        return FOLDS
    if folds == 1:
        raise IQAError("folds must be 0, or at least 2, not 1")
    return folds


def _refuse(options, name, model):
    if options[name] is not None:
        raise IQAError(f"{name}= does not apply to model {model!r}")


def _precision(device):
    import torch

    if device.startswith("cuda") and torch.cuda.is_bf16_supported():
        return "bf16"
    return "fp32"


def _check_directory(directory, run):
    """Refuses a folder that another run, or somebody else, has filled."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise IQAError(f"checkpoint_dir {str(directory)!r} is no folder")
    path = directory / _RUN_FILE
    ours = path.is_file() and json.loads(path.read_text("utf-8")) == run
    if os.listdir(directory) and not ours:
        raise IQAError(
            f"checkpoint_dir {str(directory)!r} is not empty, and not of "
            "this run; pass another folder"
        )


def _digest(value):
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
