"""The conditions of ImageNet-C as a set that all models share."""

from __future__ import annotations

import numpy as np

from ...corruptions import SEVERITIES, corrupt, list_corruptions
from ...corruptions.registry import get_corruption, random_state
from .base import Generator, State


class CorruptionGenerator(Generator):
    """Corrupts each image by one condition, harder at every step.

    The condition is drawn from the image's seed; step t is severity t. No
    model steers it, so all are judged on one set, and their numbers compare
    as those of sets of their own do not.

    Args:
        corruptions (None): names to draw from, by default all 15
        budget (5): the highest severity, 1 to 5
    """

    name = "corruption"
    guided = False

    def __init__(self, corruptions=None, budget: int = len(SEVERITIES)):
        names = list_corruptions() if corruptions is None else corruptions
        self.corruptions = [get_corruption(name).name for name in names]
        self.budget = min(budget, len(SEVERITIES))

    @property
    def settings(self):
        """See :attr:`Generator.settings`."""
        return {
            "name": self.name,
            "budget": self.budget,
            "corruptions": list(self.corruptions),
        }

    def condition(self, seed: str) -> str:
        """Returns the corruption that an image of this seed gets."""
        draws = random_state(seed, "condition", 0)
        return self.corruptions[draws.randint(len(self.corruptions))]

    def begin(self, images, seeds):
        """See :meth:`Generator.begin`."""
        return State({"image": np.asarray(images)}, list(seeds))

    def step(self, state, t, loss):
        """See :meth:`Generator.step`."""
        return np.stack(
            [
                corrupt(image, self.condition(seed), SEVERITIES[t], seed)
                for image, seed in zip(state.tensors["image"], state.seeds)
            ]
        )
