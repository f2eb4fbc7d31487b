"""Foundation-model-oriented robustness of task models on a dataset."""

from __future__ import annotations

import logging

import numpy as np

from ..arguments import checked
from ..corrupted.writer import save_image
from ..corruptions import seed_of
from ..encoders.factory import resolve_device
from ..errors import IQAError
from ..images import ImageReadError, read_image
from ..quality_columns import metric_fields, object_root
from .foundation import canonical_image, model_loss, perturb, predict
from .foundation_brain import (
    FoundationRobustnessConfig,
    FoundationRobustnessResults,
)
from .foundation_output import (
    FIRST_STEP,
    PERTURBED,
    UNRECOGNISED,
    Output,
    SetColumns,
)
from .foundation_plan import ORIGINAL, make_plan
from .foundation_report import build_report

logger = logging.getLogger(__name__)

_BATCH = 16


@checked
def foundation_robustness(
    samples,
    models,
    ground_truth,
    oracle=None,
    generator="style",
    budget=None,
    step_size=None,
    classes=None,
    metrics=None,
    output=None,
    images_dir=None,
    brain_key="fmr",
    batch_size=None,
    n_resamples: int = 1000,
    seed: int = 51,
    device=None,
    progress=None,
):
    """Measures FMR: how far models keep up with an image-text model.

    Zhang et al. 2024. Images are perturbed along the gradient of a model's
    loss for as long as the oracle still sees their true class; FMR is the
    model's accuracy on what comes out, over its accuracy on the originals,
    in per cent. Each model has a set of its own per guided generator, and is
    judged on the others' too (transfer, appendix D); the ``corruption`` set
    is one for all.

    Perturbed images are kept in a new dataset of groups, a slice per set
    beside the original, with the steps taken, the oracle's score, and every
    model's prediction. A call that was interrupted is resumed by calling
    again; the last batch is lost.

    Images are their central squares at 256 x 256 pixels, the originals too:
    what is judged is what is stored.

    Args:
        samples: a dataset or view of images
        models: task models to judge, one or a list, as
            :func:`fiftyone_iqa.get_task_model` takes them. Those of guided
            generators must have gradients: torch modules whose images are
            prepared by a ``ResizeCrop``
        ground_truth: field of the true labels
        oracle (None): an image-text encoder, as
            :func:`fiftyone_iqa.get_encoder` takes it. A model that shares
            its weights is judged, flagged and not ranked
        generator ("style"): ``"style"``, ``"corruption"``,
            ``"vqgan//PATH"``, a :class:`.generators.Generator`, or a list
        budget (None): B, the most steps: 20 for ``style``, 50 for ``vqgan``;
            for ``corruption`` the highest severity, at most 5
        step_size (None): 0.01 for ``style``, 0.001 for ``vqgan``
        classes (None): the oracle's label set, see
            :func:`fiftyone_iqa.compute_quality`; by default the labels of
            ``ground_truth``
        metrics (None): quality fields or metrics of ``samples``, to be
            correlated with steps survived and with perturbed correctness
        output (None): name of the dataset with the perturbed images, by
            default ``<name>-fmr``
        images_dir (None): folder of its files, by default
            ``<fo.config.default_dataset_dir>/<output>``
        brain_key ("fmr"): the run's key on the samples' dataset; an older
            run of this kind under it is replaced. None keeps no run
        batch_size (None): images perturbed at once, by default 16. It
            changes the results by what it changes in the last bits of a
            gradient
        n_resamples (1000): bootstrap resamples of the images
        seed (51): of draws and resamples
        device (None): a torch device name
        progress (None): whether to render a progress bar (True/False), use
            the default value ``fiftyone.config.show_progress_bars`` (None),
            or a progress callback function to invoke instead

    Returns:
        a :class:`.foundation_brain.FoundationRobustnessResults`

    Raises:
        IQAError: if an argument is unusable; nothing has been made then
        OSError: if a file cannot be written; what was made is kept
    """
    device = resolve_device(device)
    fields = metric_fields(samples, metrics) if metrics is not None else []
    if any(object_root(samples, field.path) for field in fields):
        raise IQAError("metrics= must be of images here, not of objects")
    plan = make_plan(
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
    )
    name = output or f"{samples._root_dataset.name}-fmr"
    target = Output(name, images_dir, plan)
    config = FoundationRobustnessConfig(
        models=list(plan.models),
        ground_truth=ground_truth,
        oracle=plan.oracle.encoder.name,
        generators=[s.name for s in plan.sets],
        metrics=[field.path for field in fields],
        output=name,
        seed=seed,
    )
    method = config.build()
    if brain_key is not None:
        method.validate_run(samples, brain_key)

    target.create()
    failures = _make(plan, target, batch_size or _BATCH, seed, progress)
    columns = SetColumns(target.dataset, plan.models, plan.rows.ids)
    report = build_report(
        samples, plan, columns, fields, name, failures, n_resamples, seed
    )
    results = FoundationRobustnessResults(
        samples, config, brain_key, report, method
    )
    if brain_key is not None:
        method.register_run(samples, brain_key, cleanup=False)
        method.save_run_results(samples, brain_key, results)
    return results


def _make(plan, target, batch_size, seed, progress):
    """Makes what is missing; returns why originals failed, by id."""
    import fiftyone.core.utils as fou

    done = target.done()
    todo = [i for i, id_ in enumerate(plan.rows.ids) if id_ not in done]
    if done:
        logger.info("%d images are there already", len(done))
    failures = {}
    total = len(todo) * len(plan.sets)
    try:
        with fou.ProgressBar(total=total, progress=progress) as bar:
            for start in range(0, len(todo), batch_size):
                rows = todo[start : start + batch_size]
                target.add(_batch(plan, target, rows, seed, failures, bar))
    finally:
        target.record_failures(failures)
    if failures:
        reason = next(iter(failures.values()))
        logger.warning(
            "%d images were left out, e.g.: %s", len(failures), reason
        )
    return failures


def _batch(plan, target, rows, seed, failures, bar):
    """Returns the samples of some originals; their files are written."""
    images, kept = [], []
    for row in rows:
        try:
            image = read_image(plan.rows.paths[row])
        except ImageReadError as e:
            failures[plan.rows.ids[row]] = str(e)
            bar.update(len(plan.sets))
            continue
        images.append(canonical_image(image))
        kept.append(row)
    if not kept:
        return []

    images, kept = np.stack(images), np.array(kept)
    seeds = [seed_of(image, seed) for image in images]
    truths = plan.oracle_truths[kept]
    probabilities = plan.oracle.probabilities(images)
    said = probabilities.argmax(axis=1)
    originals = said == truths, probabilities[np.arange(len(kept)), truths]

    def accepts(perturbed, at):
        return plan.oracle.accepts(perturbed, truths[at])

    samples = _samples(plan, target, ORIGINAL, kept, images)
    for sample, label, score, row in zip(
        samples, said, originals[1], probabilities
    ):
        sample["fmr_oracle_score"] = float(score)
        sample["fmr_oracle"] = _label(plan.oracle.names[label], row[label])
    for one in plan.sets:
        loss = _loss(plan, one, kept)
        found = perturb(images, one.generator, accepts, loss, seeds, originals)
        made = _samples(plan, target, one.name, kept, found.images)
        for i, sample in enumerate(made):
            _describe(sample, one, found, i, seeds[i])
        samples += made
        bar.update(len(kept))
    return samples


def _loss(plan, one, kept):
    if one.guide is None:
        return None
    model = plan.models[one.guide]
    truths = plan.truths[one.guide][kept].argmax(axis=1)
    return lambda pixels, at: model_loss(model, pixels, truths[at])


def _samples(plan, target, slice_name, kept, images):
    import fiftyone as fo
    from bson import ObjectId

    samples = []
    for row, image in zip(kept, images):
        key = plan.rows.ids[row]
        path = target.path(slice_name, key)
        save_image(image, path)
        # The original's id, so that a resumed run finds its groups
        group = fo.Group(id=ObjectId(key)).element(slice_name)
        sample = fo.Sample(filepath=path, group=group, source_id=key)
        sample["fmr_set"] = slice_name
        root = plan.ground_truth.split(".")[0]
        sample[root] = fo.Classification(label=plan.rows.labels[row])
        samples.append(sample)
    for slug, model in plan.models.items():
        classes, confidences = predict(model, images)
        for sample, row, index, confidence in zip(
            samples, kept, classes, confidences
        ):
            sample[slug] = _label(model.classes[index], confidence)
            sample[f"{slug}_correct"] = bool(plan.truths[slug][row, index])
    return samples


def _label(name, confidence):
    import fiftyone as fo

    return fo.Classification(label=name, confidence=float(confidence))


def _describe(sample, one, found, i, seed):
    outcome = PERTURBED
    if not found.recognised[i]:
        outcome = UNRECOGNISED
    elif not found.accepted[i]:
        outcome = FIRST_STEP
    sample["fmr_generator"] = one.generator.name
    sample["fmr_guide"] = one.guide
    sample["fmr_steps"] = int(found.steps[i])
    sample["fmr_outcome"] = outcome
    sample["fmr_oracle_score"] = float(found.score[i])
    condition = getattr(one.generator, "condition", None)
    if condition is not None:
        sample["fmr_condition"] = f"{condition(seed)} {found.steps[i]}"
