"""The table of corruptions, and how one is applied to an image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import IQAError

SEVERITIES = (1, 2, 3, 4, 5)

_REGISTRY: dict[str, Corruption] = {}


@dataclass(frozen=True)
class Corruption:
    """One condition and its strengths.

    Attributes:
        name: the condition's name in ImageNet-C
        family: ``"noise"``, ``"blur"``, ``"weather"`` or ``"digital"``
        parameters: what ``function`` is given at severities 1 to 5
        function: ``(image, parameter, rng) -> image``, with images as
            ``(h, w, 3)`` float64 in ``[0, 1]``; the result may leave the
            range
    """

    name: str
    family: str
    parameters: tuple
    function: Callable

    @property
    def description(self) -> str:
        """What the corruption does, in a sentence or two."""
        paragraph, *_ = self.function.__doc__.split("\n\n")
        return " ".join(paragraph.split())


def corruption(family: str, *parameters):
    """Registers a function as the corruption of its name.

    Args:
        family: ``"noise"``, ``"blur"``, ``"weather"`` or ``"digital"``
        *parameters: what the function is given at severities 1 to 5
    """
    if len(parameters) != len(SEVERITIES):
        raise ValueError(
            f"a corruption has {len(SEVERITIES)} parameters, one per "
            f"severity, not {len(parameters)}"
        )

    def register(function):
        name = function.__name__
        _REGISTRY[name] = Corruption(name, family, parameters, function)
        return function

    return register


def list_corruptions() -> list[str]:
    """Returns the corruptions' names, in the order of the benchmark."""
    return list(_REGISTRY)


def get_corruption(name: str) -> Corruption:
    """Returns a condition's family, parameters and description.

    Raises:
        IQAError: for an unknown name
    """
    try:
        return _REGISTRY[name]
    except (KeyError, TypeError):
        raise IQAError(
            f"There is no corruption {name!r}; there are "
            f"{', '.join(_REGISTRY)}"
        ) from None


def check_severity(severity: int) -> int:
    """Returns a severity as an int.

    Raises:
        IQAError: if it is not one of 1 to 5
    """
    if severity not in SEVERITIES:
        raise IQAError(
            f"There is no severity {severity!r}; there are "
            f"{', '.join(map(str, SEVERITIES))}"
        )
    return int(severity)


def corrupt(image: np.ndarray, name: str, severity: int, seed) -> np.ndarray:
    """Corrupts an image.

    The random draws depend on ``(seed, name, severity)`` alone, so an image
    gets the same pixels in any process and in any order.

    Args:
        image: ``(h, w, 3)`` uint8 RGB, of any size; left as it is
        name: one of :func:`list_corruptions`
        severity: 1 (mild) to 5 (strong)
        seed: int or string that identifies the image, and the repetition if
            there are several: two images with one seed get the same draws

    Returns:
        ``(h, w, 3)`` uint8 RGB

    Raises:
        IQAError: for an unknown name or severity
        TypeError: if the image is not ``(h, w, 3)`` uint8, or the seed is
            neither an int nor a string
    """
    spec = get_corruption(name)
    severity = check_severity(severity)
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise TypeError(
            "An image must be a (height, width, 3) array of uint8, not "
            f"{image.shape} of {image.dtype}"
        )

    rng = random_state(seed, name, severity)
    parameter = spec.parameters[severity - 1]
    return to_uint8(spec.function(image / 255.0, parameter, rng))


def seed_of(image: np.ndarray, seed: int) -> str:
    """Returns the seed of an image's draws, by its pixels.

    Args:
        image: ``(h, w, 3)`` uint8 RGB
        seed: of the whole dataset
    """
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image))
    return f"{seed}:{digest.hexdigest()}"


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Returns a ``[0, 1]`` float image in grey levels, clipped.

    Levels are truncated, as the benchmark's files were; the tiny offset
    keeps a level that arithmetic left just below an integer.
    """
    return (np.clip(image, 0, 1) * 255 + 1e-6).astype(np.uint8)


def random_state(seed, name, severity) -> np.random.RandomState:
    """Returns the generator of an image's, condition's and severity's draws.

    Raises:
        TypeError: if the seed is neither an int nor a string
    """
    if not isinstance(seed, str):
        try:
            seed = seed.__index__()
        except AttributeError:
            raise TypeError(
                f"A seed must be an int or a string, not {seed!r}"
            ) from None

    # JSON tells 1 from "1"; Python's hash() differs between processes
    key = json.dumps([seed, name, severity]).encode()
    words = np.frombuffer(hashlib.sha256(key).digest(), dtype="<u4")

    # RandomState's stream is frozen for all versions of numpy, Generator's
    # is not
    return np.random.RandomState(words)
