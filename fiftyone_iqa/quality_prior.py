"""Relating quality to correctness: builds the brain run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone

import numpy as np

from .analysis.metric_report import (
    Grouping,
    metric_report,
    prior_report,
    within_report,
)
from .analysis.predictability import predictability
from .arguments import checked
from .brain import SCHEMA, ImageQualityConfig, ImageQualityResults
from .corruptions import CLEAN
from .errors import IQAError
from .quality_columns import (
    CONDITION_FIELDS,
    QualityColumns,
    label_path,
    metric_fields,
)
from .scoring.source import INFO_KEY
from .slices import slices_of_metrics

MAX_SLICES = 30


@checked
def build_quality_prior(
    samples,
    metrics: Sequence[str] | str,
    correctness: str = "iqa_correct",
    group_by: Sequence[str] | str | None = None,
    brain_key: str | None = "iqa",
    ground_truth: str | None = None,
    source: str | None = None,
    n_resamples: int = 1000,
    seed: int = 51,
    progress=None,
) -> ImageQualityResults:
    """Relates quality to correctness and learns performance priors.

    Reads score fields and a correctness field (of samples, or of objects)
    and stores distributions, correlation over groups, predictability, priors
    and the worst slices as a brain run. Everything is clustered by original
    image.

    Args:
        samples: a dataset or view
        metrics: quality fields (``"zsclip_ql"``), or metrics that stand for
            all their fields (``"zsclip"``)
        correctness ("iqa_correct"): the boolean field
        group_by (None): a field or several whose values together are a
            group, the condition first; by default ``("corruption",
            "severity")`` where the dataset has them
        brain_key ("iqa"): the run's key; an older run of this kind under it
            is replaced. None keeps no run
        ground_truth (None): a field of true labels, for the analysis within
            classes
        source (None): field that names the original image of each sample;
            by default ``source_id`` where the dataset has it
        n_resamples (1000): bootstrap resamples of the groups
        seed (51): of splits and resamples
        progress (None): whether to render a progress bar (True/False), use
            the default value ``fiftyone.config.show_progress_bars`` (None),
            or a progress callback function to invoke instead

    Returns:
        an :class:`ImageQualityResults`

    Raises:
        IQAError: if a field is missing or of the wrong kind, the collection
            is empty, or right and wrong images do not come from at least
            two originals each; nothing is stored then
    """
    import fiftyone.core.utils as fou

    fields = metric_fields(samples, metrics)
    group_by = _group_by(samples, group_by)
    labels = label_path(samples, ground_truth)
    also = [correctness, *group_by, *([labels] if labels else [])]
    columns = QualityColumns(samples, fields, source, also)
    correct = columns.correct(correctness)
    if not np.isfinite(correct).any():
        raise IQAError(
            f"Field {correctness!r} is empty here; run compute_correctness() "
            "first"
        )
    for field, values in zip(fields, columns.quality.T):
        if not np.isfinite(values[np.isfinite(correct)]).any():
            raise IQAError(
                f"No row has both {field.path!r} and {correctness!r}; "
                "compute both on the same images, or leave the metric out"
            )
    grouping = _grouping(columns, group_by)
    label_column = columns.column(labels) if labels else None

    config = ImageQualityConfig(
        metrics=[field.path for field in fields],
        correctness=correctness,
        group_by=list(group_by) or None,
        ground_truth=ground_truth,
        source=columns.source_field,
        n_resamples=n_resamples,
        seed=seed,
    )
    method = config.build()
    if brain_key is not None:
        method.validate_run(samples, brain_key)

    report = {
        "schema": SCHEMA,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "n": columns.n,
        "n_judged": int(np.isfinite(correct).sum()),
        "n_sources": len(set(columns.source.tolist())),
        "accuracy": float(np.nanmean(correct)),
        "task_model": _task_model(samples, correctness),
        "metrics": {},
    }
    rows = {"source": columns.source, "grouping": grouping}
    with fou.ProgressBar(total=len(fields) + 3, progress=progress) as bar:
        for field, values in zip(fields, columns.quality.T):
            report["metrics"][field.path] = {
                "metric": field.metric,
                "direction": field.direction,
                "guidance": field.guidance,
                "identity": field.identity,
                **metric_report(
                    values,
                    correct,
                    field.path,
                    field.higher_is_better,
                    identity=field.identity,
                    n_resamples=n_resamples,
                    seed=seed,
                    **rows,
                ),
            }
            bar.update()
        report["joint"] = _joint(columns, correct, fields, grouping, seed)
        bar.update()
        report["within"] = within_report(
            columns.quality,
            correct,
            [field.higher_is_better for field in fields],
            columns.source,
            label_column,
            seed,
        )
        bar.update()
        tables = slices_of_metrics(
            samples, columns, fields, correctness, MAX_SLICES, progress=False
        )
        report["slices"] = {table.metric: table.to_dict() for table in tables}
        bar.update()

    # As it will be when it is loaded: JSON knows no tuples
    report = json.loads(json.dumps(report))
    results = ImageQualityResults(samples, config, brain_key, report, method)
    if brain_key is not None:
        method.register_run(samples, brain_key, cleanup=False)
        method.save_run_results(samples, brain_key, results)
    return results


def _group_by(samples, group_by):
    if isinstance(group_by, str):
        return (group_by,)
    if group_by is not None:
        return tuple(group_by)
    if all(samples.get_field(field) is not None for field in CONDITION_FIELDS):
        return CONDITION_FIELDS
    return ()


def _grouping(columns, group_by):
    if not group_by:
        return None
    names = columns.groups(group_by)
    clean = frozenset(
        name
        for name in set(names) - {None}
        if CLEAN in name
        or ("severity" in group_by and name[group_by.index("severity")] == 0)
    )
    return Grouping(names, group_by, clean)


def _task_model(samples, correctness):
    """Returns what model the correctness is of, if a field says so."""
    info = (samples.get_field(correctness).info or {}).get(INFO_KEY) or {}
    predictions = (info.get("identity") or {}).get("predictions")
    field = predictions and samples.get_field(predictions)
    info = ((field and field.info) or {}).get(INFO_KEY) or {}
    return (info.get("identity") or {}).get("model")


def _joint(columns, correct, fields, grouping, seed):
    """Returns predictability and prior of all metrics together."""
    if len(fields) < 2:
        return None
    notes: list[str] = []
    found = None
    try:
        found = predictability(
            columns.quality, correct, source=columns.source, seed=seed
        ).to_dict()
    except IQAError as e:
        notes.append(f"no joint predictability: {e}")
    prior = prior_report(
        columns.quality,
        correct,
        [field.path for field in fields],
        [field.higher_is_better for field in fields],
        columns.source,
        grouping,
        [field.identity for field in fields],
        seed,
        notes,
    )
    return {"predictability": found, "prior": prior, "notes": notes}
