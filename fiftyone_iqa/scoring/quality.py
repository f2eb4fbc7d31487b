"""The SDK call that scores a collection."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager

from ..arguments import checked
from ..encoders import Encoder
from ..errors import IQAError
from ..metrics.registry import Metric
from .configuration import Plan, freeze, keep_declared, resolve_plans
from .decode import WORKER_TYPES, default_num_workers
from .pipeline import Item, Outcome, Pipeline, Writer, raise_first_failure
from .report import Failure, MetricReport, QualityReport
from .request import Request
from .source import Row, SampleSource, open_source

logger = logging.getLogger(__name__)

EXECUTORS = ("local", "ray")
_BATCH_SIZE = {"cpu": 32, "mps": 64, "cuda": 256}


@checked
def compute_quality(
    samples,
    metrics=("zsclip", "tv"),
    classes=None,
    encoder=None,
    templates=None,
    temperature="model",
    field_prefix=None,
    overwrite=False,
    skip_failures=True,
    batch_size=None,
    num_workers=None,
    device=None,
    progress=None,
    cache=True,
    worker_type="thread",
    executor="local",
) -> QualityReport:
    """Computes quality metrics and stores them as fields.

    Each image is decoded once for all metrics. Values of one sample are
    written in one update. Samples that have values of the same configuration
    are skipped, so a run that was interrupted is resumed by calling again.
    What a score means (encoder and weights, label set, templates,
    temperature, precision, preprocessing) is frozen in the field's ``info``
    by the first call; ``None`` arguments of later calls take it from there.

    A metric that cannot be computed for an image leaves None in its fields
    and the reason in ``iqa_failure``; other metrics and images are untouched.

    Args:
        samples: a dataset or view of images; a patches view (values land on
            the labels), a frames view (on the frames), or a grouped
            collection (all its image slices)
        metrics (("zsclip", "tv")): names from
            :func:`fiftyone_iqa.list_metrics`
        classes (None): the label set: a list of names, or the name of a
            label field of the dataset; by default the dataset's own, see
            :func:`fiftyone_iqa.labels.label_set_of`
        encoder (None): see :func:`fiftyone_iqa.encoders.get_encoder`
        templates (None): prompt templates with one ``{}`` each, by default
            the encoder's
        temperature ("model"): factor on the similarities in the softmax;
            ``1.0`` is the paper's, ``"model"`` the encoder's own scale
        field_prefix (None): put before the field names, to keep scores of
            several configurations side by side
        overwrite (False): whether to score again what has values. With
            another configuration this replaces the whole field and needs
            the whole dataset
        skip_failures (True): whether to carry on when an image cannot be
            scored
        batch_size (None): images per batch, by default 32 on a CPU and 256
            on CUDA
        num_workers (None): images decoded at once, by default one per core;
            0 decodes in the calling thread
        device (None): torch device, by default a GPU where there is one
        progress (None): whether to show a progress bar (True/False), the
            default of ``fo.config.show_progress_bars`` (None), or a callback
            as in FiftyOne
        cache (True): whether to keep embeddings on disk and use those there
        worker_type ("thread"): ``"thread"`` or ``"process"``
        executor ("local"): ``"local"``, or ``"ray"`` for the workers of a Ray
            cluster (``RAY_ADDRESS``, else this machine's): one per GPU, or
            per core where there is none. Metrics and encoder are loaded by
            name there. For samples, not for patches and frames

    Returns:
        a :class:`QualityReport`

    Raises:
        IQAError: if an argument is unusable; nothing has been written then
        ConfigurationMismatchError: if a field holds scores of another
            configuration
        EncoderUnavailableError: if the encoder's weights are not to be had
        WeightsUnavailableError: if those of no metric are; where other
            metrics can be computed, the report says which could not
        ImageFailureError: with ``skip_failures=False``, for the first image
            that fails; what was scored before is kept
        DatabaseUnreachableError: if the database goes away; what was scored
            before is kept
        DatasetDeletedError: if the dataset is deleted meanwhile
    """
    start = time.perf_counter()
    _check_worker_type(worker_type)
    source = open_source(samples)
    _check_executor(executor, source, metrics, encoder)
    source.check_failure_field()
    request = Request(
        source.dataset,
        classes,
        encoder,
        templates,
        temperature,
        device,
        cache,
        lambda total, label: progress_bar(total, label, progress),
    )
    plans, unavailable = resolve_plans(
        source, metrics, request, field_prefix, overwrite
    )
    engine = {
        "skip_failures": skip_failures,
        "batch_size": batch_size,
        "num_workers": num_workers,
        "cache": cache,
        "worker_type": worker_type,
    }
    if executor == "local":
        scorers = {
            plan.key: plan.metric.build(plan.configuration, request)
            for plan in plans
        }
        freeze(source, plans)
        items, run = plan_items(source, plans, overwrite)
        run.report.device = _device(scorers)
        with progress_bar(len(items), "Scoring", progress) as step:
            _score_here(source, scorers, items, run, step, **engine)
    else:
        freeze(source, plans)
        items, run = plan_items(source, plans, overwrite)
        call = {
            **engine,
            "metrics": [plan.metric.spec.name for plan in plans],
            "field_prefix": field_prefix,
            "overwrite": overwrite,
            "device": device,
        }
        with progress_bar(len(items), "Scoring", progress) as step:
            _score_on_cluster(source, plans, items, run, step, call)

    keep_declared(source, plans)
    report = run.report
    report.encoder = _encoder_id(plans)
    report.field_root = source.field_root
    report.unavailable = unavailable
    report.seconds["total"] = time.perf_counter() - start
    if report.failures:
        logger.warning(
            "%d of %d images could not be scored; the reasons are in the "
            "field 'iqa_failure'",
            report.n_failed,
            report.n,
        )
    return report


def _score_here(
    source,
    scorers,
    items,
    run,
    step,
    *,
    skip_failures,
    batch_size,
    num_workers,
    cache,
    worker_type,
):
    """Scores items in this process, with its decode workers."""
    if batch_size is None:
        batch_size = _BATCH_SIZE.get(run.report.device.split(":")[0], 32)
    if num_workers is None:
        num_workers = default_num_workers()
    pipeline = Pipeline(
        scorers, batch_size, num_workers, worker_type, use_cache=cache
    )
    statistics = pipeline.statistics
    writer = Writer(source, statistics)
    try:
        for outcomes in pipeline.run(items) if items else ():
            writer.add(run.record(outcomes))
            step(len(outcomes))
            if not skip_failures:
                raise_first_failure(outcomes)
    finally:
        # Also on Ctrl-C and errors: what is scored is kept
        try:
            writer.flush()
        finally:
            pipeline.close()

    run.report.n_decoded = statistics.n_decoded
    run.report.n_from_cache = statistics.n_from_cache
    run.report.seconds = dict(statistics.seconds)


def _score_on_cluster(source, plans, items, run, step, call):
    """Scores items on the workers of a cluster."""
    from .cluster import score_on_cluster

    if not items:
        return
    encoders = [
        plan.configuration.resources["encoder"]
        for plan in plans
        if "encoder" in plan.configuration.resources
    ]
    encoder = (encoders[0].name, encoders[0].precision) if encoders else None
    needs = [(run.ids[item.index], item.needs) for item in items]
    score_on_cluster(source.dataset, run.report, needs, call, encoder, step)


def _check_executor(executor, source, metrics, encoder):
    if executor not in EXECUTORS:
        raise IQAError(
            f"executor must be one of {', '.join(EXECUTORS)}, not {executor!r}"
        )
    if executor == "local":
        return
    if type(source) is not SampleSource:
        raise IQAError(
            f"executor={executor!r} scores samples; score patches and frames "
            "with executor='local'"
        )
    metrics = [metrics] if isinstance(metrics, (str, Metric)) else metrics
    if not all(isinstance(metric, str) for metric in metrics) or (
        encoder is not None and not isinstance(encoder, (str, Encoder))
    ):
        raise IQAError(
            f"executor={executor!r} loads metrics and encoder on the workers; "
            "pass their names"
        )


def _check_worker_type(worker_type):
    if worker_type not in WORKER_TYPES:
        raise IQAError(
            f"worker_type must be one of {', '.join(WORKER_TYPES)}, not "
            f"{worker_type!r}"
        )


class Run:
    """Turns outcomes into rows and counts them."""

    def __init__(self, plans: list[Plan], ids, paths, failures):
        self._plans = {plan.key: plan for plan in plans}
        self.ids = ids
        self._failures = failures
        self.reports = {
            plan.key: MetricReport(
                plan.key,
                list(plan.fields.values()),
                [plan.configuration.directions[s] for s in plan.fields],
            )
            for plan in plans
        }
        self.report = QualityReport(len(ids), list(self.reports.values()))
        self._paths = paths

    def record(self, outcomes: list[Outcome]) -> list[Row]:
        """Returns the rows that store a batch of outcomes."""
        return [self._row(outcome) for outcome in outcomes]

    def _row(self, outcome):
        index = outcome.item.index
        row = Row(index, {})
        for key, values in outcome.values.items():
            fields = self._plans[key].fields
            row.values.update({fields[s]: v for s, v in values.items()})
            self.reports[key].scored += 1

        for key, reason in outcome.failures.items():
            fields = self._plans[key].fields
            row.values.update(dict.fromkeys(fields.values()))
            self.reports[key].failed += 1
            self.report.failures.append(
                Failure(self.ids[index], self._paths[index], key, reason)
            )

        before = self._failures[index] or {}
        after = {k: v for k, v in before.items() if k not in outcome.values}
        after.update(outcome.failures)
        if after != before:
            row.failures = after
        return row


def plan_items(source: SampleSource, plans, overwrite):
    """Returns the items that lack values, and the :class:`Run` to count them.

    Args:
        source: what is scored
        plans: what is computed
        overwrite: whether all lack values
    """
    names = [name for plan in plans for name in plan.fields.values()]
    ids, paths, boxes, failures, values = source.read(names)
    run = Run(plans, ids, paths, failures)

    needs = [[] for _ in ids]
    for plan in plans:
        columns = [values.get(name) for name in plan.fields.values()]
        complete = not overwrite and all(c is not None for c in columns)
        for index in range(len(ids)):
            if complete and all(c[index] is not None for c in columns):
                run.reports[plan.key].skipped += 1
            else:
                needs[index].append(plan.key)

    items = [
        Item(index, paths[index], boxes[index], tuple(keys))
        for index, keys in enumerate(needs)
        if keys
    ]
    return items, run


def _device(scorers):
    devices = {scorer.device for scorer in scorers.values()} - {"cpu"}
    return next(iter(devices), "cpu")


def _encoder_id(plans):
    encoders = [
        plan.configuration.identity["encoder"]
        for plan in plans
        if "encoder" in plan.configuration.identity
    ]
    return next(iter(encoders), None)


@contextmanager
def progress_bar(total, label, progress):
    """Yields a function that advances FiftyOne's progress bar.

    It takes a number of images, and what is said behind the bar (None).
    """
    import fiftyone.core.utils as fou

    if total == 0:
        yield lambda n, said=None: None
        return

    if progress in (None, True):
        logger.info("%s…", label)
    with fou.ProgressBar(total=total, progress=progress) as bar:
        yield lambda n, said=None: bar.update(n, suffix=said)
