"""Runs several models over images, in any stage, resumably."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial

import numpy as np

from ..scoring.cache import EmbeddingCache, Source
from ..scoring.decode import DecodePool
from ..scoring.prepare import Job
from .stages import Stage

BATCH_SIZE = 32
_CACHED = 1024


class Runner:
    """Images through models.

    Args:
        batch_size: images at once
        num_workers: decode workers; 0 decodes in the calling thread
        use_cache: whether to read and write vectors on disk
        on_image: called once for each image and model

    Attributes:
        failures: path → reason, of the images that could not be read
    """

    def __init__(
        self,
        batch_size: int = BATCH_SIZE,
        num_workers: int = 0,
        use_cache: bool = True,
        on_image: Callable = lambda: None,
    ):
        self._batch_size = batch_size
        self._num_workers = num_workers
        self._use_cache = use_cache
        self._on_image = on_image
        self.failures: dict[str, str] = {}

    def run(self, stage: Stage, models, paths) -> dict[str, np.ndarray]:
        """Takes models over images.

        Args:
            stage: what to make of them
            models: task models of different slugs
            paths: of n images

        Returns:
            ``{slug: (n, d) float32}``; rows of NaN where an image could not
            be read, ``(n, 0)`` where none could
        """
        with ExitStack() as stack:
            caches = {
                model.slug: stack.enter_context(
                    closing(EmbeddingCache(stage.space(model)))
                )
                for model in models
                if self._use_cache
            }
            sources = {
                model.slug: [
                    _source(path, stage.key(model, row))
                    for row, path in enumerate(paths)
                ]
                for model in models
                if self._use_cache
            }
            found = {model.slug: [None] * len(paths) for model in models}
            for slug, cache in caches.items():
                found[slug] = cache.get(sources[slug])
            self._compute(stage, models, paths, found, caches, sources)
        return {slug: _stacked(rows) for slug, rows in found.items()}

    def _compute(self, stage, models, paths, found, caches, sources):
        jobs, wanted = [], {}
        for row, path in enumerate(paths):
            missing = [m for m in models if found[m.slug][row] is None]
            for _ in range(len(models) - len(missing)):
                self._on_image()
            if missing:
                wanted[row] = missing
                inputs = dict.fromkeys(stage.input_of(m) for m in missing)
                jobs.append(Job(row, path, None, tuple(inputs)))

        size = max(1, int(self._batch_size * stage.batch))
        flush = partial(self._flush, stage, found, caches, sources)
        pending = defaultdict(list)
        ahead = 2 * size if stage.batch else 2
        pool = DecodePool(
            stage.preparers(models), self._num_workers, "thread", ahead
        )
        try:
            for prepared in pool.map(jobs):
                row = prepared.job.index
                for model in wanted[row]:
                    key = stage.input_of(model)
                    if key in prepared.errors:
                        path = prepared.job.path
                        self.failures[path] = prepared.errors[key]
                        self._on_image()
                        continue
                    array = prepared.inputs[key]
                    # Zoo models may keep the aspect ratio
                    waiting = pending[model.slug, array.shape]
                    waiting.append((row, array))
                    if len(waiting) >= size:
                        flush(model, waiting)
            by_slug = {model.slug: model for model in models}
            for (slug, _), waiting in pending.items():
                flush(by_slug[slug], waiting)
        finally:
            pool.close()

    def _flush(self, stage, found, caches, sources, model, waiting):
        if not waiting:
            return
        rows = [row for row, _ in waiting]
        batch = np.stack([array for _, array in waiting])
        vectors = np.asarray(
            stage.vectors(model, batch, np.array(rows)), dtype=np.float32
        )
        waiting.clear()
        for row, vector in zip(rows, vectors):
            found[model.slug][row] = vector
            self._on_image()
        if model.slug in caches:
            chosen = [sources[model.slug][row] for row in rows]
            caches[model.slug].put(chosen, vectors)


def _source(path, key):
    source = Source.of_file(path)
    if key:
        digest = hashlib.sha256(source.key + key).digest()[:16]
        source = Source(digest, source.size, source.mtime)
    return source


def _stacked(rows):
    width = max((len(row) for row in rows if row is not None), default=0)
    table = np.full((len(rows), width), np.nan, np.float32)
    for i, row in enumerate(rows):
        if row is not None:
            table[i] = row
    return table
