"""Writes corrupted variants of image files, in worker processes.

Files and arrays only, no FiftyOne. ``python -m fiftyone_iqa.corrupted.writer``
is the entry of a worker: see :mod:`fiftyone_iqa.scoring.worker` for why it is
not ``multiprocessing``.
"""

from __future__ import annotations

import hashlib
import io
import os
import queue
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fiftyone_iqa.corruptions import CLEAN, corrupt, prepare_image
from fiftyone_iqa.images import ImageReadError, read_image
from fiftyone_iqa.scoring.worker import receive, send


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

    seed = f"{settings.seed}:{_fingerprint(source)}"
    image = prepare_image(source, settings.protocol)
    for variant in missing:
        pixels = image
        if variant.corruption != CLEAN:
            pixels = corrupt(image, variant.corruption, variant.severity, seed)
        _save(pixels, variant.path, settings)
    return Result(job)


def _fingerprint(image):
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image))
    return digest.hexdigest()


def _save(pixels, path, settings):
    from PIL import Image

    file = io.BytesIO()
    picture = Image.fromarray(pixels)
    if settings.image_format == "png":
        picture.save(file, "PNG")
    else:
        picture.save(file, "JPEG", quality=settings.quality)

    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    # What a killed process leaves is hidden, and overwritten by the next
    part = os.path.join(folder, f".{name}.part")
    with open(part, "wb") as f:
        f.write(file.getbuffer())
    os.replace(part, path)


class WriterPool:
    """Runs jobs in processes.

    Args:
        settings: a :class:`Settings`
        num_workers: number of processes; 0 works in this one
    """

    def __init__(self, settings: Settings, num_workers: int):
        self._settings = settings
        self._num_workers = num_workers
        self._idle = queue.SimpleQueue()
        self._all = []
        self._executor = None
        self._closed = False
        if num_workers == 0:
            return

        try:
            for _ in range(num_workers):
                self._idle.put(self._start())
        except Exception:
            self.close()
            raise
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
        self._closed = True
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        for process in list(self._all):
            self._end(process)
        if self._executor is not None:
            self._executor.shutdown(wait=True)

    def _run(self, job):
        process = self._idle.get()
        try:
            try:
                send(process.stdin, job)
                answer = receive(process.stdout)
            except (EOFError, OSError):
                # Out of memory, as a rule: the next image may fit
                self._end(process)
                if not self._closed:
                    process = self._start()
                return Result(job, "the process writing its variants died")
        finally:
            self._idle.put(process)

        if isinstance(answer, OSError):
            raise answer
        return answer

    def _start(self):
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(
            filter(None, [os.environ.get("PYTHONPATH"), root])
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "fiftyone_iqa.corrupted.writer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            # Ctrl-C is for the parent, which then ends its workers
            start_new_session=True,
        )
        self._all.append(process)
        send(process.stdin, self._settings)
        return process

    def _end(self, process):
        if process not in self._all:
            return
        self._all.remove(process)
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            try:
                stream.close()
            except OSError:
                pass


def main() -> None:
    """Serves jobs until the parent closes the pipe or dies."""
    import cv2

    # One core per process is what the parent has counted on
    cv2.setNumThreads(1)
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a print must not corrupt the protocol
    try:
        settings = receive(stdin)
        while True:
            job = receive(stdin)
            try:
                answer = write_variants(job, settings)
            except OSError as e:
                answer = e
            except MemoryError:
                answer = Result(job, "not enough memory for its variants")
            send(stdout, answer)
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass


if __name__ == "__main__":
    # Under its own name, so that its classes are those of the parent
    from fiftyone_iqa.corrupted import writer

    writer.main()
