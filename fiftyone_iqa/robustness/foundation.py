"""Algorithm 1 of Zhang et al. 2024: perturb while the oracle agrees.

Generic in its three parts: the evaluated model θ (its loss steers), the
generator g and the oracle h. Arrays and torch only, no FiftyOne.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..models.base import TaskModel
from ..preprocessing import ResizeCrop
from .generators.base import Generator

IMAGE_SIZE = 256
"""Side of the images that are perturbed and judged, in pixels.

Not the paper's 224: models crop 224 to 260 out of what they are given.
"""

_CANONICAL = ResizeCrop(IMAGE_SIZE, IMAGE_SIZE)


def canonical_image(image: np.ndarray) -> np.ndarray:
    """Returns the central square of an image at the size that is perturbed.

    Args:
        image: ``(h, w, 3)`` uint8 RGB

    Returns:
        ``(256, 256, 3)`` uint8
    """
    return np.ascontiguousarray(_CANONICAL(image).transpose(1, 2, 0))


@dataclass(frozen=True)
class Perturbed:
    """What became of a batch.

    Attributes:
        images: ``(n, s, s, 3)`` uint8, each at the last step that the oracle
            accepted, or the original where it accepted none
        steps: ``(n,)`` ints, steps taken, 0 to B
        recognised: ``(n,)`` bools, whether the oracle accepts the original
        score: ``(n,)`` floats, the oracle's score of ``images``
    """

    images: np.ndarray
    steps: np.ndarray
    recognised: np.ndarray
    score: np.ndarray

    @property
    def accepted(self) -> np.ndarray:
        """``(n,)`` bools: whether there is a perturbed image at all."""
        return self.steps > 0


def model_loss(model: TaskModel, pixels, truths):
    """Computes l(θ(x), y), the cross-entropy of the true classes.

    Args:
        model: θ
        pixels: ``(n, 3, s, s)`` float tensor in [0, 1]
        truths: ``(n,)`` indices into the model's classes

    Returns:
        ``(n,)`` tensor with the graph

    Raises:
        IQAError: if gradients cannot be had from the model
    """
    import torch

    logits = model.pixel_logits(255 * pixels.to(model.device))
    truths = torch.as_tensor(np.asarray(truths), device=logits.device)
    return torch.nn.functional.cross_entropy(logits, truths, reduction="none")


def predict(model: TaskModel, images: np.ndarray):
    """Classifies images as files are classified: prepared in 8 bits.

    Args:
        model: θ
        images: ``(n, s, s, 3)`` uint8 RGB

    Returns:
        ``(n,)`` class indices, and their ``(n,)`` probabilities
    """
    from scipy.special import softmax

    prepared = [model.preprocessing(image) for image in images]
    found = softmax(model.logits(np.stack(prepared)).astype(float), axis=1)
    return found.argmax(axis=1), found.max(axis=1)


def perturb(
    images: np.ndarray,
    generator: Generator,
    accepts: Callable,
    loss: Callable | None,
    seeds: list[str],
    originals: tuple | None = None,
) -> Perturbed:
    """Perturbs a batch as long as the oracle sees the true label (alg. 1).

    An image the oracle rejects as it is takes no step: the algorithm as
    printed would try one, and nearly always fall back all the same.

    Args:
        images: ``(n, s, s, 3)`` uint8 RGB
        generator: g, with its budget B
        accepts: h: images of some rows, and the ``(m,)`` rows, to ``(m,)``
            bools (does it predict the true label?) and ``(m,)`` scores
        loss: of θ: ``(m, 3, s, s)`` float tensor of pixels in [0, 1], and
            the rows, to ``(m,)`` losses, differentiable; None where the
            generator is not guided
        seeds: n texts, from which the images' draws come
        originals (None): what ``accepts`` says of the originals, where that
            is known already

    Returns:
        a :class:`Perturbed`
    """
    n = len(images)
    recognised, score = originals or accepts(images, np.arange(n))
    final, score = images.copy(), np.array(score, dtype=float)
    steps = np.zeros(n, dtype=int)
    rows = np.flatnonzero(recognised)
    state = None
    for t in range(generator.budget):
        if not len(rows):
            break
        if state is None:
            state = generator.begin(images[rows], [seeds[i] for i in rows])
        guide = None if loss is None else (lambda x, at=rows: loss(x, at))
        stepped = generator.step(state, t, guide)
        good, scores = accepts(stepped, rows)
        rows, stepped, scores = rows[good], stepped[good], scores[good]
        final[rows], score[rows] = stepped, scores
        steps[rows] = t + 1
        if not good.all():
            state = state.select(good)
    return Perturbed(final, steps, np.asarray(recognised, bool), score)
