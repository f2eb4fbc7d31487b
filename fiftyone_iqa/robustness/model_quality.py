"""The SDK call that measures models on a dataset: the edge to FiftyOne."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone

import numpy as np

from ..arguments import checked
from ..corruptions import SEVERITIES, list_corruptions
from ..corruptions.registry import get_corruption
from ..errors import IQAError
from ..quality_columns import SOURCE_FIELD, check_collection, label_path
from ..selection import image_samples
from .attacks import EPSILON
from .measure import RANDOM, SAME, measure
from .plan import Images, Plan, true_classes
from .profile import (
    RUN_TYPE,
    SCHEMA,
    ModelQualityConfig,
    ModelQualityResults,
)
from .runner import BATCH_SIZE, Runner
from .stages import PGD, PROTOCOL_ATTACKS, Attack

_KINDS = ("samples", "ood_robustness", "object_focus", "shape_bias")


@checked
def model_quality(
    samples,
    models,
    ground_truth: str = "ground_truth",
    brain_key: str | None = "model_quality",
    ood=None,
    backgrounds=None,
    cue_conflict=None,
    texture: str = "texture",
    mappings=None,
    epsilons=(EPSILON,),
    corruptions=None,
    severities=SEVERITIES,
    max_attacked: int | None = 200,
    max_corrupted: int | None = 200,
    batch_size: int | None = None,
    num_workers: int | None = None,
    device: str | None = None,
    cache: bool = True,
    seed: int = 51,
    progress=None,
) -> ModelQualityResults:
    """Measures nine dimensions of model quality, of several models.

    Those of Hesse et al. 2025: accuracy, robustness to attacks (the geometric
    mean of what PGD and FGSM leave), to corruptions (mean over ImageNet-C's
    conditions, made here), out of distribution, calibration error (ACE and
    ECE), class balance, object focus, shape bias and parameters. What cannot
    be measured here is "not measured", and says what it would need.

    Values belong to the images they were measured on. They are not the
    paper's, unless the images are ImageNet's and all nine follow its
    protocol.

    What models say of an image is cached on disk, so a call that was
    interrupted goes on where it stopped, and another model costs only its
    own.

    Args:
        samples: a dataset or view of images as the models are meant for
        models: a task model or its name, or a list, see
            :func:`fiftyone_iqa.models.get_task_model`
        ground_truth ("ground_truth"): field of the true labels, in all
            collections
        brain_key ("model_quality"): the run's key; an older run of this kind
            under it is replaced. None keeps no run
        ood (None): variants of the images, such as sketches: a dict from a
            name to a dataset, a view or a dataset's name; or a field of
            ``samples`` whose values name variants, empty for the ordinary
            images
        backgrounds (None): objects before other backgrounds, such a dict, or
            a field, of ``"mixed_same"`` and ``"mixed_rand"``
        cue_conflict (None): a dataset, a view or a dataset's name: images of
            one class's shape (their true label) and another's texture
        texture ("texture"): field of the texture's class in ``cue_conflict``
        mappings (None): where models name classes otherwise: a dict from
            ``"samples"``, ``"ood_robustness"``, ``"object_focus"`` or
            ``"shape_bias"`` to a dict from the model's class to the label
        epsilons ((8/255,)): budgets of PGD, of 1. The dimension takes 8/255
            in any case; others are shown beside it
        corruptions (None): conditions, by default all 15
        severities ((1, 2, 3, 4, 5)): severities
        max_attacked (200): how many images to attack, the same of each class
            where possible; None for all, 0 leaves the dimension out
        max_corrupted (200): how many to corrupt, under every condition
        batch_size (None): images per batch, by default 32
        num_workers (None): images prepared at once, by default one per core
        device (None): torch device, by default a GPU where there is one
        cache (True): whether to read and write what models said on disk
        seed (51): of draws, random starts and corruptions
        progress (None): whether to render a progress bar (True/False), use
            the default value ``fiftyone.config.show_progress_bars`` (None),
            or a progress callback function to invoke instead

    Returns:
        a :class:`fiftyone_iqa.robustness.profile.ModelQualityResults`

    Raises:
        IQAError: if an argument is unusable, or true labels are none of a
            model's classes; nothing is stored then
        ModelUnavailableError: if a model's weights are not to be had
    """
    import fiftyone.core.utils as fou

    from ..scoring.decode import default_num_workers

    _check_key(samples, brain_key)
    plan, left_out = _plan(
        samples,
        ground_truth,
        ood,
        backgrounds,
        cue_conflict,
        texture,
        attacks=_attacks(epsilons),
        conditions=_conditions(corruptions, severities),
        max_attacked=max_attacked,
        max_corrupted=max_corrupted,
        mappings=_mappings(mappings),
        seed=seed,
    )
    models = _models(models, device)
    true_classes(plan, models)
    config = ModelQualityConfig(
        models=[model.name for model in models],
        ground_truth=ground_truth,
        collections={
            what: len(images) for what, _, images in plan.collections()
        },
        max_attacked=max_attacked,
        max_corrupted=max_corrupted,
        seed=seed,
    )
    method = config.build()

    total = plan.n_passes * len(models)
    with fou.ProgressBar(total=total, progress=progress) as bar:
        runner = Runner(
            batch_size or BATCH_SIZE,
            default_num_workers() if num_workers is None else num_workers,
            cache,
            bar.update,
        )
        found = measure(plan, models, runner)

    report = {
        "schema": SCHEMA,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "n": len(plan.images),
        "unlabelled": left_out,
        "failures": runner.failures,
        "epsilons": [float(epsilon) for epsilon in epsilons],
        "conditions": [list(condition) for condition in plan.conditions],
        "models": {
            model.slug: {
                "name": model.name,
                "id": model.id,
                "dimensions": {
                    key: one.to_dict()
                    for key, one in found[model.slug].items()
                },
            }
            for model in models
        },
    }
    # As it will be when it is loaded: JSON knows no tuples
    report = json.loads(json.dumps(report))
    results = ModelQualityResults(samples, config, brain_key, report, method)
    if brain_key is not None:
        method.register_run(samples, brain_key, cleanup=False)
        method.save_run_results(samples, brain_key, results)
    return results


def _check_key(samples, brain_key):
    dataset = samples._root_dataset
    if brain_key is None or brain_key not in dataset.list_brain_runs():
        return
    if brain_key not in dataset.list_brain_runs(type=RUN_TYPE):
        raise IQAError(
            f"Dataset {dataset.name!r} has another brain run {brain_key!r}; "
            "pass another brain_key="
        )


def _models(models, device):
    from ..models import get_task_model

    models = [get_task_model(model, device) for model in models]
    slugs = [model.slug for model in models]
    if not models:
        raise IQAError("models is empty; name a task model")
    for slug in slugs:
        if slugs.count(slug) > 1:
            raise IQAError(
                f"Two models are called {slug!r}; name one otherwise: "
                "get_task_model(model, slug=…)"
            )
    return models


def _attacks(epsilons):
    if not epsilons:
        raise IQAError("epsilons is empty; the paper's is 8/255")
    more = [Attack(PGD, float(epsilon)) for epsilon in sorted(set(epsilons))]
    return (*PROTOCOL_ATTACKS, *(a for a in more if a != PROTOCOL_ATTACKS[0]))


def _conditions(corruptions, severities):
    if corruptions is None:
        corruptions = list_corruptions()
    names = [corruptions] if isinstance(corruptions, str) else corruptions
    levels = [severities] if isinstance(severities, int) else severities
    if not names or not levels:
        raise IQAError("corruptions and severities must not be empty")
    for name in names:
        get_corruption(name)
    return tuple(
        (name, severity)
        for name in dict.fromkeys(names)
        for severity in sorted(set(levels))
    )


def _mappings(mappings):
    for kind in mappings or {}:
        if kind not in _KINDS:
            raise IQAError(
                f"mappings has no {kind!r}; it may have {', '.join(_KINDS)}"
            )
    return mappings or {}


def _plan(
    samples, ground_truth, ood, backgrounds, cue_conflict, texture, **settings
):
    """Returns the plan, and how many samples have no label."""
    check_collection(samples)
    own = samples
    found = {}
    for name, given in (("ood", ood), ("backgrounds", backgrounds)):
        found[name], own = _variants(samples, own, given, name)
    if backgrounds is not None and set(found["backgrounds"]) != {SAME, RANDOM}:
        raise IQAError(
            f"backgrounds must name {SAME!r} and {RANDOM!r}, and nothing "
            f"else; it names {', '.join(found['backgrounds']) or 'nothing'}"
        )
    conflict = None
    if cue_conflict is not None:
        conflict = _images(
            _collection(cue_conflict, "cue_conflict"),
            ground_truth,
            "cue_conflict",
            texture,
        )
    images = _images(own, ground_truth, "samples")
    collections = {
        name: {
            key: _images(variant, ground_truth, f"{name}[{key!r}]")
            for key, variant in variants.items()
        }
        for name, variants in found.items()
    }
    plan = Plan(
        images,
        collections["ood"],
        collections["backgrounds"],
        conflict,
        **settings,
    )
    return plan, len(own) - len(images)


def _variants(samples, own, given, what):
    """Returns ``{name: collection}``, and the ordinary images that remain."""
    if given is None:
        return {}, own
    if isinstance(given, Mapping):
        return {
            name: _collection(one, f"{what}[{name!r}]")
            for name, one in given.items()
        }, own
    if samples.get_field(given) is None:
        raise IQAError(
            f"Dataset {samples._root_dataset.name!r} has no field {given!r} "
            f"to take {what} from; pass a field or a dict of datasets"
        )
    names = [name for name in samples.distinct(given) if name is not None]
    if not names or not all(isinstance(name, str) for name in names):
        raise IQAError(
            f"Field {given!r} names no {what}: its values must be texts"
        )
    views = {name: samples.match({given: name}) for name in names}
    return views, own.match({given: None})


def _collection(given, what):
    import fiftyone as fo

    if isinstance(given, str):
        if not fo.dataset_exists(given):
            raise IQAError(f"{what}: there is no dataset {given!r}")
        given = fo.load_dataset(given)
    return given


def _images(samples, ground_truth, what, texture=None) -> Images:
    """Returns a collection's labelled images.

    Raises:
        IQAError: if it has none
    """
    try:
        samples = image_samples(samples)
        if samples._is_patches:
            raise IQAError("objects are no images; export them as images")
        paths = [label_path(samples, ground_truth)]
        if texture is not None:
            paths.append(label_path(samples, texture))
        has_source = samples.has_sample_field(SOURCE_FIELD)
        also = [SOURCE_FIELD] if has_source else []
        files, *columns = samples.values(["filepath", *paths, *also])
    except IQAError as e:
        raise IQAError(f"{what}: {e}") from None
    label = columns[0]
    shape_and_texture = columns[: len(paths)]
    rows = [
        i
        for i, values in enumerate(zip(*shape_and_texture))
        if all(isinstance(value, str) for value in values)
    ]
    if not rows:
        raise IQAError(
            f"{what}: field {ground_truth!r} holds no labels; models are "
            "measured on images whose class is known"
        )
    labels = sorted({c[i] for c in shape_and_texture for i in rows})
    place = {name: i for i, name in enumerate(labels)}
    source = None
    if has_source:
        # A sample without one is its own original
        given = columns[-1]
        source = np.array(
            [str(files[i] if given[i] is None else given[i]) for i in rows]
        )
    return Images(
        tuple(files[i] for i in rows),
        tuple(labels),
        np.array([place[label[i]] for i in rows]),
        source,
        None
        if texture is None
        else np.array([place[columns[1][i]] for i in rows]),
    )
