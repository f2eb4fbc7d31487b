"""What a task model is to the rest of the package."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np


class ModelUnavailableError(RuntimeError):
    """A model's weights or packages are not to be had; says what to do."""


class TaskModel(ABC):
    """A trained classifier whose correctness is to be explained.

    Attributes:
        name: what :func:`fiftyone_iqa.models.get_task_model` makes it from
        slug: the stem of its fields, ``[a-z0-9_]``
        classes: its K class labels, in the order of its logits
        device: the ``torch.device`` it runs on
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``
        preprocessing: picklable callable, ``(h, w, 3)`` uint8 RGB array to
            one ``(c, h', w')`` array; runs in workers; its ``str`` is part
            of a score's configuration
    """

    name: str
    slug: str
    classes: tuple[str, ...]
    precision: str = "fp32"

    @cached_property
    def id(self) -> str:
        """The name plus a digest of all weights: changes when they do."""
        return f"{self.name}@{self._weights_digest()}"

    @abstractmethod
    def logits(self, batch) -> np.ndarray:
        """Classifies preprocessed images.

        Args:
            batch: ``(n, c, h', w')`` tensor or array of preprocessed images

        Returns:
            ``(n, K)`` float32 logits
        """

    @abstractmethod
    def _weights_digest(self) -> str:
        """Returns a short hexadecimal digest of the weights."""
