"""Task models' predictions, and quality read from stored ones."""

from __future__ import annotations

import numpy as np

from .arguments import checked
from .errors import IQAError
from .metrics.confidence import confidence_scores
from .metrics.registry import HIGHER, LOWER, Output
from .scoring.report import QualityReport
from .scoring.source import INFO_KEY, Row

_MIN_CLASSES = 2
_CHUNK = 10_000


@checked
def compute_predictions(
    samples,
    model="resnet34",
    field=None,
    metrics=(),
    store_logits=False,
    **kwargs,
) -> QualityReport:
    """Runs a task model and stores predictions and strong-guided quality.

    One forward pass writes ``<model>`` (``fo.Classification`` with label and
    confidence) and ``<model>_qp``, ``<model>_qh`` and ``<model>_ql`` (Drenkow
    & Unberath 2025, section 2.3), where ``<model>`` is the model's slug or
    ``field``. Other metrics asked for here share the decoding.

    Args:
        samples: see :func:`fiftyone_iqa.compute_quality`
        model ("resnet34"): a task model or its name, see
            :func:`fiftyone_iqa.models.get_task_model`
        field (None): stem of the fields, by default the model's slug
        metrics (()): further metrics to compute in the same pass
        store_logits (False): whether the predictions keep their logits, K
            floats per image
        **kwargs: as for :func:`fiftyone_iqa.compute_quality`

    Returns:
        a :class:`QualityReport`

    Raises:
        IQAError: if an argument is unusable; nothing has been written then
        ModelUnavailableError: if the model's weights are not to be had
    """
    from .metrics.task_model import TaskModelMetric
    from .scoring.quality import compute_quality

    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    metric = TaskModelMetric(model, field, store_logits)
    return compute_quality(samples, metrics=[metric, *metrics], **kwargs)


@checked
def quality_from_predictions(samples, predictions, field=None) -> list[str]:
    """Reads strong-guided quality from predictions a dataset stores.

    No model is run. Logits give Q_p, Q_h and Q_l; a confidence alone gives
    Q_p. Samples without a prediction get None.

    Args:
        samples: a dataset or view
        predictions: name of a classification field
        field (None): stem of the new fields, by default ``predictions``

    Returns:
        the names of the fields written

    Raises:
        IQAError: if there is no such field, it is no classification, or it
            holds neither logits nor confidences
    """
    source = _open(samples, predictions)
    path = source.view_root + predictions
    columns = _scores(
        *source.samples.values([f"{path}.logits", f"{path}.confidence"])
    )
    if not columns:
        raise IQAError(
            f"Field {predictions!r} holds neither logits nor confidences; "
            "apply the model with store_logits=True, or run "
            "compute_predictions"
        )

    names = {suffix: f"{field or predictions}_{suffix}" for suffix in columns}
    infos = {
        suffix: {
            "metric": "predictions",
            "output": suffix,
            "guidance": "strong",
            "direction": _OUTPUTS[suffix].direction,
            "identity": {"predictions": predictions},
        }
        for suffix in columns
    }
    for suffix, name in names.items():
        _check_ours(source, name, infos[suffix])
    for suffix, name in names.items():
        source.declare(name, _OUTPUTS[suffix], infos[suffix])

    ids, *_ = source.read([])
    for start in range(0, len(ids), _CHUNK):
        source.write(
            [
                Row(i, {names[s]: columns[s][i] for s in columns})
                for i in range(start, min(start + _CHUNK, len(ids)))
            ]
        )
    return list(names.values())


_OUTPUTS = {
    "qp": Output("qp", HIGHER, (0.0, 1.0), "Q_p of stored predictions"),
    "qh": Output(
        "qh", LOWER, (0.0, np.inf), "Q_h of stored predictions, nats"
    ),
    "ql": Output("ql", HIGHER, (-np.inf, np.inf), "Q_l of stored predictions"),
}


def _scores(logits, confidences):
    """Returns ``{suffix: list of n floats or None}``."""
    rows = [i for i, row in enumerate(logits) if row is not None]
    if rows:
        scores = {s: [None] * len(logits) for s in _OUTPUTS}
        # Rows may be of different lengths only by mistake: one at a time
        for i in rows:
            row = np.asarray(logits[i], dtype=np.float64)
            if row.size < _MIN_CLASSES or not np.isfinite(row).all():
                continue
            for suffix, value in confidence_scores(row[None]).items():
                if suffix in scores:
                    scores[suffix][i] = float(value[0])
        return scores

    if any(c is not None for c in confidences):
        return {"qp": list(confidences)}
    return {}


def _open(samples, field):
    import fiftyone as fo

    from .scoring.source import open_source

    source = open_source(samples)
    found = source.samples.get_field(source.view_root + field)
    if found is None:
        raise IQAError(
            f"Dataset {source.dataset.name!r} has no field {field!r}; pass "
            "the name of a classification field"
        )
    document = getattr(found, "document_type", None)
    if document is None or not issubclass(document, fo.Classification):
        raise IQAError(
            f"Field {field!r} is no classification field; quality is read "
            "from predictions of one label per image"
        )
    return source


def _check_ours(source, name, info):
    existing = source.get_field(name)
    if existing is None:
        return
    found = (existing.info or {}).get(INFO_KEY) or {}
    if found.get("identity") != info["identity"]:
        raise IQAError(
            f"Field {name!r} exists and was not read from "
            f"{info['identity']['predictions']!r}; pass field= to write "
            "elsewhere"
        )
