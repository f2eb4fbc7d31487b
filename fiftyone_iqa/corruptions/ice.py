"""Procedural frost: a pane covered with feathers of ice.

Nothing of it is a photograph. Levels, contrasts and tints are drawn from the
ranges that the benchmark's overlays span.
"""

import numpy as np

from .fractal import plasma

_LONGEST = 110  # pixels a feather grows, at most
_BRANCHES = 24  # of a feather, on each side


def ice(height, width, rng):
    """Draws a pane of ice.

    Args:
        height: in pixels
        width: in pixels
        rng: a ``numpy.random.RandomState``

    Returns:
        ``(height, width, 3)`` floats in ``[0, 1]``
    """
    level = rng.uniform(0.46, 0.82)
    # The darker of the benchmark's overlays have the stronger contrast
    contrast = 0.14 - 0.18 * (level - 0.46)
    tint = rng.uniform(0, 1.8) * np.array([-0.07, 0.01, 0.06])

    feathers = _feathers(height, width, rng)
    # Light from the upper left
    before = np.pad(feathers, ((1, 0), (1, 0)), mode="edge")[:-1, :-1]
    relief = _standard(feathers) + 0.8 * _standard(feathers - before)
    relief += _standard(plasma(max(height, width), 2, rng)[:height, :width])
    relief += 0.35 * rng.normal(size=(height, width))
    grey = level + contrast * _standard(relief)
    return np.clip(grey[..., None] + tint, 0, 1)


def _standard(values):
    return (values - values.mean()) / max(values.std(), 1e-6)


def _feathers(height, width, rng):
    """Draws feathers that grow over one another: ``(h, w)`` floats."""
    import cv2

    # Also around the picture, for feathers that grow into it
    field = np.array([width, height]) + 2 * _LONGEST
    n = field.prod() // 200
    roots = rng.uniform(size=(n, 2)) * field - _LONGEST
    angles = rng.uniform(0, 2 * np.pi, n)
    lengths = _LONGEST * rng.uniform(0.2, 1, n) ** 2
    spreads = np.radians(rng.uniform(15, 50, n))
    shades = rng.uniform(0, 255, n)

    # Branches leave the spine on both sides and shorten towards its tip
    along = np.linspace(0.04, 1, _BRANCHES)
    reach = 0.3 * (1.05 - along) * np.minimum(1, 4 * along)
    ragged = rng.uniform(0.3, 1, (2, n, _BRANCHES, 1))
    spines = roots[:, None] + _vectors(angles, lengths, along)
    left, right = (
        spines + _vectors(angles + side, lengths, reach) * rags
        for side, rags in zip((-spreads, spreads), ragged)
    )
    strokes = np.stack(
        [
            np.concatenate([spines, spines, roots[:, None]], axis=1),
            np.concatenate([left, right, spines[:, -1:]], axis=1),
        ],
        axis=2,
    )

    # OpenCV's fixed-point coordinates have 4 bits here
    strokes = np.rint(strokes * 16).astype(np.int32)
    canvas = np.full((height, width), 128, np.uint8)
    for lines, shade in zip(strokes, shades):
        cv2.polylines(canvas, lines, False, shade, 1, cv2.LINE_AA, 4)
    return canvas.astype(float)


def _vectors(angles, lengths, parts):
    """Returns ``(n, m, 2)`` vectors: n directions, m parts of each length."""
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return (directions * lengths[:, None])[:, None] * parts[:, None]
