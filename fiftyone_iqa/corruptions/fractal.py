"""The plasma fractal of the benchmark's fog."""

import numpy as np


def plasma(size, decay, rng):
    """Makes a height map by the diamond-square algorithm.

    Args:
        size: the least side, in pixels
        decay: by how much the noise shrinks from one scale to the next
        rng: a ``numpy.random.RandomState``

    Returns:
        ``(s, s)`` floats from 0 to 1, with s the power of two from ``size``
        on, at least 2. The map is periodic: opposite edges match
    """
    side = 2 ** max(1, (size - 1).bit_length())
    heights = np.zeros((side, side))
    wibble = 100.0

    def around(corners):
        return corners / 4 + wibble * rng.uniform(
            -wibble, wibble, corners.shape
        )

    step = side
    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        total = corners + np.roll(corners, -1, axis=0)
        total = total + np.roll(total, -1, axis=1)
        heights[half::step, half::step] = around(total)

        centres = heights[half::step, half::step]
        vertical = centres + np.roll(centres, 1, axis=0)
        horizontal = corners + np.roll(corners, -1, axis=1)
        heights[::step, half::step] = around(vertical + horizontal)
        horizontal = centres + np.roll(centres, 1, axis=1)
        vertical = corners + np.roll(corners, -1, axis=0)
        heights[half::step, ::step] = around(horizontal + vertical)
        step, wibble = half, wibble / decay

    heights -= heights.min()
    return heights / heights.max()
