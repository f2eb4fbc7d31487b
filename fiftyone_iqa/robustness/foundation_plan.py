"""What a run of foundation_robustness needs, checked before it starts."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np

from ..encoders import get_encoder
from ..errors import IQAError
from ..labels import label_set_of
from ..matching import LabelMatcher
from ..models import get_task_model
from ..models.base import TaskModel
from ..quality_columns import SOURCE_FIELD, check_collection, label_path
from .foundation import IMAGE_SIZE
from .generators import Generator, get_generator
from .oracle import CIRCULAR_SHARE, TEMPLATE, ZeroShotOracle, shared_weights

logger = logging.getLogger(__name__)

ORIGINAL = "original"
RESERVED = ("group", SOURCE_FIELD, "filepath", "id", "metadata", "tags")


@dataclass(frozen=True)
class PerturbedSet:
    """One set of perturbed images.

    Attributes:
        name: of its slice: ``"style-resnet34"``, or ``"corruption"``
        generator: what makes it
        guide: slug of the model whose loss steers it; None for a shared set
    """

    name: str
    generator: Generator
    guide: str | None


@dataclass
class Rows:
    """The originals of a run.

    Attributes:
        ids: of the samples
        paths: of their files
        labels: true labels, as written
        sources: what is resampled together, in the bootstrap
        n_unlabelled: samples left out for want of a true label
    """

    ids: list[str]
    paths: list[str]
    labels: list[str]
    sources: list[str]
    n_unlabelled: int = 0


@dataclass
class Plan:
    """Everything a run needs.

    Attributes:
        rows: the originals
        models: by slug
        circular: slug to share of the weights that the oracle has too
        oracle: h
        sets: what is to be made
        truths: ``(n, K)`` bools by slug: which classes are right
        oracle_truths: ``(n,)`` indices into the oracle's classes
        ground_truth: the field of true labels
        label_path: path of the labels in it
    """

    rows: Rows
    models: dict[str, TaskModel]
    circular: dict[str, float]
    oracle: ZeroShotOracle
    sets: list[PerturbedSet]
    truths: dict[str, np.ndarray]
    oracle_truths: np.ndarray
    ground_truth: str
    label_path: str
    settings: dict = field(default_factory=dict)


def make_plan(
    samples,
    models,
    ground_truth,
    oracle,
    classes,
    generator,
    budget,
    step_size,
    seed,
    device,
) -> Plan:
    """Resolves and checks the arguments of ``foundation_robustness``.

    Raises:
        IQAError: if one is unusable; nothing has been made then
    """
    rows, path = _rows(samples, ground_truth)
    named = _models(models, device, ground_truth)
    names = label_set_of(
        samples._root_dataset, classes if classes is not None else ground_truth
    ).names
    matcher = LabelMatcher([], rows.labels)
    found = matcher.true_classes(names, rows.labels)
    _check_known(found, rows.labels, "the oracle's classes", "pass classes=")
    truths = {}
    for slug, model in named.items():
        truths[slug] = matcher.true_classes(model.classes, rows.labels)
        _check_known(
            truths[slug],
            rows.labels,
            f"the classes of {model.name!r}",
            "leave those images out",
        )
    sets = _sets(generator, named, budget, step_size, device)
    encoder = get_encoder(oracle, device)
    circular = {
        slug: shared_weights(model, encoder) for slug, model in named.items()
    }
    for slug, share in circular.items():
        if share >= CIRCULAR_SHARE:
            logger.warning(
                "The oracle %s shares %.0f %% of the weights of %s: its FMR "
                "is circular, and left out of the ranking",
                encoder.name,
                100 * share,
                slug,
            )
    plan = Plan(
        rows=rows,
        models=named,
        circular=circular,
        oracle=ZeroShotOracle(encoder, names),
        sets=sets,
        truths=truths,
        oracle_truths=found.argmax(axis=1),
        ground_truth=ground_truth,
        label_path=path,
    )
    plan.settings = {
        "dataset": samples._root_dataset.name,
        "ground_truth": ground_truth,
        "models": {slug: model.id for slug, model in named.items()},
        "oracle": encoder.id,
        "template": TEMPLATE,
        "classes": list(names),
        "generators": [
            {**s.generator.settings, "guide": s.guide} for s in sets
        ],
        "image_size": IMAGE_SIZE,
        "seed": seed,
    }
    return plan


def _rows(samples, ground_truth):
    import fiftyone.core.media as fom

    check_collection(samples)
    if samples.media_type != fom.IMAGE or (
        samples._is_patches or samples._is_frames
    ):
        raise IQAError(
            "Robustness is measured on datasets and views of images; for "
            "groups pass one of their slices, "
            "samples.select_group_slices(name)"
        )
    path = label_path(samples, ground_truth)
    source = SOURCE_FIELD if samples.has_sample_field(SOURCE_FIELD) else "id"
    try:
        columns = samples.values(["id", "filepath", path, source])
    except ValueError as e:
        raise IQAError(
            f"Field {ground_truth!r} holds no single labels: {e}"
        ) from None
    kept = [
        (id_, file, label, source or id_)
        for id_, file, label, source in zip(*columns)
        if label
    ]
    if not kept or not all(isinstance(row[2], str) for row in kept):
        what = "labels that are no single texts" if kept else "no label here"
        raise IQAError(
            f"Field {ground_truth!r} holds {what}; robustness needs the true "
            "label of every image"
        )
    return Rows(*map(list, zip(*kept)), len(columns[0]) - len(kept)), path


def _models(models, device, ground_truth):
    from ..models.factory import slug_of

    if isinstance(models, (str, TaskModel)) or not isinstance(
        models, (list, tuple)
    ):
        models = [models]
    if not models:
        raise IQAError("models is empty; pass at least one task model")
    slugs = [slug_of(model) for model in models]
    repeated = sorted({s for s in slugs if slugs.count(s) > 1})
    if repeated:
        raise IQAError(
            f"Two models are called {repeated[0]!r}; give one another name, "
            "get_task_model(…, slug=…)"
        )
    # FMR's own fields begin with fmr_
    taken = {ground_truth.split(".")[0], *RESERVED}
    for slug in slugs:
        if slug in taken or slug.startswith("fmr_"):
            raise IQAError(
                f"A model cannot be called {slug!r} here: it is the name of "
                "another field; use get_task_model(…, slug=…)"
            )
    return {
        slug: get_task_model(model, device)
        for slug, model in zip(slugs, models)
    }


def _sets(generator, models, budget, step_size, device):
    generators = (
        generator if isinstance(generator, (list, tuple)) else [generator]
    )
    if not generators:
        raise IQAError("generator is empty; pass at least one")
    sets = []
    for one in generators:
        made = get_generator(one, budget, step_size, device or "cpu")
        if not made.guided:
            sets.append(PerturbedSet(made.name, made, None))
            continue
        for slug, model in models.items():
            _check_gradients(model)
            sets.append(PerturbedSet(f"{made.name}-{slug}", made, slug))
    names = [s.name for s in sets]
    if len(set(names)) < len(names):
        raise IQAError("generator= names one generator twice")
    return sets


def _check_gradients(model):
    """Raises, of one grey image, what a guided generator would."""
    import torch

    grey = torch.full((1, 3, IMAGE_SIZE, IMAGE_SIZE), 127.0)
    model.pixel_logits(grey.to(model.device))


def _check_known(truths, labels, what, instead):
    unknown = np.flatnonzero(~truths.any(axis=1))
    if len(unknown):
        raise IQAError(
            f"{len(unknown):,} images have labels, such as "
            f"{labels[unknown[0]]!r}, that are not among {what}; {instead}"
        )
