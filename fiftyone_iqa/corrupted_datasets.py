"""Datasets of corrupted images: the grid of ImageNet-C, and mild mixtures."""

from __future__ import annotations

import hashlib
import itertools
import numbers

from .arguments import checked
from .corrupted.imagenet_c import load_imagenet_c
from .corrupted.run import Run
from .corrupted.sources import Sources
from .corrupted.writer import Settings
from .corruptions import CLEAN, SEVERITIES, list_corruptions
from .corruptions.protocols import NATIVE, check_protocol
from .corruptions.registry import (
    check_severity,
    get_corruption,
    random_state,
)
from .errors import IQAError

__all__ = ["corrupt_dataset", "load_imagenet_c", "mildly_corrupt_dataset"]

_FORMATS = ("jpg", "png")
_QUALITY = 85  # that of ImageNet-C's files


@checked
def corrupt_dataset(
    samples,
    corruptions=None,
    severities=SEVERITIES,
    images_dir=None,
    dataset=None,
    include_clean=True,
    protocol=NATIVE,
    image_format="jpg",
    quality=None,
    seed=51,
    fields=None,
    num_workers=None,
    progress=None,
):
    """Makes every image under every condition and severity.

    Variants are new samples with the fields ``corruption``, ``severity``,
    ``source_id`` (the source sample's id) and ``corruption_protocol``, the
    source's tags, and its labels. Predictions, quality scores and
    evaluations describe the old pixels and stay behind. Files are named
    ``<images_dir>/<corruption>/<severity>/<source_id>.jpg``, as in
    ImageNet-C.

    An image's variants depend on its pixels, the condition, the severity
    and ``seed``, and on nothing else. A call that was interrupted is resumed
    by calling again: files and samples that exist are kept.

    Boxes, masks and points are kept by the protocol ``native``. Only
    ``elastic_transform`` moves what they surround: by up to 49 pixels at
    severities 1 and 2 (a random shear), by a few at 3 to 5.

    Args:
        samples: a dataset or view of images; corrupted ones among them are
            no sources
        corruptions (None): names, see
            :func:`fiftyone_iqa.corruptions.list_corruptions`; by default all
            15
        severities ((1, 2, 3, 4, 5)): severities
        images_dir (None): folder of the new files, by default
            ``<fo.config.default_dataset_dir>/<dataset name>``
        dataset (None): where samples are added: a dataset (that of
            ``samples`` is fine), or the name of a new one; by default a new
            persistent one named ``<name>-corrupted``
        include_clean (True): whether the source images are there too, as
            ``corruption="clean"`` of severity 0. With ``native`` they are
            the source files themselves (the source samples, where
            ``dataset`` is their own)
        protocol ("native"): ``"native"`` corrupts at the image's own size;
            ``"imagenet-c"`` first resizes the shorter side to 256 and takes
            the central 224 pixels, clean images included, as the benchmark
            does; boxes, masks and points are left out then
        image_format ("jpg"): ``"jpg"`` or ``"png"``
        quality (None): JPEG quality, 1 to 100, by default 85, the
            benchmark's
        seed (51): an int
        fields (None): names of the sample fields to carry over, by default
            all label fields that hold no predictions (labels with
            confidences)
        num_workers (None): processes, by default one per core; 0 works in
            the calling one
        progress (None): whether to show a progress bar (True/False), the
            default of ``fo.config.show_progress_bars`` (None), or a callback
            as in FiftyOne

    Returns:
        the ``fo.Dataset`` with the variants. Sources that cannot be read
        have none; they are logged, and listed under ``failures`` in the
        dataset's ``info["iqa_corruptions"]``

    Raises:
        IQAError: if an argument is unusable; nothing has been made then
        OSError: if a file cannot be written; what was made is kept
    """
    conditions = _conditions(corruptions, severities)
    if include_clean:
        conditions.insert(0, (CLEAN, 0))
    settings = _settings(seed, protocol, image_format, quality)
    name = getattr(dataset, "name", dataset)
    run = Run(
        Sources(samples, name),
        dataset,
        "{}-corrupted",
        settings,
        images_dir,
        {"kind": "grid"},
        fields,
        num_workers,
    )
    return run.make(lambda index: conditions, conditions, progress)


@checked
def mildly_corrupt_dataset(
    samples,
    p,
    severities=(1, 2, 3),
    corruptions=None,
    seed=51,
    images_dir=None,
    dataset=None,
    protocol=NATIVE,
    image_format="jpg",
    quality=None,
    fields=None,
    num_workers=None,
    progress=None,
):
    """Makes a dataset of which a fraction of the images is corrupted.

    Drenkow & Unberath 2025, section 2.5: every source image is there once;
    ``round(p * n)`` of n, drawn at random, are corrupted, each by a
    corruption and a severity drawn uniformly. With one seed, the images
    corrupted at a smaller ``p`` are, in the same way, among those of a
    larger one. Clean images are the source files themselves under the
    protocol ``native``. Fields, files and resuming are those of
    :func:`corrupt_dataset`.

    Args:
        samples: a dataset or view of images; the draws depend on their order
        p: fraction to corrupt, 0 to 1; the paper's are .01 to .20
        severities ((1, 2, 3)): severities to draw from
        corruptions (None): names to draw from, by default all 15
        seed (51): an int
        images_dir (None): folder of the new files, by default
            ``<fo.config.default_dataset_dir>/<dataset name>``
        dataset (None): name of the new persistent dataset, by default
            ``<name>-mild-<p>``
        protocol ("native"): see :func:`corrupt_dataset`
        image_format ("jpg"): see :func:`corrupt_dataset`
        quality (None): see :func:`corrupt_dataset`
        fields (None): see :func:`corrupt_dataset`
        num_workers (None): see :func:`corrupt_dataset`
        progress (None): see :func:`corrupt_dataset`

    Returns:
        the ``fo.Dataset``; ``info["iqa_corruptions"]["settings"]`` has ``p``

    Raises:
        IQAError: if an argument is unusable; nothing has been made then
        OSError: if a file cannot be written; what was made is kept
    """
    if dataset is not None and not isinstance(dataset, str):
        raise IQAError(
            "dataset must be the name of a new dataset: a mixture has every "
            "image once, so it cannot be added to another"
        )

    conditions = _conditions(corruptions, severities)
    settings = _settings(seed, protocol, image_format, quality)
    sources = Sources(samples, dataset)
    n = len(sources)
    plan = {
        "kind": "mild",
        "p": float(p),
        "n": n,
        "sources": hashlib.sha256(",".join(sources.ids).encode()).hexdigest(),
        "conditions": [f"{c}/{s}" for c, s in conditions],
    }
    run = Run(
        sources,
        dataset,
        "{}-mild-" + f"{p:g}",
        settings,
        images_dir,
        plan,
        fields,
        num_workers,
    )

    draws = random_state(seed, "mild", 0)
    corrupted = set(draws.permutation(n)[: round(p * n)].tolist())
    drawn = draws.randint(len(conditions), size=n)

    def conditions_of(index):
        return [conditions[drawn[index]] if index in corrupted else (CLEAN, 0)]

    return run.make(conditions_of, conditions if corrupted else [], progress)


def _conditions(corruptions, severities):
    """Returns the ``(corruption, severity)`` pairs of a grid."""
    names = _listed(corruptions, list_corruptions(), "corruptions")
    levels = _listed(severities, SEVERITIES, "severities")
    names = [get_corruption(name).name for name in names]
    levels = [check_severity(level) for level in levels]
    return list(itertools.product(names, levels))


def _listed(values, default, argument):
    if values is None:
        return list(default)
    if isinstance(values, (str, numbers.Number)):
        values = [values]
    values = list(dict.fromkeys(values))
    if not values:
        raise IQAError(f"{argument} is empty; leave it out for all of them")
    return values


def _settings(seed, protocol, image_format, quality):
    check_protocol(protocol)
    if image_format not in _FORMATS:
        raise IQAError(
            f"image_format must be one of {', '.join(_FORMATS)}, not "
            f"{image_format!r}"
        )
    if image_format == "png":
        if quality is not None:
            raise IQAError("PNG files have no quality=; leave it out")
        return Settings(seed, protocol, image_format, None)

    quality = _QUALITY if quality is None else quality
    return Settings(seed, protocol, image_format, quality)
