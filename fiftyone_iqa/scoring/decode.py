"""Pools that decode ahead of the model, in threads or in processes."""

from __future__ import annotations

import os
import pickle
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from ..errors import IQAError
from ..processes import SetupError, WorkerDiedError, Workers
from .prepare import Job, Prepared, prepare

WORKER_TYPES = ("thread", "process")
_MAX_DEFAULT_WORKERS = 16
_MODULE = "fiftyone_iqa.scoring.worker"

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
        self._may_start = threading.Event()
        self._may_start.set()
        self._executor = None
        self._workers = None
        self._num_workers = num_workers
        self._window = max(prefetch, num_workers)
        if num_workers == 0:
            return

        if worker_type == "process":
            try:
                self._workers = Workers(_MODULE, preparers, num_workers)
            except (pickle.PicklingError, AttributeError, TypeError) as e:
                raise IQAError(
                    "This encoder's preprocessing cannot be sent to worker "
                    f"processes ({e}); use worker_type='thread'"
                ) from None
            except SetupError as e:
                raise IQAError(
                    "Worker processes cannot load this metric's preprocessing "
                    f"({e}): it must live in a module they can import; or use "
                    "worker_type='thread'"
                ) from None
        self._executor = ThreadPoolExecutor(
            num_workers, thread_name_prefix="iqa-decode"
        )

    def map(self, jobs: Iterable[Job | None]) -> Iterator[Prepared | None]:
        """Yields the results of ``jobs``, in order.

        A None among the jobs is yielded at once, and gives the caller a turn.
        """
        if self._executor is None:
            for job in jobs:
                yield job and prepare(job, self._preparers)
            return

        pending = deque()
        waiting = _Waiting()
        for job in jobs:
            if job is None:
                yield None
                continue
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

    @contextmanager
    def paused(self):
        """No image is begun inside; those that were are finished."""
        self._may_start.clear()
        try:
            yield
        finally:
            self._may_start.set()

    def close(self) -> None:
        """Drops waiting jobs and ends the workers."""
        self._may_start.set()
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        if self._workers is not None:
            self._workers.close()
        if self._executor is not None:
            self._executor.shutdown(wait=True)

    def _prepare(self, job):
        self._may_start.wait()
        if self._workers is None:
            return prepare(job, self._preparers)
        try:
            return self._workers.ask(job)
        except WorkerDiedError:
            reason = "the decoding process died twice on this image"
            return Prepared(job, errors=dict.fromkeys(job.inputs, reason))


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
