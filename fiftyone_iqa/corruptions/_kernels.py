"""Loops that numpy cannot express, compiled by numba.

No fast-math, so that results do not depend on the machine's vector width.
Random numbers are drawn by the caller. The module is imported on first use.
"""

import numba


def _compiled(function):
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:
        # No folder to keep compiled code in: compile in every process
        return numba.njit(nogil=True)(function)


@_compiled
def displace(image, shifts, margin):
    """Gives each pixel a neighbour's value, last pixel first, in place.

    Args:
        image: ``(h, w, 3)`` array
        shifts: ``(h - 2 * margin, w - 2 * margin, 2)`` ints, x and y, in the
            order of use
        margin: the largest shift
    """
    height, width = image.shape[:2]
    for i in range(shifts.shape[0]):
        y = height - margin - i
        for j in range(shifts.shape[1]):
            x = width - margin - j
            x2 = x + shifts[i, j, 0]
            y2 = y + shifts[i, j, 1]
            for k in range(image.shape[2]):
                image[y, x, k] = image[y2, x2, k]


@_compiled
def add_bilinear(total, image, top, bottom, dy, left, right, dx):
    """Adds an image resampled on a separable grid.

    Args:
        total: ``(h, w, c)`` array to add to
        image: ``(h', w', c)`` array
        top: ``(h,)`` row above each output row
        bottom: ``(h,)`` row below it
        dy: ``(h,)`` weight of the row below
        left: ``(w,)`` column left of each output column
        right: ``(w,)`` column right of it
        dx: ``(w,)`` weight of the right column
    """
    for i in range(total.shape[0]):
        above, below, v = image[top[i]], image[bottom[i]], dy[i]
        for j in range(total.shape[1]):
            a, b, u = left[j], right[j], dx[j]
            for k in range(total.shape[2]):
                upper = above[a, k] * (1 - u) + above[b, k] * u
                lower = below[a, k] * (1 - u) + below[b, k] * u
                total[i, j, k] += upper * (1 - v) + lower * v
