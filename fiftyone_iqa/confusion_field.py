"""The SDK call that scores confusion: FiftyOne's edge of ``confusion/``."""

from __future__ import annotations

import logging
import math
import time

from .arguments import checked
from .errors import IQAError
from .images import ImageReadError, read_image
from .metrics.registry import (
    LOWER,
    NONE,
    PREDICTION,
    Configuration,
    Metric,
    MetricSpec,
    Output,
    Prediction,
)
from .scoring.configuration import freeze, keep_declared, resolve_plans
from .scoring.pipeline import Outcome, Statistics, Writer
from .scoring.quality import plan_items, progress_bar
from .scoring.report import QualityReport
from .scoring.source import open_source

logger = logging.getLogger(__name__)

_CHUNK = 2000


@checked
def confusion_score(
    samples,
    label_field=None,
    model="resnet18",
    seeds=3,
    epochs=20,
    image_size=None,
    encoder=None,
    train_on=None,
    folds=None,
    probabilities=None,
    logits=None,
    checkpoints=None,
    classes=None,
    store_predictions=False,
    checkpoint_dir=None,
    batch_size=None,
    learning_rate=2e-3,
    seed=0,
    field_prefix=None,
    overwrite=False,
    device=None,
    num_workers=None,
    progress=None,
) -> QualityReport:
    """Scores how much a small ensemble is confused by each image.

    The entropy of the class probabilities averaged over the seeds, averaged
    over the epochs of training (Albiero et al. 2023, equations 1 to 3), in
    nats: 0 … ln C, lower is better. Scoring needs no label of an image; the
    ensemble does, so its guidance is *strong*. Scores land in ``confusion``,
    a quality field like any other.

    The probabilities come from one of

    -   ``label_field=``: an ensemble that is trained here, from pixels, or
        with ``model="linear"`` or ``"mlp"`` on an encoder's embeddings, which
        takes minutes on a CPU
    -   ``probabilities=``: arrays
    -   ``logits=``: fields of predictions that keep their logits
    -   ``checkpoints=``: saved models

    A run that was killed goes on at its last epoch when it is called again.

    Args:
        samples: what to score, see :func:`fiftyone_iqa.compute_quality`
        label_field (None): a field of one label per image (or object). What
            has no label is scored, and not trained on
        model ("resnet18"): a torchvision classifier or ``"timm:…"``, at
            random weights; ``"resnet8"``, ``"resnet14"`` or ``"resnet20"``
            for small images; ``"linear"`` or ``"mlp"`` on embeddings; or a
            function of the number of classes that returns a module
        seeds (3): members of the ensemble
        epochs (20): of training; under 20 scores shift upwards (section 3.3)
        image_size (None): side of the images, in pixels; by default 64
        encoder (None): of the embeddings, see
            :func:`fiftyone_iqa.encoders.get_encoder`
        train_on (None): a collection to train on, all of which's labels are
            used; by default the labelled ones of ``samples``
        folds (None): how many ensembles are trained, each without the images
            that it scores; 0 trains one on all of them, and scores images
            that it has seen. By default 3, or 0 with ``train_on``
        probabilities (None): ``(epochs, members, n, classes)`` array, or an
            iterable of ``(members, n, classes)`` arrays, for the samples in
            their order
        logits (None): names of fields: a list of epochs, each a list of
            members; a plain list is one epoch
        checkpoints (None): the ``checkpoint_dir`` of an earlier call; or a
            list of epochs, each a list of members: paths of weights of
            ``model``, or what :func:`fiftyone_iqa.get_task_model` takes
        classes (None): the labels that count; with ``probabilities``,
            ``logits`` or ``checkpoints`` the names of the classes, in order
        store_predictions (False): whether to store the last epoch's mean
            probabilities as ``confusion_prediction``, as logits ln p
        checkpoint_dir (None): where the weights of every epoch are kept, to
            score other images with ``checkpoints=``; by default none are
        batch_size (None): images per step; by default 8 to 128, so that an
            epoch has 16 steps at least where there are 128 images
        learning_rate (2e-3): of AdamW, after one epoch, falling along a
            cosine
        seed (0): of the first member, and of the folds
        field_prefix (None): put before the field's name
        overwrite (False): see :func:`fiftyone_iqa.compute_quality`
        device (None): torch device, by default a GPU where there is one
        num_workers (None): images decoded at once
        progress (None): see :func:`fiftyone_iqa.compute_quality`

    Returns:
        a :class:`fiftyone_iqa.QualityReport`

    Raises:
        IQAError: if an argument is unusable, training diverges or no image
            can be read; nothing has been written then
        ConfigurationMismatchError: if the field holds scores of another
            configuration
    """
    start = time.perf_counter()
    source = open_source(samples)
    source.check_failure_field()
    origin = _origin(
        source,
        {
            "label_field": label_field,
            "probabilities": probabilities,
            "logits": logits,
            "checkpoints": checkpoints,
        },
        {
            "model": model,
            "seeds": seeds,
            "epochs": epochs,
            "image_size": image_size,
            "encoder": encoder,
            "train_on": train_on,
            "folds": folds,
            "classes": classes,
            "checkpoint_dir": checkpoint_dir,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "seed": seed,
            "device": device,
            "num_workers": num_workers,
            "store_predictions": store_predictions,
        },
    )
    metric = ConfusionMetric(origin, store_predictions)
    plans, _ = resolve_plans(source, [metric], None, field_prefix, overwrite)
    items, run = plan_items(source, plans, overwrite)
    key = plans[0].key
    failed_before = source.read([])[3]
    if items and not _all_unreadable(items, failed_before, key):
        scored = origin.compute(
            lambda total, label: progress_bar(total, label, progress)
        )
        run.report.seconds["model"] = time.perf_counter() - start
        freeze(source, plans)
        _write(source, items, run, key, scored, store_predictions)
        keep_declared(source, plans)
        # Not before: what was trained outlasts a database that goes away
        origin.done()
    report = run.report
    report.device = origin.device
    report.encoder = origin.identity.get("encoder")
    report.field_root = source.field_root
    report.seconds["total"] = time.perf_counter() - start
    if report.failures:
        logger.warning(
            "%d of %d images could not be scored; the reasons are in the "
            "field 'iqa_failure'",
            report.n_failed,
            report.n,
        )
    return report


class ConfusionMetric(Metric):
    """Confusion, as the fields' declaration knows it.

    Args:
        origin: where the probabilities come from
        store_predictions: whether there is a field of predictions
    """

    def __init__(self, origin, store_predictions: bool):
        outputs = [
            Output(
                "",
                LOWER,
                (0.0, math.log(origin.n_classes)),
                "Confusion: entropy of an ensemble's mean class "
                "probabilities, averaged over the epochs of training, nats",
            )
        ]
        if store_predictions:
            outputs.append(
                Output(
                    "prediction",
                    NONE,
                    None,
                    "Mean class probabilities of the ensemble's last epoch",
                    kind=PREDICTION,
                )
            )
        self.spec = MetricSpec(
            name="confusion",
            title="Confusion score",
            summary="Disagreement within a small ensemble",
            guidance="strong",
            outputs=tuple(outputs),
            licence="Apache-2.0",
            weights="trained on the dataset's labels",
            paper="Albiero et al. 2023, equations 1 to 3",
        )
        self._origin = origin

    def configure(self, request, frozen):
        """Returns what the probabilities' origin is."""
        return Configuration(
            identity=self._origin.identity,
            directions={
                output.suffix: output.direction for output in self.spec.outputs
            },
            provenance=self._origin.provenance,
        )

    def build(self, configuration, request):
        """Refuses: it takes an ensemble, not a scorer of single images."""
        raise IQAError("Confusion is computed by confusion_score()")


def _origin(source, sources, options):
    """Returns where the probabilities come from."""
    given = [name for name, value in sources.items() if value is not None]
    if len(given) != 1:
        raise IQAError(
            f"Pass one of {', '.join(f'{name}=' for name in sources)}; got "
            f"{' and '.join(given) or 'none'}"
        )
    if given == ["label_field"]:
        from .confusion_training import TrainedEnsemble as kind
    elif given == ["checkpoints"]:
        from .confusion_checkpoints import StoredCheckpoints as kind
    elif given == ["logits"]:
        from .confusion_stored import StoredLogits as kind
    else:
        from .confusion_stored import StoredProbabilities as kind
    return kind(source, sources[given[0]], options)


def _all_unreadable(items, failed_before, key):
    """Whether all that lacks a score failed before, and still does."""
    for item in items:
        if key not in (failed_before[item.index] or {}):
            return False
        try:
            read_image(item.path, item.crop_box)
        except ImageReadError:
            continue
        return False
    return True


def _write(source, items, run, key, scored, store_predictions):
    """Writes what lacked a score."""
    writer = Writer(source, Statistics())
    for start in range(0, len(items), _CHUNK):
        outcomes = []
        for item in items[start : start + _CHUNK]:
            outcome = Outcome(item)
            reason = scored.failures.get(item.index)
            if reason is not None:
                outcome.failures[key] = reason
            else:
                values = {"": float(scored.scores[item.index])}
                if store_predictions:
                    values["prediction"] = _prediction(scored, item.index)
                outcome.values[key] = values
            outcomes.append(outcome)
        writer.add(run.record(outcomes))
    writer.flush()


def _prediction(scored, index):
    log_p = scored.log_probabilities[index]
    best = int(log_p.argmax())
    return Prediction(
        scored.classes[best], min(math.exp(log_p[best]), 1.0), log_p
    )
