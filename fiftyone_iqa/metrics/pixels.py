"""Cheap pixel statistics that answer *why* an image is poor."""

from __future__ import annotations

import numpy as np

from .pixel_scorer import PixelMetric
from .registry import LOWER, NONE, MetricSpec, Output, register

_BOX = 11


def blur_effect(image: np.ndarray) -> float:
    """The Blur Effect: how little an image loses when blurred again.

    Crété-Roffet et al. 2007, "The Blur Effect: Perception and Estimation
    with a New No-Reference Perceptual Blur Metric", with an 11-pixel
    horizontal and vertical box filter over Rec. 601 luma at native size; the
    worse of the two directions. A constant image has no edges to lose: 1.

    Args:
        image: ``(h, w, 3)`` uint8 RGB

    Returns:
        a float in [0, 1]: 0 sharp, 1 blurred beyond measure
    """
    import cv2

    luma = _luma(image)
    worst = 0.0
    for dx, dy, box in ((1, 0, (_BOX, 1)), (0, 1, (1, _BOX))):
        blurred = cv2.blur(luma, box, borderType=cv2.BORDER_REFLECT)
        sharp_edges = np.abs(cv2.Sobel(luma, cv2.CV_32F, dx, dy))
        blurred_edges = np.abs(cv2.Sobel(blurred, cv2.CV_32F, dx, dy))
        lost = cv2.subtract(sharp_edges, blurred_edges)
        # The filters' borders are left out, as in scikit-image
        total = float(sharp_edges[2:-1, 2:-1].sum(dtype=np.float64))
        lost = float(np.maximum(lost, 0)[2:-1, 2:-1].sum(dtype=np.float64))
        worst = max(worst, 1.0 - lost / total if total > 0 else 1.0)

    return min(max(worst, 0.0), 1.0)


def brightness(image: np.ndarray) -> float:
    """Mean Rec. 601 luma.

    Args:
        image: ``(h, w, 3)`` uint8 RGB

    Returns:
        a float in [0, 1]: 0 black, 1 white
    """
    return float(_luma(image).mean(dtype=np.float64)) / 255.0


def rms_contrast(image: np.ndarray) -> float:
    """Standard deviation of Rec. 601 luma (Peli 1990, RMS contrast).

    Args:
        image: ``(h, w, 3)`` uint8 RGB

    Returns:
        a float in [0, 0.5]: 0 for a constant image
    """
    return float(_luma(image).std(dtype=np.float64)) / 255.0


def _luma(image):
    import cv2

    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _spec(name, title, summary, direction, upper, description, paper):
    return MetricSpec(
        name=name,
        title=title,
        summary=summary,
        guidance="none",
        outputs=(Output("", direction, (0.0, upper), description),),
        licence="Apache-2.0",
        weights="none",
        paper=paper,
    )


@register
class Blur(PixelMetric):
    """Registers ``blur``."""

    spec = _spec(
        "blur",
        "Blur",
        "How little the image loses when it is blurred again",
        LOWER,
        1.0,
        "The Blur Effect: 0 is sharp, 1 is blurred beyond measure",
        "Crété-Roffet et al. 2007",
    )
    function = staticmethod(blur_effect)
    formula = "blur effect, 11 px box, luma, native size"


@register
class Brightness(PixelMetric):
    """Registers ``brightness``."""

    spec = _spec(
        "brightness",
        "Brightness",
        "Mean luma",
        NONE,
        1.0,
        "Mean luma: 0 is black, 1 is white; both ends are poor, so it has "
        "no direction",
        "Rec. ITU-R BT.601",
    )
    function = staticmethod(brightness)
    formula = "mean Rec. 601 luma"


@register
class Contrast(PixelMetric):
    """Registers ``contrast``."""

    spec = _spec(
        "contrast",
        "Contrast",
        "Standard deviation of luma",
        NONE,
        0.5,
        "RMS contrast of luma; fog lowers it, noise raises it, so it has no "
        "direction",
        "Peli 1990",
    )
    function = staticmethod(rms_contrast)
    formula = "standard deviation of Rec. 601 luma"
