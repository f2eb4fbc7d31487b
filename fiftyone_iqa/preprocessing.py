"""Resize-and-crop of a decoded image, as torchvision's transforms do it.

Runs in decode workers, so it needs only numpy and Pillow: a worker process
starts without torch. Results stay ``uint8``; normalisation happens on the
device, where it is cheap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_FILTERS = ("bilinear", "bicubic")
_MODES = ("shortest", "squash")


@dataclass(frozen=True)
class ResizeCrop:
    """Resizes an image, then takes the central square.

    Args:
        crop: side of the square result, in pixels
        resize: length of the shorter side before the crop, in pixels;
            ignored by ``mode="squash"``
        interpolation ("bicubic"): ``"bilinear"`` or ``"bicubic"``, both with
            Pillow's antialiasing
        mode ("shortest"): ``"shortest"`` keeps the aspect ratio, ``"squash"``
            resizes straight to ``crop`` x ``crop``
    """

    crop: int
    resize: int
    interpolation: str = "bicubic"
    mode: str = "shortest"

    def __post_init__(self):
        if self.interpolation not in _FILTERS:
            raise ValueError(
                f"interpolation must be one of {_FILTERS}, not "
                f"{self.interpolation!r}"
            )
        if self.mode not in _MODES:
            raise ValueError(
                f"mode must be one of {_MODES}, not {self.mode!r}"
            )
        if self.mode == "shortest" and self.resize < self.crop:
            raise ValueError(
                f"resize ({self.resize}) must not be smaller than crop "
                f"({self.crop})"
            )

    def __str__(self):
        if self.mode == "squash":
            return f"squash {self.crop} {self.interpolation}"
        return f"shortest {self.resize} {self.interpolation}, crop {self.crop}"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Prepares one image.

        Args:
            image: ``(h, w, 3)`` uint8 RGB

        Returns:
            ``(3, crop, crop)`` uint8, contiguous
        """
        from PIL import Image

        height, width = image.shape[:2]
        new_width, new_height = self._target(width, height)
        if (new_width, new_height) != (width, height):
            filters = Image.Resampling
            resample = getattr(filters, self.interpolation.upper())
            image = np.asarray(
                Image.fromarray(image).resize(
                    (new_width, new_height), resample
                )
            )

        top, left = self._corner(new_width, new_height)
        image = image[top : top + self.crop, left : left + self.crop]
        return np.ascontiguousarray(image.transpose(2, 0, 1))

    def differentiably(self, batch):
        """Prepares a batch of images so that gradients reach their pixels.

        The filters are torch's, antialiased too, on floats: within a grey
        level or two of what Pillow makes of the same images in 8 bits.

        Args:
            batch: ``(n, 3, h, w)`` float tensor of RGB pixels in 0...255

        Returns:
            ``(n, 3, crop, crop)`` float tensor in 0...255, with the graph
        """
        import torch

        height, width = batch.shape[-2:]
        new_width, new_height = self._target(width, height)
        if (new_width, new_height) != (width, height):
            batch = torch.nn.functional.interpolate(
                batch,
                size=(new_height, new_width),
                mode=self.interpolation,
                antialias=True,
            ).clamp(0, 255)  # cubic filters overshoot
        top, left = self._corner(new_width, new_height)
        return batch[..., top : top + self.crop, left : left + self.crop]

    def _corner(self, width, height):
        # torchvision's center_crop rounds half to even, like Python's round
        return round((height - self.crop) / 2), round((width - self.crop) / 2)

    def _target(self, width, height):
        if self.mode == "squash":
            return self.crop, self.crop

        if width <= height:
            return self.resize, int(self.resize * height / width)

        return int(self.resize * width / height), self.resize


class TorchTransform:
    """A torchvision-style transform of a PIL image, for unusual pipelines.

    Args:
        transform: callable, PIL image to ``(c, h, w)`` tensor
        description: what it does; part of a score's configuration, so it
            must not change from one process to the next
    """

    def __init__(self, transform, description: str):
        self.transform = transform
        self.description = description

    def __str__(self):
        return self.description

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Prepares one image.

        Args:
            image: ``(h, w, 3)`` uint8 RGB

        Returns:
            ``(c, h', w')`` array, float32 as a rule
        """
        from PIL import Image

        return np.asarray(self.transform(Image.fromarray(image)))
