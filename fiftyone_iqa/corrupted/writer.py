"""Writes corrupted variants of image files, in worker processes.

Files and arrays only, no FiftyOne. ``python -m fiftyone_iqa.corrupted.writer``
is the entry of a worker.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from fiftyone_iqa.corruptions import CLEAN, corrupt, prepare_image, seed_of
from fiftyone_iqa.images import ImageReadError, read_image
from fiftyone_iqa.processes import WorkerDiedError, Workers, serve

_MODULE = "fiftyone_iqa.corrupted.writer"


@dataclass(frozen=True)
class Settings:
    """What decides a variant's pixels, besides its source and condition.

    Attributes:
        seed: int
        protocol: one of :data:`fiftyone_iqa.corruptions.PROTOCOLS`
        image_format: ``"jpg"`` or ``"png"``
        quality: of JPEG files, 1 to 100; None for PNG
    """

    seed: int
    protocol: str
    image_format: str
    quality: int | None


@dataclass(frozen=True)
class Variant:
    """One file to write; ``path`` None stands for the source file itself."""

    corruption: str
    severity: int
    path: str | None


@dataclass
class Job:
    """A source file and the variants to be made of it."""

    key: str
    filepath: str
    variants: list[Variant] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """A job that is done: all its files exist, unless ``error`` says why."""

    job: Job
    error: str | None = None


def write_variants(job: Job, settings: Settings) -> Result:
    """Writes the missing variants of a source, which is decoded once.

    A file appears under its name when it is complete. The random draws
    depend on the source's pixels, the condition and the seed.

    Raises:
        OSError: if a file cannot be written
    """
    missing = [
        v for v in job.variants if v.path and not os.path.exists(v.path)
    ]
    # A variant that is the source file itself stands or falls with it
    checked = [v for v in job.variants if v.path is None]
    if not missing and not checked:
        return Result(job)

    try:
        source = read_image(job.filepath)
    except ImageReadError as e:
        return Result(job, str(e))

    seed = seed_of(source, settings.seed)
    image = prepare_image(source, settings.protocol)
    for variant in missing:
        pixels = image
        if variant.corruption != CLEAN:
            pixels = corrupt(image, variant.corruption, variant.severity, seed)
        save_image(
            pixels, variant.path, settings.image_format, settings.quality
        )
    return Result(job)


def save_image(
    pixels: np.ndarray, path: str, image_format="png", quality=None
) -> None:
    """Writes an image file, which appears under its name when complete.

    Args:
        pixels: ``(h, w, 3)`` uint8 RGB
        path: of the file; missing folders are made
        image_format ("png"): ``"png"`` or ``"jpg"``
        quality (None): of JPEG files, 1 to 100

    Raises:
        OSError: if it cannot be written
    """
    from PIL import Image

    file = io.BytesIO()
    picture = Image.fromarray(pixels)
    if image_format == "png":
        picture.save(file, "PNG")
    else:
        picture.save(file, "JPEG", quality=quality)

    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    # What a killed process leaves is hidden, and overwritten by the next
    part = os.path.join(folder, f".{name}.part")
    try:
        with open(part, "wb") as f:
            f.write(file.getbuffer())
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


class WriterPool:
    """Runs jobs in processes.

    Args:
        settings: a :class:`Settings`
        num_workers: number of processes; 0 works in this one
    """

    def __init__(self, settings: Settings, num_workers: int):
        self._settings = settings
        self._num_workers = num_workers
        self._executor = None
        if num_workers == 0:
            return

        self._workers = Workers(_MODULE, settings, num_workers)
        self._executor = ThreadPoolExecutor(num_workers)

    def map(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """Yields the results of jobs in order, working ahead of the caller.

        Raises:
            OSError: if a file cannot be written
        """
        if self._executor is None:
            for job in jobs:
                yield write_variants(job, self._settings)
            return

        pending = deque()
        for job in jobs:
            pending.append(self._executor.submit(self._run, job))
            if len(pending) > 4 * self._num_workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def close(self) -> None:
        """Drops waiting jobs and ends the processes."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._workers.close()
            self._executor.shutdown(wait=True)

    def _run(self, job):
        try:
            answer = self._workers.ask(job)
        except WorkerDiedError:
            # Out of memory, as a rule: the next image may fit
            return Result(job, "the process writing its variants died twice")
        if isinstance(answer, OSError):
            raise answer
        return answer


def answer(settings: Settings, job: Job) -> Result | OSError:
    """Does a job in a worker; its parent raises what is returned so."""
    try:
        return write_variants(job, settings)
    except OSError as e:
        return e
    except MemoryError:
        return Result(job, "not enough memory for its variants")


def main() -> None:
    """Serves jobs until the parent closes the pipe or dies."""
    import cv2

    # One core per process is what the parent has counted on
    cv2.setNumThreads(1)
    serve(answer)


if __name__ == "__main__":
    # Under its own name, so that its classes are those of the parent
    from fiftyone_iqa.corrupted import writer

    writer.main()
