"""The benchmark's parts: ours and the alternative, side by side."""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from operator import itemgetter
from pathlib import Path

import fiftyone as fo
import numpy as np
from _benchmark_race import Contender, race

import fiftyone_iqa as fiqa
from fiftyone_iqa.encoders import get_encoder
from fiftyone_iqa.images import read_image
from fiftyone_iqa.metrics.registry import Scorer
from fiftyone_iqa.metrics.zsclip import zsclip_scores
from fiftyone_iqa.models import get_task_model
from fiftyone_iqa.preprocessing import ResizeCrop
from fiftyone_iqa.scoring.cache import EmbeddingCache, Source
from fiftyone_iqa.scoring.decode import default_num_workers
from fiftyone_iqa.scoring.pipeline import Item, Pipeline
from fiftyone_iqa.scoring.source import Row, open_source

ARCHITECTURE = "ViT-B-32"
BATCH = 32
CLASSES = tuple(f"thing {i}" for i in range(1000))
FEW = CLASSES[:100]
# Not a function of this script: workers do not import it
_ONE_PIXEL = itemgetter((slice(1), slice(1)))


# (a) CLIP -------------------------------------------------------------------


def clip(paths, repeats):
    """ViT-B-32 at random weights, ours against FiftyOne's apply_model."""
    with tempfile.TemporaryDirectory() as folder:
        weights = _random_clip(Path(folder))
        encoders = {
            p: get_encoder(f"{ARCHITECTURE}/{weights}", precision=p)
            for p in ("fp32", "bf16")
        }
        dataset = _dataset(paths)
        stock = _stock_clip(weights)
        try:
            return race(
                "clip",
                [
                    *_bare_models(encoders, paths),
                    *(
                        Contender(
                            f"compute_quality, {p}", _score(dataset, encoder)
                        )
                        for p, encoder in encoders.items()
                    ),
                    Contender(
                        "apply_model + compute_hardness, as it comes",
                        _apply(dataset, stock),
                    ),
                    Contender(
                        "apply_model + compute_hardness, batch 32, 2 workers",
                        _apply(dataset, stock, batch_size=32, num_workers=2),
                    ),
                ],
                {
                    "compute_quality, fp32": "model alone, fp32",
                    "compute_quality, bf16": "model alone, bf16",
                    "apply_model + compute_hardness, as it comes": (
                        "compute_quality, fp32"
                    ),
                    "apply_model + compute_hardness, batch 32, 2 workers": (
                        "compute_quality, fp32"
                    ),
                },
                repeats,
            )
        finally:
            dataset.delete()


def _random_clip(folder):
    import open_clip
    import torch

    torch.manual_seed(51)
    model = open_clip.create_model(ARCHITECTURE)
    path = folder / "random.pt"
    torch.save(model.state_dict(), path)
    return path


def _bare_models(encoders, paths):
    encoder = next(iter(encoders.values()))
    batch = np.stack(
        [encoder.preprocessing(read_image(p)) for p in paths[:BATCH]]
    )
    passes = max(1, len(paths) // BATCH)

    def run(encoder):
        for _ in range(passes):
            encoder.encode_images(batch)
        return passes * BATCH

    return [
        Contender(f"model alone, {p}", lambda e=e: run(e))
        for p, e in encoders.items()
    ]


def _score(dataset, encoder):
    def run():
        report = fiqa.compute_quality(
            dataset,
            "zsclip",
            classes=list(FEW),
            encoder=encoder,
            field_prefix=encoder.precision,
            overwrite=True,
            cache=False,
            progress=False,
        )
        return report.n

    return run


def _stock_clip(weights):
    from fiftyone.utils.open_clip import (
        TorchOpenClipModel,
        TorchOpenClipModelConfig,
    )

    return TorchOpenClipModel(
        TorchOpenClipModelConfig(
            {
                "text_prompt": "a photo of a",
                "clip_model": ARCHITECTURE,
                "pretrained": str(weights),
                "classes": list(FEW),
                "output_processor_cls": (
                    "fiftyone.utils.torch.ClassifierOutputProcessor"
                ),
            }
        )
    )


def _apply(dataset, model, field="stock", **options):
    import fiftyone.brain as fob

    def run():
        dataset.apply_model(
            model,
            label_field=field,
            store_logits=True,
            progress=False,
            **options,
        )
        fob.compute_hardness(dataset, field, progress=False)
        return len(dataset)

    return run


def lite(paths, repeats):
    """The offline encoder and a task model, in one pass or one by one."""
    encoder = get_encoder("lite")
    model = get_task_model("efficientnet_lite2")
    dataset = _dataset(paths)

    def together():
        return fiqa.compute_predictions(
            dataset,
            model,
            metrics=("zsclip",),
            classes=list(FEW),
            encoder=encoder,
            overwrite=True,
            cache=False,
            progress=False,
        ).n

    networks = (
        _torch_model(encoder.encode_images, encoder.preprocessing),
        _torch_model(model.logits, model.preprocessing),
    )

    def one_by_one():
        for i, network in enumerate(networks):
            dataset.apply_model(
                network,
                label_field=f"one_{i}",
                store_logits=True,
                batch_size=BATCH,
                num_workers=2,
                progress=False,
            )
        return len(dataset)

    try:
        return race(
            "lite",
            [
                Contender("lite and a task model in one pass", together),
                Contender("apply_model, one after the other", one_by_one),
            ],
            {
                "lite and a task model in one pass": (
                    "apply_model, one after the other"
                )
            },
            repeats,
        )
    finally:
        dataset.delete()


def _torch_model(function, preprocessing):
    """Returns a network of this package as FiftyOne's own kind of model."""
    import fiftyone.utils.torch as fout
    import torch

    class Network(torch.nn.Module):
        def forward(self, batch):
            return torch.from_numpy(function(batch))

    def transform(image):
        return torch.from_numpy(preprocessing(np.asarray(image)))

    probe = transform(np.zeros((300, 300, 3), np.uint8))
    width = function(probe[None]).shape[1]
    return fout.TorchImageModel(
        fout.TorchImageModelConfig(
            {
                "model": Network(),
                "transforms": transform,
                "ragged_batches": False,
                "classes": [str(i) for i in range(width)],
                "output_processor_cls": (
                    "fiftyone.utils.torch.ClassifierOutputProcessor"
                ),
            }
        )
    )


# (b) several metrics --------------------------------------------------------


def several(paths, repeats):
    """zsclip + brisque + tv, ours against one loop or pass per metric."""
    import pyiqa

    from fiftyone_iqa.metrics.tv import total_variation

    names = ("zsclip", "brisque", "tv")
    encoder = get_encoder("lite")
    brisque = pyiqa.create_metric("brisque", device="cpu")
    texts = encoder.encode_texts([f"a photo of a {c}." for c in FEW])
    dataset = _dataset(paths)

    def zsclip(path):
        pixels = encoder.preprocessing(read_image(path))
        embedding = encoder.encode_images(pixels[None])
        return zsclip_scores(embedding, texts, encoder.logit_scale)

    def loop():
        for name, function in (
            ("loop_zsclip", lambda path: float(zsclip(path)["qp"][0])),
            ("loop_brisque", lambda path: float(brisque(path))),
            ("loop_tv", lambda path: total_variation(read_image(path))),
        ):
            for sample in dataset:
                sample[name] = function(sample.filepath)
                sample.save()
        return len(dataset)

    def ours(metrics, one_by_one=False):
        def run():
            for chosen in metrics if one_by_one else [metrics]:
                fiqa.compute_quality(
                    dataset,
                    chosen,
                    classes=list(FEW),
                    encoder=encoder,
                    overwrite=True,
                    cache=False,
                    progress=False,
                )
            return len(dataset)

        return run

    try:
        return race(
            "several",
            [
                Contender("compute_quality, one pass", ours(names)),
                Contender("compute_quality, a pass each", ours(names, True)),
                Contender(
                    "a loop per metric: pyiqa, encoder, tv; sample.save()",
                    loop,
                ),
            ],
            "a loop per metric: pyiqa, encoder, tv; sample.save()",
            repeats,
        )
    finally:
        dataset.delete()


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
                bare,
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
    values = rng.random((n, len(fields))).tolist()
    few = max(1, n // 10)

    def ours():
        for start in range(0, n, 2000):
            stop = min(n, start + 2000)
            source.write(
                [
                    Row(i, dict(zip(fields, values[i])))
                    for i in range(start, stop)
                ]
            )
        return n

    def save():
        for sample, row in zip(dataset.limit(few), values):
            for field, value in zip(fields, row):
                sample[field] = value
            sample.save()
        return few

    def set_values():
        ids = dataset.values("id")
        for i, field in enumerate(fields):
            column = {id_: row[i] for id_, row in zip(ids, values)}
            dataset.set_values(field, column, key_field="id")
        return n

    try:
        return race(
            "writing",
            [
                Contender("engine, one bulk update of four fields", ours),
                Contender("set_values, a field at a time", set_values),
                Contender("sample.save()", save),
            ],
            "sample.save()",
            repeats,
            unit="samples/s",
        )
    finally:
        dataset.delete()


# (e) another label set ------------------------------------------------------


def rescoring(paths, n, repeats):
    """A new label set from cached embeddings, against scoring again."""
    encoder = get_encoder("lite")
    dimension = encoder.encode_texts(["a photo of a cat."]).shape[1]
    texts = encoder.encode_texts([f"a photo of a {c}." for c in CLASSES])
    rng = np.random.default_rng(51)

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        links = []
        for i in range(n):
            links.append(str(folder / f"{i}.jpg"))
            os.link(paths[i % len(paths)], links[-1])
        cache = EmbeddingCache("benchmark", folder / "cache")
        for start in range(0, n, 1000):
            part = links[start : start + 1000]
            vectors = rng.normal(size=(len(part), dimension))
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            cache.put([Source.of_file(path) for path in part], vectors)

        def from_cache():
            for start in range(0, n, 1024):
                part = links[start : start + 1024]
                found = cache.get([Source.of_file(path) for path in part])
                zsclip_scores(np.stack(found), texts, encoder.logit_scale)
            return n

        def again():
            pixels = [encoder.preprocessing(read_image(p)) for p in paths]
            for start in range(0, len(pixels), BATCH):
                part = np.stack(pixels[start : start + BATCH])
                zsclip_scores(
                    encoder.encode_images(part), texts, encoder.logit_scale
                )
            return len(paths)

        try:
            return race(
                "rescoring",
                [
                    Contender("cache to scores, before the write", from_cache),
                    Contender("decode, embed, score", again),
                ],
                "decode, embed, score",
                repeats,
            )
        finally:
            cache.close()


def _numbered(n):
    dataset = fo.Dataset()
    dataset.add_samples(
        [fo.Sample(filepath=f"/none/{i}.jpg") for i in range(n)],
        progress=False,
    )
    return dataset


def _dataset(paths):
    dataset = fo.Dataset()
    dataset.add_samples(
        [fo.Sample(filepath=str(path)) for path in paths], progress=False
    )
    return dataset
