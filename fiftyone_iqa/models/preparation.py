"""What a task model's images go through, on both sides of the worker.

Needs neither torch nor fiftyone to be imported: workers unpickle it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import IQAError
from ..preprocessing import ResizeCrop, TorchTransform

_ORDERS = ("rgb", "bgr")

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Normalisation:
    """What a network wants its pixels turned into: ``(x/scale - mean)/std``.

    Runs on the device, on whole batches.

    Args:
        mean: one number per channel, in the order of ``channels``
        std: one number per channel, in the order of ``channels``
        scale (255.0): what pixels of 0...255 are divided by first
        channels ("rgb"): ``"rgb"``, or ``"bgr"`` for networks that were
            trained on blue, green, red

    Raises:
        IQAError: if a value is unusable

    Examples:
        Caffe's networks want blue, green, red on 0...255 less a mean::

            Normalisation((104, 117, 123), (1, 1, 1), 1.0, "bgr")
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 255.0
    channels: str = "rgb"

    def __post_init__(self):
        for name in ("mean", "std"):
            values = tuple(float(v) for v in getattr(self, name))
            object.__setattr__(self, name, values)
        object.__setattr__(self, "scale", float(self.scale))
        if len(self.mean) != 3 or len(self.std) != 3:
            raise IQAError(
                "mean and std must have one number for each of three "
                f"channels; got {self.mean} and {self.std}"
            )
        if self.scale == 0 or 0 in self.std:
            raise IQAError("Neither scale nor any of std may be 0")
        if self.channels not in _ORDERS:
            raise IQAError(
                f"channels must be one of {_ORDERS}, not {self.channels!r}"
            )

    def __str__(self):
        return f"({self.channels} / {self.scale:g} - {self.mean}) / {self.std}"

    def __call__(self, batch):
        """Normalises pixels.

        Args:
            batch: ``(n, 3, h, w)`` tensor of RGB pixels in 0...255

        Returns:
            ``(n, 3, h, w)`` float32 tensor on the same device
        """
        import torch

        if self.channels == "bgr":
            batch = batch.flip(1)
        mean, std = (
            torch.tensor(v, device=batch.device).view(1, 3, 1, 1)
            for v in (self.mean, self.std)
        )
        # Operation by operation as torchvision does it: equal to the bit
        return (batch.float() / self.scale - mean) / std


IMAGENET = Normalisation(IMAGENET_MEAN, IMAGENET_STD)


@dataclass(frozen=True)
class Preparation:
    """A task model's preprocessing: a transform here, the rest on the device.

    Its ``str`` describes both, since both are part of what a score means.

    Args:
        transform: a :class:`fiftyone_iqa.preprocessing.ResizeCrop` or
            :class:`fiftyone_iqa.preprocessing.TorchTransform`
        normalisation: applied to its results on the device, or None
    """

    transform: ResizeCrop | TorchTransform
    normalisation: Normalisation | None

    def __str__(self):
        if self.normalisation is None:
            return str(self.transform)
        return f"{self.transform}; {self.normalisation}"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Prepares one image, but for the normalisation.

        Args:
            image: ``(h, w, 3)`` uint8 RGB

        Returns:
            ``(c, h', w')`` array, uint8 where the transform leaves it so
        """
        return self.transform(image)
