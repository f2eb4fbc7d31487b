"""The benchmark's parts that run the engine alone: ours and the limit."""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from operator import itemgetter
from pathlib import Path

import fiftyone as fo
import numpy as np
from _benchmark_race import BATCH, Contender, Pair, race

from fiftyone_iqa.encoders import get_encoder
from fiftyone_iqa.images import read_image
from fiftyone_iqa.metrics.registry import Scorer
from fiftyone_iqa.metrics.zsclip import ZSCLIPScorer
from fiftyone_iqa.preprocessing import ResizeCrop
from fiftyone_iqa.scoring.cache import EmbeddingCache, Source
from fiftyone_iqa.scoring.decode import default_num_workers
from fiftyone_iqa.scoring.pipeline import Item, Pipeline
from fiftyone_iqa.scoring.source import Row, open_source

N_CLASSES = 1000
# Not a function of this script: workers do not import it
_ONE_PIXEL = itemgetter((slice(1), slice(1)))


# (c) the decode limit -------------------------------------------------------


class _Nothing(Scorer):
    """A metric that costs nothing: what is left is the engine."""

    def __init__(self, key, prepare):
        self.input_key = key
        self.prepare = prepare

    def features(self, inputs):
        return np.zeros((len(inputs), 1))

    def score(self, features):
        return {"": features[:, 0]}


def _read_and(prepare, path):
    return prepare(read_image(path)).shape


def limit(paths, repeats):
    """The engine with a metric that does nothing, against bare decoding."""
    workers = default_num_workers()
    rows = []
    for name, prepare in (
        ("decode", _ONE_PIXEL),
        ("decode, crop 224", ResizeCrop(224, 224)),
    ):
        with (
            ThreadPoolExecutor(workers) as threads,
            ProcessPoolExecutor(workers, get_context("spawn")) as processes,
        ):
            read = partial(_read_and, prepare)
            bare = f"{name}: bare, {workers} processes"
            rows += race(
                "limit",
                [
                    Contender(
                        bare,
                        lambda e=processes, f=read: _map(e, f, paths),
                    ),
                    Contender(
                        f"{name}: bare, {workers} threads",
                        lambda e=threads, f=read: _map(e, f, paths),
                    ),
                    *(
                        Contender(
                            f"{name}: engine, {workers} {kind}",
                            _engine(paths, prepare, workers, kind),
                        )
                        for kind in ("threads", "processes")
                    ),
                ],
                [
                    Pair(f"{name}: engine, {workers} threads", bare, 0.9),
                    Pair(f"{name}: engine, {workers} processes", bare),
                ],
                repeats,
            )
    return rows


def _map(executor, function, paths):
    return len(list(executor.map(function, paths, chunksize=8)))


def _engine(paths, prepare, workers, kind):
    items = [Item(i, path, None, ("m",)) for i, path in enumerate(paths)]
    kind = {"threads": "thread", "processes": "process"}[kind]

    def run():
        scorers = {"m": _Nothing("nothing", prepare)}
        pipeline = Pipeline(scorers, BATCH, workers, kind, use_cache=False)
        try:
            # Workers start once in a run of hours, not in one of seconds
            for _ in pipeline.run(items[:BATCH]):
                pass
            start = time.perf_counter()
            n = sum(map(len, pipeline.run(items)))
            return n, time.perf_counter() - start
        finally:
            pipeline.close()

    return run


# (d) writing ----------------------------------------------------------------


def writing(n, repeats):
    """Four values per sample: our bulk updates against sample.save()."""
    fields = [f"q{i}" for i in range(4)]
    dataset = _numbered(n)
    for field in fields:
        dataset.add_sample_field(field, fo.FloatField)
    source = open_source(dataset)
    source.read(fields)
    rng = np.random.default_rng(51)
    few = max(1, n // 10)

    def fresh(n):
        # Values that are there already would not be written
        return rng.random((n, len(fields))).tolist()

    def ours():
        values = fresh(n)
        start = time.perf_counter()
        for first in range(0, n, 2000):
            source.write(
                [
                    Row(i, dict(zip(fields, values[i])))
                    for i in range(first, min(n, first + 2000))
                ]
            )
        return n, time.perf_counter() - start

    def save():
        values = fresh(few)
        start = time.perf_counter()
        for sample, row in zip(dataset.limit(few), values):
            for field, value in zip(fields, row):
                sample[field] = value
            sample.save()
        return few, time.perf_counter() - start

    def set_values():
        values = fresh(n)
        start = time.perf_counter()
        ids = dataset.values("id")
        for i, field in enumerate(fields):
            column = {id_: row[i] for id_, row in zip(ids, values)}
            dataset.set_values(field, column, key_field="id")
        return n, time.perf_counter() - start

    try:
        return race(
            "writing",
            [
                Contender("engine, one bulk update of four fields", ours),
                Contender("set_values, a field at a time", set_values),
                Contender("sample.save()", save),
            ],
            [
                Pair(
                    "engine, one bulk update of four fields",
                    "sample.save()",
                    10,
                ),
                Pair("set_values, a field at a time", "sample.save()"),
            ],
            repeats,
            unit="samples/s",
        )
    finally:
        dataset.delete()


# (e) another label set ------------------------------------------------------


def rescoring(paths, n, repeats):
    """A new label set from cached embeddings, against scoring again.

    The engine looks up, checks the files and scores; only the write is left
    out, which :func:`writing` times.
    """
    encoder = get_encoder("lite")
    with tempfile.TemporaryDirectory() as folder:
        texts, links = fill_cache(encoder, paths, n, Path(folder))
        again = links[: len(paths)]
        with own_cache(Path(folder)):
            return race(
                "rescoring",
                [
                    Contender(
                        "engine, from cached embeddings",
                        score_items(encoder, texts, links, use_cache=True),
                    ),
                    Contender(
                        "engine, decoding and embedding again",
                        score_items(encoder, texts, again, use_cache=False),
                    ),
                ],
                [
                    Pair(
                        "engine, from cached embeddings",
                        "engine, decoding and embedding again",
                        50,
                    )
                ],
                repeats,
            )


def fill_cache(encoder, paths, n, folder):
    """Makes n linked files whose embeddings, random ones, are cached.

    Returns:
        ``(k, d)`` embeddings of the classes, and the paths of the links
    """
    rng = np.random.default_rng(51)
    texts = encoder.encode_texts(
        [f"a photo of a thing {i}." for i in range(N_CLASSES)]
    )
    links = link_files(paths, n, folder / "images")
    with own_cache(folder):
        space = ZSCLIPScorer(encoder, texts, 1.0).cache_space
        cache = EmbeddingCache(space)
        for start in range(0, n, 1000):
            part = links[start : start + 1000]
            vectors = rng.normal(size=(len(part), texts.shape[1]))
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            cache.put([Source.of_file(path) for path in part], vectors)
        cache.close()
    return texts, links


def link_files(paths, n, folder):
    """Returns n paths of files, by linking the given ones over and over."""
    folder.mkdir()
    links = [str(folder / f"{i:07d}.jpg") for i in range(n)]
    for i, link in enumerate(links):
        os.symlink(os.path.abspath(paths[i % len(paths)]), link)
    return links


@contextmanager
def own_cache(folder):
    """Sets the folder of the embedding cache for a while."""
    name = "FIFTYONE_IQA_CACHE_DIR"
    before = os.environ.get(name)
    os.environ[name] = str(folder / "cache")
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def score_items(encoder, texts, paths, use_cache):
    """Returns a function that scores files and returns how many."""
    items = [Item(i, path, None, ("zsclip",)) for i, path in enumerate(paths)]

    def run():
        scorer = ZSCLIPScorer(encoder, texts, encoder.logit_scale)
        pipeline = Pipeline(
            {"zsclip": scorer},
            BATCH,
            default_num_workers(),
            "thread",
            use_cache=use_cache,
        )
        try:
            return sum(map(len, pipeline.run(items)))
        finally:
            pipeline.close()

    return run


def _numbered(n):
    dataset = fo.Dataset()
    dataset.add_samples(
        [fo.Sample(filepath=f"/none/{i}.jpg") for i in range(n)],
        progress=False,
    )
    return dataset
