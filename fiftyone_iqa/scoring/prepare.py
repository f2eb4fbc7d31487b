"""Decoding one image for all metrics, wherever that happens."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ..images import ImageReadError, read_image


@dataclass(frozen=True)
class Job:
    """One image to prepare.

    Attributes:
        index: of the item it belongs to
        path: of the file
        crop_box: relative box to cut out, or None
        inputs: keys of the inputs to prepare
    """

    index: int
    path: str
    crop_box: tuple | None
    inputs: tuple[str, ...]


@dataclass
class Prepared:
    """What became of a job.

    Attributes:
        job: the job
        inputs: prepared arrays by input key
        errors: reasons by input key, for inputs that could not be prepared
        seconds: spent on it
    """

    job: Job
    inputs: dict = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def prepare(job: Job, preparers: dict) -> Prepared:
    """Decodes an image once and prepares every input asked for.

    Args:
        job: what to prepare
        preparers: callables by input key, ``(h, w, 3)`` uint8 RGB to array

    Returns:
        a :class:`Prepared`; never raises for a bad image
    """
    start = time.perf_counter()
    result = Prepared(job)
    try:
        image = read_image(job.path, job.crop_box)
    except ImageReadError as e:
        result.errors = dict.fromkeys(job.inputs, str(e))
    else:
        image.setflags(write=False)
        for key in job.inputs:
            try:
                result.inputs[key] = preparers[key](image)
            except Exception as e:  # one metric's fault, not the others'
                result.errors[key] = f"{type(e).__name__}: {e}"

    result.seconds = time.perf_counter() - start
    return result
