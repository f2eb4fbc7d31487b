"""What is made of an image, and what of that a model returns.

A stage prepares images in workers (decoded once for all models), runs batches
through a model, and keeps one vector per image. Vectors are cached on disk
with the embeddings, so that a run that was interrupted goes on where it
stopped.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from ..corruptions import corrupt, prepare_image, seed_of
from ..corruptions.protocols import IMAGENET_C
from ..errors import IQAError
from .attacks import EPSILON, N_STEPS, fgsm, pgd

FGSM, PGD = "FGSM", "PGD"
_LEVELS = 255.0


@dataclass(frozen=True)
class Attack:
    """An attack and its budget.

    Attributes:
        kind: ``"FGSM"`` or ``"PGD"``
        epsilon: the largest change of a pixel, of 1
    """

    kind: str
    epsilon: float

    @property
    def name(self) -> str:
        """Such as ``"PGD 8/255"``."""
        return f"{self.kind} {self.epsilon * 255:g}/255"


PROTOCOL_ATTACKS = (Attack(PGD, EPSILON), Attack(FGSM, EPSILON))


class Stage(ABC):
    """One pass over images.

    Attributes:
        batch: which share of the runner's batch size it takes at once
    """

    batch = 1.0

    @abstractmethod
    def space(self, model) -> str:
        """Returns what its vectors of a model are cached under."""

    def key(self, model, row: int) -> bytes:
        """Returns what an image's vector depends on besides the image."""
        return b""

    @abstractmethod
    def preparers(self, models) -> dict:
        """Returns what to do in workers, by input."""

    def input_of(self, model) -> str:
        """Returns the input that a model takes."""
        return model.slug

    @abstractmethod
    def vectors(self, model, batch: np.ndarray, rows) -> np.ndarray:
        """Runs a model.

        Args:
            model: a task model
            batch: ``(b, …)`` inputs of one shape
            rows: ``(b,)`` places of the images

        Returns:
            ``(b, d)`` array
        """


def _model_space(model, what):
    return f"{model.id} {model.precision} {model.preprocessing} {what}"


class Clean(Stage):
    """Logits of images as they are."""

    def space(self, model):
        """See :meth:`Stage.space`."""
        return _model_space(model, "logits")

    def preparers(self, models):
        """See :meth:`Stage.preparers`."""
        return {model.slug: model.preprocessing for model in models}

    def vectors(self, model, batch, rows):
        """Returns ``(b, K)`` logits."""
        return model.logits(batch)


class Predicted(Clean):
    """The most probable class of images as they are."""

    def space(self, model):
        """See :meth:`Stage.space`."""
        return _model_space(model, "predictions")

    def vectors(self, model, batch, rows):
        """Returns ``(b, 1)`` class numbers."""
        return model.logits(batch).argmax(axis=1)[:, None]


class Attacked(Stage):
    """Predictions of attacked images.

    Args:
        attacks: several :class:`Attack`
        truth: of each model, by slug, ``(n, K)`` bools: the right classes of
            each image
        seed: of PGD's random starts
    """

    batch = 0.25  # gradients take several times the memory

    def __init__(self, attacks, truth: dict, seed: int):
        self._attacks = tuple(attacks)
        self._truth = truth
        self._seed = seed

    def space(self, model):
        """See :meth:`Stage.space`."""
        names = ", ".join(attack.name for attack in self._attacks)
        return _model_space(
            model, f"attacked {names}, {N_STEPS} steps, {self._seed}"
        )

    def key(self, model, row):
        """See :meth:`Stage.key`: an attack depends on what is right."""
        return np.packbits(self._truth[model.slug][row]).tobytes()

    def preparers(self, models):
        """See :meth:`Stage.preparers`."""
        return {model.slug: model.preprocessing for model in models}

    def vectors(self, model, batch, rows):
        """Returns ``(b, a)`` class numbers, of each attack."""
        import torch

        pixels, logits_of = pixels_of(model, batch)
        truth = torch.as_tensor(self._truth[model.slug][rows])
        truth = truth.to(pixels.device)
        seeds = [self._seed_of(image) for image in batch]
        found = []
        for attack in self._attacks:
            options = {"epsilon": attack.epsilon}
            if attack.kind == PGD:
                options["seeds"] = seeds
            perturb = pgd if attack.kind == PGD else fgsm
            changed = perturb(logits_of, pixels, truth, **options)
            with torch.inference_mode():
                found.append(logits_of(changed).argmax(dim=1))
        return torch.stack(found, dim=1).cpu().numpy()

    def _seed_of(self, image):
        digest = hashlib.sha256(str(self._seed).encode())
        digest.update(np.ascontiguousarray(image))
        return int.from_bytes(digest.digest()[:7], "little")


class Corrupted(Stage):
    """Predictions of images under conditions, at 224 pixels.

    Args:
        conditions: several ``(corruption, severity)``
        seed: of the corruptions; equal to
            :func:`fiftyone_iqa.corrupt_dataset`'s, so are the pixels
    """

    batch = 0  # an image at a time: all its conditions are a batch

    def __init__(self, conditions, seed: int):
        self._conditions = tuple(conditions)
        self._seed = seed

    def space(self, model):
        """See :meth:`Stage.space`."""
        names = ", ".join(f"{name} {s}" for name, s in self._conditions)
        return _model_space(model, f"corrupted {names}, {self._seed}")

    def preparers(self, models):
        """See :meth:`Stage.preparers`: one for all models."""
        return {"corrupted": _Grid(self._conditions, self._seed)}

    def input_of(self, model):
        """See :meth:`Stage.input_of`."""
        return "corrupted"

    def vectors(self, model, batch, rows):
        """Returns ``(1, c)`` class numbers, of each condition."""
        (images,) = batch
        found = [
            model.logits(
                np.stack([model.preprocessing(image) for image in part])
            ).argmax(axis=1)
            for part in np.array_split(images, -(-len(images) // 16))
        ]
        return np.concatenate(found)[None]


class _Grid:
    """Makes all conditions of an image."""

    def __init__(self, conditions, seed):
        self._conditions = conditions
        self._seed = seed

    def __call__(self, image):
        seed = seed_of(image, self._seed)
        image = prepare_image(image, IMAGENET_C)
        return np.stack(
            [
                corrupt(image, name, severity, seed)
                for name, severity in self._conditions
            ]
        )


def pixels_of(model, batch):
    """Returns preprocessed images as pixels, and what classifies those.

    Args:
        model: a task model
        batch: ``(n, 3, h', w')`` array of preprocessed images

    Returns:
        ``(n, 3, h', w')`` float tensor in [0, 1] on the model's device, and
        a function of such a tensor to ``(n, K)`` logits, with gradients
        through the model's normalisation

    Raises:
        IQAError: if the model's own transform normalises: what it returns
            are no pixels then
    """
    import torch

    batch = torch.as_tensor(batch).to(model.device).float()
    if getattr(model.preprocessing, "normalisation", None) is not None:
        return batch / _LEVELS, lambda pixels: model.differentiable_logits(
            pixels * _LEVELS
        )
    if batch.min() < 0 or batch.max() > 1:
        raise IQAError(
            f"The transform of task model {model.name!r} returns no pixels, "
            "which attacks change: pass transform= without normalisation, "
            "and normalisation=, to get_task_model()"
        )
    return batch, model.differentiable_logits


def why_not_attackable(model) -> str | None:
    """Returns why a model cannot be attacked, or None where it can.

    One image, black to white, says it.
    """
    import torch

    image = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3)
    try:
        batch = model.preprocessing(image.astype(np.uint8))[None]
        pixels, logits_of = pixels_of(model, batch)
        truth = torch.ones(1, len(model.classes), dtype=torch.bool)
        truth[:, 1:] = False
        fgsm(logits_of, pixels, truth.to(pixels.device))
    except IQAError as e:
        return str(e)
    return None
