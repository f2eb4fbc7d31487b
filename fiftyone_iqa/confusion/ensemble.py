"""Training an ensemble epoch by epoch, so that it can be scored at each.

All members are trained for an epoch, then all images are scored by all of
them. Every member's epoch and every scored epoch is a checkpoint: a run that
was killed goes on at the last of them and ends at the same scores.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..encoders.base import autocast
from ..errors import IQAError
from .objectives import ERM
from .score import RunningConfusion, mean_entropy

_MAX_NORM = 1.0
_SCORES = "scores.pt"


@dataclass(frozen=True)
class Recipe:
    """How every member is trained; part of what a score means.

    AdamW, its rate rising over the first epoch and then falling to 0 along a
    cosine; gradients are clipped to norm 1.

    Attributes:
        epochs: of training, and of scoring; the paper finds 20 to suffice
            (section 3.3)
        batch_size: images per step
        learning_rate: the highest
        weight_decay: AdamW's
    """

    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05

    def to_dict(self) -> dict:
        """Returns JSON-serialisable values."""
        return asdict(self)


class Member:
    """One network of an ensemble and where its training stands.

    Args:
        build: returns the network at random weights
        seed: of its weights, and of the order and changes of its images
        recipe: how it is trained
        device: a torch device name
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``
        objective: what it minimises, over which rows

    Attributes:
        epoch: epochs trained so far
        loss: mean loss of the last one, or None
        module: the ``torch.nn.Module``
    """

    def __init__(self, build, seed, recipe, device, precision, objective):
        import torch

        self.seed = seed
        self.recipe = recipe
        self.objective = objective
        self.device = torch.device(device)
        self.epoch, self.loss = 0, None
        self._precision = precision
        with _seeded(seed, -1):
            self.module = build().to(self.device)
        self._optimizer = torch.optim.AdamW(
            self.module.parameters(),
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
        )

    def train_epoch(self, inputs, labels, step: Callable) -> None:
        """Trains for one epoch.

        Args:
            inputs: :class:`fiftyone_iqa.confusion.inputs.Pixels` or
                ``Features``
            labels: ``(n,)`` ints from 0 of all rows
            step: called with the number of images of each batch

        Raises:
            IQAError: if the loss is not finite
        """
        import torch
        from torch.nn import functional as F

        self.module.train()
        total = seen = 0.0
        with _seeded(self.seed, self.epoch) as generator:
            order = self.objective.order(generator)
            # Of nearly equal sizes: a last batch of one has no variance
            n_batches = math.ceil(len(order) / self.recipe.batch_size)
            for i, rows in enumerate(np.array_split(order, n_batches)):
                self._set_rate(self.epoch + (i + 1) / n_batches)
                batch = inputs.batch(rows, self.device, generator)
                truth = torch.as_tensor(labels[rows], device=self.device)
                with autocast(self.device, self._precision):
                    logits = self.module(batch)
                losses = F.cross_entropy(
                    logits.float(), truth, reduction="none"
                )
                loss = self.objective.loss(losses, rows)
                self._optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(
                    self.module.parameters(), _MAX_NORM
                )
                self._optimizer.step()
                total += float(losses.detach().sum())
                seen += len(rows)
                step(len(rows))
        self.loss = total / seen
        self.epoch += 1
        if not math.isfinite(self.loss):
            raise IQAError(
                f"Training diverged: the loss of seed {self.seed} is "
                f"{self.loss} after epoch {self.epoch}; pass a smaller "
                "learning_rate="
            )

    def probabilities(self, batch):
        """Returns ``(b, C)`` float32 softmax outputs, on the device."""
        import torch

        self.module.eval()
        with torch.inference_mode(), autocast(self.device, self._precision):
            return self.module(batch).float().softmax(dim=1)

    def state_dict(self) -> dict:
        """Returns what a checkpoint has to keep."""
        return {
            "epoch": self.epoch,
            "loss": self.loss,
            "module": self.module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "objective": self.objective.state_dict(),
        }

    def load_state_dict(self, state) -> None:
        """Takes up what a checkpoint kept."""
        self.epoch, self.loss = state["epoch"], state["loss"]
        self.module.load_state_dict(state["module"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.objective.load_state_dict(state["objective"])

    def _set_rate(self, position):
        """Sets the learning rate; ``position`` is in epochs."""
        share = position / self.recipe.epochs
        rate = 0.5 * (1 + math.cos(math.pi * min(share, 1)))
        rate *= self.recipe.learning_rate * min(position, 1)
        for group in self._optimizer.param_groups:
            group["lr"] = rate


class Ensemble:
    """Members in lockstep, with their checkpoints.

    Args:
        build: returns a network at random weights
        seeds: a member each
        inputs: see :meth:`Member.train_epoch`
        labels: ``(n,)`` ints from 0; those of rows that are not trained on
            do not matter
        recipe: how they are trained
        objective: function that returns a new objective
        device ("cpu"): a torch device name
        precision ("fp32"): of the forward passes
        directory (None): where checkpoints are kept; None keeps none
        keep_epochs (False): whether the weights of every epoch stay in
            ``epoch-001/seed-0.safetensors`` …
    """

    def __init__(
        self,
        build: Callable,
        seeds: Sequence[int],
        inputs,
        labels,
        recipe: Recipe,
        objective: Callable[[], ERM],
        device: str = "cpu",
        precision: str = "fp32",
        directory=None,
        keep_epochs: bool = False,
    ):
        self.recipe = recipe
        self._inputs, self._labels = inputs, np.asarray(labels)
        self._directory = None if directory is None else Path(directory)
        self._keep_epochs = keep_epochs
        self.members = [
            Member(build, seed, recipe, device, precision, objective())
            for seed in seeds
        ]
        if self._directory is not None:
            self._directory.mkdir(parents=True, exist_ok=True)
            for member in self.members:
                state = read_checkpoint(self._path(member))
                if state is not None:
                    member.load_state_dict(state)

    def train_epoch(self, epoch: int, step: Callable) -> None:
        """Trains the members that are not there yet up to an epoch.

        Args:
            epoch: how many epochs they shall have been trained for
            step: called with the number of images of each batch
        """
        for member in self.members:
            if member.epoch >= epoch:
                step(len(member.objective.rows))
                continue
            member.train_epoch(self._inputs, self._labels, step)
            if self._directory is None:
                continue
            # Before the checkpoint: once that is there, the epoch is over
            if self._keep_epochs:
                self._keep(member)
            write_checkpoint(self._path(member), member.state_dict())

    def probabilities(self, rows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields ``(rows, (M, b, C) float32)`` of batches of rows."""
        import torch

        rows = np.asarray(rows)
        size = 4 * self.recipe.batch_size
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            batch = self._inputs.batch(part, self.members[0].device)
            yield (
                part,
                torch.stack([m.probabilities(batch) for m in self.members])
                .cpu()
                .numpy(),
            )

    def fit(self, step: Callable, on_epoch: Callable | None = None) -> None:
        """Trains all members to the end, without scoring.

        Args:
            step: see :meth:`train_epoch`
            on_epoch (None): called with the epoch and the members' losses
        """
        for epoch in range(1, self.recipe.epochs + 1):
            self.train_epoch(epoch, step)
            if on_epoch is not None:
                on_epoch(epoch, [m.loss for m in self.members])

    def score(
        self, rows, step: Callable, on_epoch: Callable | None = None
    ) -> np.ndarray:
        """Trains to the end and returns the confusion of rows.

        Args:
            rows: ``(m,)`` rows to score
            step: called with the number of images trained on or scored, a
                member's each
            on_epoch (None): called with the epoch and the members' losses

        Returns:
            ``(m,)`` float64, nats
        """
        running = self._resumed(rows)
        per_epoch = len(self.members) * len(rows)
        step(running.n_epochs * per_epoch)
        for epoch in range(1, self.recipe.epochs + 1):
            self.train_epoch(epoch, step)
            if epoch <= running.n_epochs:
                continue
            entropies = []
            for _, probabilities in self.probabilities(rows):
                entropies.append(mean_entropy(probabilities))
                step(len(self.members) * len(entropies[-1]))
            running.add(np.concatenate(entropies))
            self._write_scores(running)
            if on_epoch is not None:
                on_epoch(epoch, [m.loss for m in self.members])
        return running.scores()

    def _path(self, member):
        return self._directory / f"seed-{member.seed}.pt"

    def _keep(self, member):
        from safetensors.torch import save_file

        folder = self._directory / f"epoch-{member.epoch:03d}"
        folder.mkdir(exist_ok=True)
        state = {
            name: tensor.contiguous().clone()
            for name, tensor in member.module.state_dict().items()
        }
        path = folder / f"seed-{member.seed}.safetensors"
        with _replaced(path) as temporary:
            save_file(state, temporary)

    def _resumed(self, rows):
        state = None
        if self._directory is not None:
            state = read_checkpoint(self._directory / _SCORES)
        if state is None:
            return RunningConfusion(len(rows))
        return RunningConfusion(
            len(rows), state["total"].numpy(), state["n_epochs"]
        )

    def _write_scores(self, running):
        import torch

        if self._directory is not None:
            write_checkpoint(
                self._directory / _SCORES,
                {
                    "total": torch.from_numpy(running.total),
                    "n_epochs": running.n_epochs,
                },
            )


def write_checkpoint(path, state: dict) -> None:
    """Writes a checkpoint whole or not at all."""
    import torch

    with _replaced(Path(path)) as temporary:
        torch.save(state, temporary)


def read_checkpoint(path) -> dict | None:
    """Returns a checkpoint of :func:`write_checkpoint`, or None."""
    import torch

    if not os.path.isfile(path):
        return None
    return torch.load(path, map_location="cpu", weights_only=True)


@contextmanager
def _replaced(path):
    temporary = path.with_name(f"{path.name}.part")
    yield temporary
    os.replace(temporary, path)


@contextmanager
def _seeded(seed, epoch):
    """Seeds torch for a member's epoch, and puts it back afterwards."""
    import torch

    digest = hashlib.sha256(f"{seed} {epoch}".encode()).digest()
    number = int.from_bytes(digest[:4], "big")
    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices=list(devices)):
        # Weights and dropout draw from torch itself
        torch.manual_seed(number)
        yield torch.Generator().manual_seed(number)
