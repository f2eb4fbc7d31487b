"""Pools that decode ahead of the model, in threads or in processes."""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..errors import IQAError
from .prepare import Job, Prepared, prepare
from .worker import READY, receive, send

WORKER_TYPES = ("thread", "process")
_MAX_DEFAULT_WORKERS = 16

# Metrics at native size hand whole images over: 14 of 12 megapixels
_MAX_BYTES_WAITING = 512 * 1024**2


def default_num_workers() -> int:
    """Returns one worker per available core, at most 16."""
    if hasattr(os, "sched_getaffinity"):
        available = len(os.sched_getaffinity(0))
    else:
        available = os.cpu_count() or 1
    return min(available, _MAX_DEFAULT_WORKERS)


class DecodePool:
    """Prepares jobs in order, a bounded number ahead.

    Args:
        preparers: callables by input key
        num_workers: how many images are decoded at once; 0 decodes in the
            calling thread
        worker_type: ``"thread"`` or ``"process"``
        prefetch: how many results may wait

    Raises:
        IQAError: if a preparer cannot be sent to a process, or loaded there
    """

    def __init__(self, preparers, num_workers, worker_type, prefetch):
        self._preparers = preparers
        self._executor = None
        self._processes = None
        self._num_workers = num_workers
        self._window = max(prefetch, num_workers)
        if num_workers == 0:
            return

        if worker_type == "process":
            self._processes = _Processes(preparers, num_workers)
        self._executor = ThreadPoolExecutor(
            num_workers, thread_name_prefix="iqa-decode"
        )

    def map(self, jobs: Iterable[Job]) -> Iterator[Prepared]:
        """Yields the results of ``jobs``, in order."""
        if self._executor is None:
            for job in jobs:
                yield prepare(job, self._preparers)
            return

        pending = deque()
        waiting = _Waiting()
        for job in jobs:
            future = self._executor.submit(self._prepare, job)
            future.add_done_callback(waiting.add)
            pending.append(future)
            while len(pending) >= self._window or (
                len(pending) > self._num_workers
                and waiting.nbytes > _MAX_BYTES_WAITING
            ):
                yield waiting.take(pending.popleft())
        while pending:
            yield waiting.take(pending.popleft())

    def close(self) -> None:
        """Drops waiting jobs and ends the workers."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
        if self._processes is not None:
            self._processes.close()

    def _prepare(self, job):
        if self._processes is None:
            return prepare(job, self._preparers)
        return self._processes.prepare(job)


class _Waiting:
    """Counts the bytes of the results that nobody has taken yet."""

    def __init__(self):
        self._lock = threading.Lock()
        self.nbytes = 0

    def add(self, future):
        """Counts a future that is done; its callback, in any thread."""
        if not future.cancelled() and future.exception() is None:
            self._count(_nbytes(future.result()))

    def take(self, future):
        """Returns a future's result, which then waits no more."""
        prepared = future.result()
        self._count(-_nbytes(prepared))
        return prepared

    def _count(self, nbytes):
        with self._lock:
            self.nbytes += nbytes


def _nbytes(prepared):
    return sum(
        array.nbytes
        for array in prepared.inputs.values()
        if hasattr(array, "nbytes")
    )


class _Processes:
    """Worker processes, each used by one thread at a time."""

    def __init__(self, preparers, num_workers):
        self._preparers = preparers
        self._idle = queue.SimpleQueue()
        self._all = []
        try:
            # All at once: each takes tenths of a second to be ready
            for process in [self._start() for _ in range(num_workers)]:
                self._await(process)
                self._idle.put(process)
        except Exception:
            self.close()
            raise

    def prepare(self, job):
        """Runs a job; a worker that dies is replaced and the job retried."""
        process = self._idle.get()
        try:
            for _ in range(2):
                try:
                    send(process.stdin, job)
                    return receive(process.stdout)
                except (EOFError, BrokenPipeError, OSError):
                    self._end(process)
                    process = self._start()
                    self._await(process)
        finally:
            self._idle.put(process)

        reason = "the decoding process died twice on this image"
        return Prepared(job, errors=dict.fromkeys(job.inputs, reason))

    def close(self):
        for process in list(self._all):
            self._end(process)

    def _start(self):
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(
            filter(None, [os.environ.get("PYTHONPATH"), root])
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "fiftyone_iqa.scoring.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            # Ctrl-C is for the parent, which then ends its workers
            start_new_session=True,
        )
        self._all.append(process)
        try:
            send(process.stdin, self._preparers)
        except (pickle.PicklingError, AttributeError, TypeError) as e:
            raise IQAError(
                "This encoder's preprocessing cannot be sent to worker "
                f"processes ({e}); use worker_type='thread'"
            ) from None
        return process

    def _await(self, process):
        """Waits until a worker is ready.

        Raises:
            IQAError: if it cannot load the preparers
        """
        try:
            said = receive(process.stdout)
        except (EOFError, OSError):
            # Its death is noticed, and answered, at its first job
            return
        if said != READY:
            raise IQAError(
                "Worker processes cannot load this metric's preprocessing "
                f"({said}): it must live in a module they can import; or use "
                "worker_type='thread'"
            )

    def _end(self, process):
        self._all.remove(process)
        for stream in (process.stdin, process.stdout):
            try:
                stream.close()
            except OSError:
                pass
        process.kill()
        process.wait()
