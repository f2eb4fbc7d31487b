"""The confusion score: equations 1 to 3 of Albiero et al. 2023.

Class probabilities are averaged over the ensemble's members (equation 1), the
entropy of that mean is taken at every epoch (equation 2), and averaged over
the epochs (equation 3). No label is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..errors import IQAError

# What half precision leaves of a softmax over 1,000 classes
_SUM_TOLERANCE = 1e-2


def mean_entropy(probabilities) -> np.ndarray:
    """Returns the entropy of the members' mean: equations 1 and 2.

    Args:
        probabilities: ``(M, n, C)`` class probabilities of M members, C >= 2

    Returns:
        ``(n,)`` float64 in [0, ln C], nats

    Raises:
        IQAError: if the shape is another, a value is negative or not finite,
            or a row does not sum to 1
    """
    from scipy.special import entr

    p = _checked(probabilities).mean(axis=0, dtype=np.float64)
    p /= p.sum(axis=1, keepdims=True)
    # Rounding may leave the uniform distribution a hair above
    return np.clip(entr(p).sum(axis=1), 0.0, math.log(p.shape[1]))


class RunningConfusion:
    """Equation 3 as the epochs come: one number an image, however many.

    Args:
        n: images
        total (None): ``(n,)`` sums of an earlier run's epochs, to go on from
        n_epochs (0): how many epochs those are

    Attributes:
        total: ``(n,)`` float64 sums over the epochs so far
        n_epochs: how many those are
    """

    def __init__(self, n: int, total=None, n_epochs: int = 0):
        self.total = np.zeros(n) if total is None else np.array(total, float)
        self.n_epochs = n_epochs

    def add(self, entropies) -> None:
        """Adds an epoch.

        Args:
            entropies: ``(n,)`` of :func:`mean_entropy`

        Raises:
            IQAError: if there are not n
        """
        entropies = np.asarray(entropies)
        if entropies.shape != self.total.shape:
            raise IQAError(
                f"An epoch has entropies of shape {entropies.shape}; expected "
                f"{self.total.shape}, one an image, in all epochs"
            )
        self.total += entropies
        self.n_epochs += 1

    def scores(self) -> np.ndarray:
        """Returns ``(n,)`` confusion scores over the epochs so far, nats.

        Raises:
            IQAError: if there has been none
        """
        if not self.n_epochs:
            raise IQAError("A confusion score needs at least one epoch")
        return self.total / self.n_epochs


def confusion_scores(epochs: Iterable) -> np.ndarray:
    """Returns confusion scores of stored probabilities.

    Args:
        epochs: a ``(T, M, n, C)`` array, or an iterable of T arrays
            ``(M, n, C)``, of which one at a time is held

    Returns:
        ``(n,)`` float64 in [0, ln C], nats; lower is better

    Raises:
        IQAError: if there is no epoch, shapes differ, or rows are no
            probabilities
    """
    if isinstance(epochs, np.ndarray) and epochs.ndim != 4:
        raise IQAError(
            "Probabilities must be of shape (epochs, members, images, "
            f"classes), not {epochs.shape}"
        )
    running, n_classes = None, None
    for probabilities in epochs:
        entropies = mean_entropy(probabilities)
        if running is None:
            running = RunningConfusion(len(entropies))
            n_classes = np.shape(probabilities)[2]
        if np.shape(probabilities)[2] != n_classes:
            raise IQAError(
                f"One epoch has {n_classes} classes and another "
                f"{np.shape(probabilities)[2]}"
            )
        running.add(entropies)
    if running is None:
        raise IQAError("A confusion score needs at least one epoch")
    return running.scores()


def _checked(probabilities):
    try:
        p = np.asarray(probabilities)
        numeric = np.issubdtype(p.dtype, np.floating)
    except (TypeError, ValueError):
        numeric = False
    if not numeric or p.ndim != 3 or not p.size or p.shape[2] < 2:
        shape = f"of shape {p.shape}" if numeric else "something else"
        raise IQAError(
            "An epoch's probabilities must be floats of shape (members, "
            f"images, classes), with two classes at least, not {shape}"
        )
    # NaN fails both comparisons
    sums = p.sum(axis=2, dtype=np.float64)
    if not (p >= 0).all() or not (abs(sums - 1) <= _SUM_TOLERANCE).all():
        raise IQAError(
            "Probabilities must be finite, not negative, and sum to 1 over "
            "the classes; apply a softmax to logits first"
        )
    return p
