"""The oracle h: zero-shot classification by an image-text encoder."""

from __future__ import annotations

import hashlib

import numpy as np

from ..encoders.base import Encoder
from ..metrics.zsclip import average_templates
from ..models.base import TaskModel

TEMPLATE = "an image of {}"
"""Section 3.2: "an image of {class}"."""

CIRCULAR_SHARE = 0.01
"""Of a model's weights that the oracle has too: from here it is circular."""

_SMALL = 1024  # a tensor of fewer numbers may be equal by chance


class ZeroShotOracle:
    """Says which class an image shows, out of a label set.

    Args:
        encoder: the image-text encoder
        names: k readable class names
        template (TEMPLATE): prompt with one ``{}``

    Attributes:
        encoder: the encoder
        names: the class names
        template: the prompt
    """

    def __init__(self, encoder: Encoder, names, template: str = TEMPLATE):
        self.encoder = encoder
        self.names = tuple(names)
        self.template = template
        self._texts = average_templates(
            encoder.encode_texts, self.names, [template]
        )

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Classifies images.

        Args:
            images: ``(n, s, s, 3)`` uint8 RGB

        Returns:
            ``(n, k)`` float64 rows that sum to 1, at the encoder's own
            temperature
        """
        from scipy.special import softmax

        prepared = [self.encoder.preprocessing(image) for image in images]
        embeddings = self.encoder.encode_images(np.stack(prepared))
        similarities = (embeddings @ self._texts.T).astype(float)
        return softmax(self.encoder.logit_scale * similarities, axis=1)

    def accepts(self, images, truths) -> tuple[np.ndarray, np.ndarray]:
        """Returns whether images show their class, and how surely.

        Args:
            images: ``(n, s, s, 3)`` uint8 RGB
            truths: ``(n,)`` indices of the true classes

        Returns:
            ``(n,)`` bools, and the ``(n,)`` probabilities of the true class
        """
        if not len(images):
            return np.zeros(0, bool), np.zeros(0)
        found = self.probabilities(images)
        rows = np.arange(len(images))
        return found.argmax(axis=1) == truths, found[rows, truths]


def shared_weights(model: TaskModel, encoder: Encoder) -> float:
    """Returns how much of a model the oracle's image tower has too.

    Equal tensors of at least 1,024 numbers count, whatever they are called.
    An oracle that judges its own weights agrees with itself: its FMR of that
    model is circular.

    Args:
        model: the judged model
        encoder: the oracle's encoder

    Returns:
        share of the model's parameters, 0 to 1; 0 where either exposes none
    """
    own, theirs = _tensors(model.network), _tensors(encoder.network)
    total = sum(size for size in own.values())
    shared = sum(size for digest, size in own.items() if digest in theirs)
    return shared / total if total else 0.0


def _tensors(network):
    """Returns digest to size of a network's large parameters."""
    if network is None:
        return {}
    found = {}
    for parameter in network.parameters():
        if parameter.numel() < _SMALL:
            continue
        array = parameter.detach().float().cpu().contiguous().numpy()
        if array.min() == array.max():
            continue  # as it was initialised
        found[hashlib.sha256(array).hexdigest()] = array.size
    return found
