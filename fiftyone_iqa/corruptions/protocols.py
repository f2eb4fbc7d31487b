"""What is done to an image before it is corrupted."""

from __future__ import annotations

import numpy as np

from ..errors import IQAError
from ..preprocessing import ResizeCrop

NATIVE = "native"
IMAGENET_C = "imagenet-c"
PROTOCOLS = (NATIVE, IMAGENET_C)

CLEAN = "clean"  # the condition, of severity 0, of images left as they are

# make_imagenet_c.py: Resize(256), CenterCrop(224) of torchvision, on PIL
_RESIZE_CROP = ResizeCrop(224, 256, "bilinear")


def check_protocol(protocol: str) -> str:
    """Returns a protocol's name.

    Raises:
        IQAError: for an unknown one
    """
    if protocol not in PROTOCOLS:
        raise IQAError(
            f"There is no protocol {protocol!r}; there are "
            f"{', '.join(PROTOCOLS)}"
        )
    return protocol


def prepare_image(image: np.ndarray, protocol: str) -> np.ndarray:
    """Brings an image to the size at which it is corrupted.

    Args:
        image: ``(h, w, 3)`` uint8 RGB
        protocol: ``"native"`` leaves it as it is; ``"imagenet-c"`` resizes
            the shorter side to 256 (bilinear, antialiased) and takes the
            central 224 pixels, as the benchmark does

    Returns:
        ``(h', w', 3)`` uint8 RGB

    Raises:
        IQAError: for an unknown protocol
    """
    if check_protocol(protocol) == NATIVE:
        return image
    return np.ascontiguousarray(_RESIZE_CROP(image).transpose(1, 2, 0))
