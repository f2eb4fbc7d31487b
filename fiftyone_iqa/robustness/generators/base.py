"""What an image generator is to Algorithm 1."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass
class State:
    """Where the generation of a batch stands.

    Attributes:
        tensors: by name, one row per image
        seeds: what identifies each image and the run
    """

    tensors: dict
    seeds: list[str]

    def select(self, kept) -> State:
        """Returns the state of some of the images.

        Args:
            kept: ``(n,)`` bools
        """
        rows = np.flatnonzero(kept)
        tensors = {name: t[rows] for name, t in self.tensors.items()}
        return State(tensors, [self.seeds[i] for i in rows])


class Generator(ABC):
    """Perturbs images step by step: g of Zhang et al. 2024, section 3.1.

    Attributes:
        name: letters, digits and underscores; names the sets it makes
        guided: whether the evaluated model's loss steers it, so that every
            model gets a set of its own; otherwise all share one
        budget: B, the most steps an image can take
    """

    name: str
    guided: bool
    budget: int

    @property
    @abstractmethod
    def settings(self) -> dict:
        """What its images depend on, JSON-serialisable."""

    @abstractmethod
    def begin(self, images: np.ndarray, seeds: list[str]) -> State:
        """Takes in images, as they are.

        Args:
            images: ``(n, s, s, 3)`` uint8 RGB
            seeds: what identifies each; its draws depend on nothing else
        """

    @abstractmethod
    def step(self, state: State, t: int, loss: Callable | None) -> np.ndarray:
        """Takes step ``t`` (from 0), which changes the state in place.

        Args:
            state: of the images that are still in the run
            t: the number of steps taken so far
            loss: ``(n, 3, s, s)`` float tensor of pixels in [0, 1] to the
                evaluated model's ``(n,)`` losses, differentiable; None for a
                generator that is not guided

        Returns:
            ``(n, s, s, 3)`` uint8 RGB, the images after the step
        """


class GuidedGenerator(Generator):
    """One that climbs the loss by steps of the sign of its gradient.

    The sign makes a step's length independent of how confident the model is:
    the plain gradient of the loss of a sure prediction is next to nothing.
    The paper names no rule (section 3.2 has the step size only); signs are
    Adam's first step.

    Args:
        budget: B
        step_size: length of a step, in the units of the parameters
    """

    guided = True

    def __init__(self, budget: int, step_size: float):
        self.budget = budget
        self.step_size = step_size

    @property
    def settings(self):
        """See :attr:`Generator.settings`."""
        return {
            "name": self.name,
            "budget": self.budget,
            "step_size": self.step_size,
        }

    @abstractmethod
    def parameters(self, state: State) -> list[str]:
        """Returns the names of the state's tensors that steps change."""

    @abstractmethod
    def render(self, state: State):
        """Returns ``(n, 3, s, s)`` float pixels in [0, 1], with the graph."""

    def step(self, state, t, loss):
        """See :meth:`Generator.step`."""
        import torch

        names = self.parameters(state)
        leaves = [state.tensors[k].detach().requires_grad_() for k in names]
        state.tensors.update(zip(names, leaves))
        with torch.enable_grad():
            total = loss(self.render(state)).sum()
            gradients = torch.autograd.grad(total, leaves)
        with torch.no_grad():
            for name, leaf, gradient in zip(names, leaves, gradients):
                step = self.step_size * gradient.sign()
                state.tensors[name] = leaf.detach() + self.masked(step)
            return to_uint8(self.render(state))

    def masked(self, step):
        """Returns a step without the dimensions that are to stay."""
        return step


def to_pixels(images: np.ndarray, device="cpu"):
    """Returns ``(n, s, s, 3)`` uint8 as ``(n, 3, s, s)`` floats in [0, 1]."""
    import torch

    pixels = torch.from_numpy(np.ascontiguousarray(images))
    return pixels.permute(0, 3, 1, 2).to(device, torch.float32) / 255


def to_uint8(pixels) -> np.ndarray:
    """Returns ``(n, 3, s, s)`` floats in [0, 1] as ``(n, s, s, 3)`` uint8."""
    import torch

    pixels = (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).cpu().numpy())


def torch_generator(seed: str, purpose: str):
    """Returns a ``torch.Generator`` on the CPU for one image's draws."""
    import torch

    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    number = int.from_bytes(digest[:7], "little")
    return torch.Generator().manual_seed(number)
