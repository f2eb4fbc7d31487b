"""Confusion of saved models, run over the images an epoch at a time."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np

from .confusion.inputs import Features, Pixels
from .confusion.networks import network_builder, network_name
from .confusion.score import RunningConfusion, mean_entropy
from .confusion_inputs import (
    EmbeddingReader,
    PixelReader,
    PreparedReader,
    Scored,
    log_probabilities,
    read_inputs,
    read_rows,
)
from .confusion_stored import as_grid
from .confusion_training import ENSEMBLE_FILE
from .encoders import get_encoder
from .encoders.base import autocast
from .encoders.factory import resolve_device
from .errors import IQAError
from .preprocessing import ResizeCrop

_BATCH = 256
_BLOCK = 2**20  # bytes


class StoredCheckpoints:
    """Where confusion comes from: saved models, run over the images.

    Args:
        source: what is scored
        checkpoints: a folder of ours, or epochs of members
        options: of :func:`fiftyone_iqa.confusion_score`

    Raises:
        IQAError: if a file is missing or the models do not go together
    """

    def __init__(self, source, checkpoints, options):
        self._rows = read_rows(source, None, None)
        self._num_workers = options["num_workers"]
        self.device = resolve_device(options["device"])
        if isinstance(checkpoints, (str, os.PathLike)):
            self._models = _OwnFolder(checkpoints, options, self.device)
        else:
            self._models = _TaskModels(checkpoints, options, self.device)
        self._classes = self._models.classes
        self.n_classes = len(self._classes)
        self._store = options["store_predictions"]
        self.identity = {
            "source": "checkpoints",
            "checkpoints": self._models.digest,
            "epochs": len(self._models.grid),
            "seeds": len(self._models.grid[0]),
            "preprocessing": self._models.reader.input_key,
        }
        self.provenance = {
            "n_classes": self.n_classes,
            "models": self._models.name,
        }

    def compute(self, progress) -> Scored:
        """Runs one epoch's models at a time over all images."""
        rows, grid = self._rows, self._models.grid
        total = len(rows) * (1 + sum(map(len, grid)))
        with (
            progress(total, "Scoring") as step,
            tempfile.TemporaryDirectory(prefix="iqa-confusion-") as folder,
        ):
            array, failures = read_inputs(
                rows, self._models.reader, folder, self._num_workers, step
            )
            running = RunningConfusion(len(rows))
            log_p = None
            for epoch, entries in enumerate(grid, 1):
                keep = self._store and epoch == len(grid)
                if keep:
                    shape = len(rows), self.n_classes
                    log_p = np.zeros(shape, np.float32)
                forward = [self._models.load(entry) for entry in entries]
                entropies = np.zeros(len(rows))
                for start in range(0, len(rows), _BATCH):
                    part = np.arange(start, min(start + _BATCH, len(rows)))
                    p = np.stack([one(array, part) for one in forward])
                    entropies[part] = mean_entropy(p)
                    if keep:
                        log_p[part] = log_probabilities(p)
                    step(len(part) * len(forward))
                running.add(entropies)
        return Scored(running.scores(), failures, log_p, self._classes)

    def done(self) -> None:
        """Has nothing to remove."""


class _OwnFolder:
    """The epochs that a call with ``checkpoint_dir=`` left."""

    def __init__(self, folder, options, device):
        import torch

        folder = Path(folder)
        about = folder / ENSEMBLE_FILE
        if not about.is_file():
            raise IQAError(
                f"{str(folder)!r} holds no ensemble: confusion_score(…, "
                "checkpoint_dir=…) leaves one, when it has ended"
            )
        try:
            about = json.loads(about.read_text("utf-8"))
            self.name, self.classes = about["model"], about["classes"]
            size, encoder = about["image_size"], about["encoder"]
            n_epochs, self._precision = about["epochs"], about["precision"]
        except (ValueError, KeyError, TypeError):
            raise IQAError(
                f"{str(folder / ENSEMBLE_FILE)!r} does not describe an "
                "ensemble"
            ) from None
        self._model, self._device = self.name, torch.device(device)
        if network_name(options["model"]) == self.name:
            self._model = options["model"]
        self._encoder = encoder is not None
        if self._encoder:
            encoder = get_encoder(encoder, device)
            if encoder.id != about["encoder_id"]:
                raise IQAError(
                    f"The ensemble was trained on embeddings of "
                    f"{about['encoder_id']}, and {encoder.name!r} is now "
                    f"{encoder.id}"
                )
            self.reader = EmbeddingReader(encoder)
        else:
            self.reader = PixelReader(size)
            network_builder(self._model, len(self.classes), (3, size, size))
        self.grid = [
            sorted(folder.glob(f"fold-*/epoch-{e:03d}/seed-*.safetensors"))
            for e in range(1, n_epochs + 1)
        ]
        if not self.grid or len({len(row) for row in self.grid}) != 1:
            raise IQAError(f"Some weights in {str(folder)!r} are missing")
        self.digest = _digest_of_files(p for row in self.grid for p in row)

    def load(self, path):
        """Returns a function of the inputs and rows: ``(b, C)`` p."""
        import torch
        from safetensors.torch import load_file

        from .models.checkpoints import load_weights

        def forward(array, rows):
            inputs = Features(array) if self._encoder else Pixels(array)
            if forward.module is None:
                build = network_builder(
                    self._model, len(self.classes), inputs.shape
                )
                forward.module = build().to(self._device).eval()
                state = OrderedDict(load_file(path))
                load_weights(forward.module, state, str(path))
            batch = inputs.batch(rows, self._device)
            with (
                torch.inference_mode(),
                autocast(self._device, self._precision),
            ):
                logits = forward.module(batch).float()
            return logits.softmax(dim=1).cpu().numpy()

        forward.module = None
        return forward


class _TaskModels:
    """Epochs of members, each what ``get_task_model`` takes."""

    def __init__(self, grid, options, device):
        self._options, self._device = options, device
        self.grid = as_grid(grid)
        self.grid = [[self._named(e) for e in row] for row in self.grid]
        if len({len(row) for row in self.grid}) != 1:
            raise IQAError("Every epoch must have as many members")
        first = self._model(self.grid[0][0])
        self.classes, self.name = list(first.classes), first.name
        self.reader = PreparedReader(first.preprocessing)
        self.digest = hashlib.sha256(
            "\n".join(self._id(e) for row in self.grid for e in row).encode()
        ).hexdigest()[:12]

    def load(self, entry):
        """See :meth:`_OwnFolder.load`."""
        from scipy.special import softmax

        model = self._model(entry)
        if list(model.classes) != self.classes:
            raise IQAError(f"{model.name!r} has other classes than the first")
        if str(model.preprocessing) != self.reader.input_key:
            raise IQAError(
                f"{model.name!r} prepares images otherwise than the first; "
                "pass image_size= to prepare all alike"
            )
        return lambda array, rows: softmax(
            model.logits(np.ascontiguousarray(array[rows])), axis=1
        )

    def _named(self, entry):
        if isinstance(entry, os.PathLike):
            entry = os.fspath(entry)
        if not isinstance(entry, str) or "//" in entry:
            return entry
        if os.path.isfile(entry):
            model = self._options["model"]
            if not isinstance(model, str):
                raise IQAError(
                    "Weights alone need model=, the name of their network; "
                    "of a module of your own pass what get_task_model() "
                    "returns"
                )
            return f"{model}//{os.path.abspath(entry)}"
        return entry

    def _model(self, entry):
        from .models import get_task_model

        size = self._options["image_size"]
        transform = ResizeCrop(size, size, "bilinear") if size else None
        return get_task_model(
            entry,
            self._device,
            classes=self._options["classes"],
            transform=transform,
        )

    @staticmethod
    def _id(entry):
        from .models import TaskModel

        if isinstance(entry, TaskModel):
            return entry.id
        if isinstance(entry, str) and "//" in entry:
            path = entry.partition("//")[2]
            if not os.path.isfile(path):
                raise IQAError(f"There is no checkpoint {path!r}")
            return _digest_of_files([path])
        return str(entry)


def _digest_of_files(paths):
    sha = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                sha.update(block)
    return sha.hexdigest()[:12]
