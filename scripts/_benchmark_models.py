"""The benchmark's parts that run networks: ours and the alternative."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import fiftyone as fo
import numpy as np
from _benchmark_race import BATCH, Contender, Pair, race

import fiftyone_iqa as fiqa
from fiftyone_iqa.encoders import get_encoder
from fiftyone_iqa.images import read_image
from fiftyone_iqa.metrics.zsclip import zsclip_scores
from fiftyone_iqa.models import get_task_model

ARCHITECTURE = "ViT-B-32"
_ONE_BY_ONE = "apply_model, one after the other, fp32"
_LOOP = "a loop per metric: pyiqa, encoder, tv; sample.save()"
_STOCK = "apply_model + compute_hardness, batch 32, 2 workers"
CLASSES = tuple(f"thing {i}" for i in range(100))


# (a) CLIP -------------------------------------------------------------------


def clip(paths, repeats):
    """ViT-B-32 at random weights, ours against FiftyOne's apply_model."""
    with tempfile.TemporaryDirectory() as folder:
        weights = _random_clip(Path(folder))
        encoders = {
            p: _embed_texts_once(
                get_encoder(f"{ARCHITECTURE}/{weights}", precision=p)
            )
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
                        _STOCK,
                        _apply(dataset, stock, batch_size=32, num_workers=2),
                    ),
                ],
                [
                    Pair("compute_quality, fp32", "model alone, fp32", 0.93),
                    Pair("compute_quality, bf16", "model alone, bf16", 0.85),
                    Pair("compute_quality, fp32", _STOCK),
                    # Where the processor has bf16 units
                    Pair("compute_quality, bf16", _STOCK, 2.5),
                ],
                repeats,
            )
        finally:
            dataset.delete()


def _embed_texts_once(encoder):
    """Lets an encoder remember its texts, as FiftyOne's models do.

    With the cache on it would remember images too.
    """
    encode = encoder.encode_texts
    remembered = functools.cache(lambda texts: encode(list(texts)))
    encoder.encode_texts = lambda texts: remembered(tuple(texts))
    return encoder


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
            classes=list(CLASSES),
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
                "classes": list(CLASSES),
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
    encoders = {
        p: _embed_texts_once(get_encoder("lite", precision=p))
        for p in ("fp32", "bf16")
    }
    models = {
        p: get_task_model("efficientnet_lite2", precision=p) for p in encoders
    }
    encoder, model = encoders["fp32"], models["fp32"]
    dataset = _dataset(paths)

    def together(precision):
        return fiqa.compute_predictions(
            dataset,
            models[precision],
            field=precision,
            field_prefix=precision,
            metrics=("zsclip",),
            classes=list(CLASSES),
            encoder=encoders[precision],
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
                *(
                    Contender(
                        f"lite and a task model in one pass, {p}",
                        lambda p=p: together(p),
                    )
                    for p in encoders
                ),
                Contender(_ONE_BY_ONE, one_by_one),
            ],
            [
                Pair("lite and a task model in one pass, fp32", _ONE_BY_ONE),
                # What precision="auto" takes where bf16 is faster
                Pair(
                    "lite and a task model in one pass, bf16", _ONE_BY_ONE, 2
                ),
            ],
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
    encoder = _embed_texts_once(get_encoder("lite"))
    brisque = pyiqa.create_metric("brisque", device="cpu")
    texts = encoder.encode_texts([f"a photo of a {c}." for c in CLASSES])
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
                    classes=list(CLASSES),
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
                Contender(_LOOP, loop),
            ],
            [
                Pair("compute_quality, one pass", _LOOP, 3),
                Pair(
                    "compute_quality, one pass", "compute_quality, a pass each"
                ),
            ],
            repeats,
        )
    finally:
        dataset.delete()


def _dataset(paths):
    dataset = fo.Dataset()
    dataset.add_samples(
        [fo.Sample(filepath=str(path)) for path in paths], progress=False
    )
    return dataset
