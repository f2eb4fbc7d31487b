"""The engine: decode once, batch, run the device, write, for all metrics.

Main thread: batches of prepared images go through each scorer's features and
score, and rows are flushed to the source every second or so. Decode workers
run ahead by a bounded number of images. Embeddings found in the cache skip
decoding.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np

from ..errors import ImageFailureError
from ..metrics.registry import Prediction, Scorer
from .cache import EmbeddingCache, Source
from .decode import DecodePool
from .prepare import Job
from .source import Row

# Cache look-ups and all-cached batches, in items
_CHUNK = 1024
_END = object()
_FLUSH_ROWS = 2000
_FLUSH_SECONDS = 2.0


@dataclass
class Item:
    """One image (or object) to score.

    Attributes:
        index: its position in the source
        path: of the file
        crop_box: relative box to cut out, or None
        needs: keys of the metrics to compute
    """

    index: int
    path: str
    crop_box: tuple | None
    needs: tuple[str, ...]


@dataclass
class Outcome:
    """What an item got: values or a reason, by metric key."""

    item: Item
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


@dataclass
class Statistics:
    """Counters and seconds by stage."""

    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(
            ("decode", "wait", "model", "write", "cache"), 0.0
        )
    )
    n_decoded: int = 0
    n_from_cache: int = 0

    @contextmanager
    def timed(self, stage):
        """Adds the time spent inside to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start


class Pipeline:
    """Runs scorers over items.

    Args:
        scorers: scorers by metric key
        batch_size: images per batch
        num_workers: decode workers; 0 decodes in the calling thread
        worker_type: ``"thread"`` or ``"process"``
        use_cache: whether to read and write the embedding cache
    """

    def __init__(
        self,
        scorers: dict[str, Scorer],
        batch_size: int,
        num_workers: int,
        worker_type: str,
        use_cache: bool,
    ):
        self.statistics = Statistics()
        self._scorers = scorers
        self._batch_size = batch_size
        self._caches = {
            scorer.cache_space: EmbeddingCache(scorer.cache_space)
            for scorer in scorers.values()
            if use_cache and scorer.cache_space
        }
        preparers = {s.input_key: s.prepare for s in scorers.values()}
        self._pool = DecodePool(
            preparers, num_workers, worker_type, prefetch=2 * batch_size
        )

    def close(self) -> None:
        """Ends the workers and closes the cache."""
        self._pool.close()
        for cache in self._caches.values():
            cache.close()

    def run(self, items: list[Item]) -> Iterator[list[Outcome]]:
        """Yields the outcomes of batches of items."""
        self._by_index = {item.index: item for item in items}
        self._vectors: dict[tuple[int, str], np.ndarray] = {}
        self._sources: dict[int, Source] = {}
        self._cached_only: deque[Item] = deque()

        batch = []
        prepared = self._pool.map(self._jobs(items))
        while True:
            with self.statistics.timed("wait"):
                result = next(prepared, _END)
            yield from self._drain_cached()
            if result is _END:
                break
            if result is None:
                continue

            self.statistics.n_decoded += 1
            self.statistics.seconds["decode"] += result.seconds
            batch.append(result)
            if len(batch) == self._batch_size:
                yield self._score(batch)
                batch = []

        if batch:
            yield self._score(batch)

    # -- what to decode -----------------------------------------------------

    def _jobs(self, items):
        for start in range(0, len(items), _CHUNK):
            chunk = items[start : start + _CHUNK]
            with self.statistics.timed("cache"):
                self._look_up(chunk)
            for item in chunk:
                inputs = {
                    self._scorers[key].input_key
                    for key in item.needs
                    if (item.index, key) not in self._vectors
                }
                if inputs:
                    yield Job(
                        item.index,
                        item.path,
                        item.crop_box,
                        tuple(sorted(inputs)),
                    )
                else:
                    self._cached_only.append(item)
            if self._cached_only:
                yield None  # their turn, before more is read

    def _look_up(self, items):
        if not self._caches:
            return

        sources = [Source.of_file(i.path, i.crop_box) for i in items]
        self._sources.update((i.index, s) for i, s in zip(items, sources))
        for key, scorer in self._scorers.items():
            cache = self._caches.get(scorer.cache_space)
            if cache is None:
                continue
            wanted = [
                (item, source)
                for item, source in zip(items, sources)
                if key in item.needs
            ]
            vectors = cache.get([source for _, source in wanted])
            for (item, _), vector in zip(wanted, vectors):
                if vector is not None:
                    self._vectors[item.index, key] = vector

    def _drain_cached(self):
        while self._cached_only:
            n = min(len(self._cached_only), _CHUNK)
            items = [self._cached_only.popleft() for _ in range(n)]
            yield self._score_inputs([(item, {}, {}) for item in items])

    # -- scoring --------------------------------------------------------------

    def _score(self, batch):
        return self._score_inputs(
            [(self._by_index[r.job.index], r.inputs, r.errors) for r in batch]
        )

    def _score_inputs(self, batch):
        outcomes = [Outcome(item) for item, _, _ in batch]
        computed: dict[tuple[int, str], np.ndarray] = {}
        with self.statistics.timed("model"), self._undisturbed():
            for key, scorer in self._scorers.items():
                self._score_metric(key, scorer, batch, outcomes, computed)
        for item, _, _ in batch:
            self._sources.pop(item.index, None)
        return outcomes

    def _undisturbed(self):
        """Pauses decoding while a network runs on the same cores.

        Its threads wait for one another: a core that decodes for a moment
        holds up all of them, and the network takes a third longer.
        """
        on_cpu = all(s.device == "cpu" for s in self._scorers.values())
        return self._pool.paused() if on_cpu else nullcontext()

    def _score_metric(self, key, scorer, batch, outcomes, computed):
        rows, features, to_compute = [], {}, []
        for row, (item, _, errors) in enumerate(batch):
            if key not in item.needs:
                continue
            vector = self._vectors.pop((item.index, key), None)
            if vector is not None:
                self.statistics.n_from_cache += 1
                features[row] = vector
            elif (row, scorer.cache_space) in computed:
                features[row] = computed[row, scorer.cache_space]
            elif scorer.input_key in errors:
                outcomes[row].failures[key] = errors[scorer.input_key]
                continue
            else:
                to_compute.append(row)
            rows.append(row)

        inputs = [batch[row][1][scorer.input_key] for row in to_compute]
        fresh, reasons = _isolated(scorer.features, inputs)
        for row, vector, reason in zip(to_compute, fresh, reasons):
            if reason is None and not np.isfinite(vector).all():
                reason = "the metric's features are not finite"
            if reason is not None:
                outcomes[row].failures[key] = reason
                rows.remove(row)
                continue
            features[row] = vector
            if scorer.cache_space:
                computed[row, scorer.cache_space] = vector

        self._store(scorer, batch, to_compute, features)
        if rows:
            self._finish(key, scorer, rows, features, outcomes)

    def _store(self, scorer, batch, computed_rows, features):
        cache = self._caches.get(scorer.cache_space)
        rows = [row for row in computed_rows if row in features]
        if cache is None or not rows:
            return
        # As they were before decoding: a file that changed meanwhile is stale
        cache.put(
            [self._sources[batch[row][0].index] for row in rows],
            np.stack([features[row] for row in rows]),
        )

    @staticmethod
    def _finish(key, scorer, rows, features, outcomes):
        scores = scorer.score(np.stack([features[row] for row in rows]))
        for position, row in enumerate(rows):
            values = {s: column[position] for s, column in scores.items()}
            values = {
                s: v if isinstance(v, Prediction) else float(v)
                for s, v in values.items()
            }
            if all(map(_is_finite, values.values())):
                outcomes[row].values[key] = values
            else:
                outcomes[row].failures[key] = "the score is not finite"


def _is_finite(value):
    if isinstance(value, Prediction):
        value = value.confidence
    return math.isfinite(value)


def _isolated(compute, inputs):
    """Runs a batch; if it fails, each input alone, to find the culprits.

    Returns:
        ``(list of results or None, list of reasons or None)``

    Raises:
        Exception: what ``compute`` raises, if every input fails: then the
            inputs are not to blame
    """
    if not inputs:
        return [], []

    try:
        return list(compute(inputs)), [None] * len(inputs)
    except Exception as e:
        error = e
        if len(inputs) == 1:
            raise

    results, reasons = [], []
    for one in inputs:
        try:
            results.append(compute([one])[0])
            reasons.append(None)
        except Exception as e:
            results.append(None)
            reasons.append(f"{type(e).__name__}: {e}")
    if all(reasons):
        raise error
    return results, reasons


class Writer:
    """Buffers rows and flushes them, a bounded time after they were made.

    Args:
        source: a :class:`fiftyone_iqa.scoring.source.SampleSource`
        statistics: where the time spent is counted
    """

    def __init__(self, source, statistics: Statistics):
        self._source = source
        self._statistics = statistics
        self._rows: list[Row] = []
        self._last = time.monotonic()

    def add(self, rows: list[Row]) -> None:
        """Adds rows, and flushes when it is time."""
        self._rows.extend(rows)
        due = time.monotonic() - self._last > _FLUSH_SECONDS
        if due or len(self._rows) >= _FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Writes what is buffered.

        Rows that could not be written are dropped, or the flush that ends
        every run would wait for the same database again; the next run scores
        them. Ctrl-C is no such failure.
        """
        try:
            if self._rows:
                with self._statistics.timed("write"):
                    self._source.write(self._rows)
                    self._source.check_there()
        except Exception:
            self._rows = []
            raise
        self._rows = []
        self._last = time.monotonic()


def raise_first_failure(outcomes: list[Outcome]) -> None:
    """Raises for the first failure among outcomes, if there is one.

    Raises:
        ImageFailureError: naming the file and the reason
    """
    for outcome in outcomes:
        for key, reason in outcome.failures.items():
            raise ImageFailureError(
                f"{outcome.item.path}: {key}: {reason}. What was scored "
                "before it is kept; skip_failures=True carries on"
            )
