"""Strong guidance: a trained task model's prediction and its confidence.

Drenkow & Unberath 2025, section 2.3: Q_p, Q_h and Q_l of the task
model's own softmax. One forward pass gives them and the prediction whose
correctness is to be explained.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

from ..arguments import shown
from ..errors import IQAError
from .confidence import confidence_scores
from .registry import (
    HIGHER,
    LOWER,
    NONE,
    PREDICTION,
    Configuration,
    Metric,
    MetricSpec,
    Output,
    Prediction,
    Scorer,
    register_family,
)


class TaskModelMetric(Metric):
    """Predictions of a task model, and Q_p, Q_h and Q_l.

    Args:
        model: a :class:`fiftyone_iqa.models.TaskModel`, or its name
        field (None): stem of the fields, by default the model's slug
        store_logits (False): whether predictions keep their logits
    """

    def __init__(self, model, field: str | None = None, store_logits=False):
        from ..models import TaskModel

        if not isinstance(model, (str, TaskModel)):
            raise IQAError(
                "model must be the name of a task model, or one that "
                f"get_task_model() returned, not {shown(model)}"
            )
        self._model = model
        self._store_logits = store_logits
        if field is None:
            field = _slug(model)
        elif not isinstance(field, str) or not field.isidentifier():
            raise IQAError(
                "field must be letters, digits and underscores, starting "
                f"with a letter; got {field!r}"
            )
        self.spec = _spec(field, model)

    def configure(self, request, frozen):
        """Loads the model; its weights are what the scores mean."""
        from ..models import TaskModel, get_task_model

        model = self._model
        if not isinstance(model, TaskModel):
            model = get_task_model(model, request.device)
        return Configuration(
            identity={
                "model": model.id,
                "precision": model.precision,
                "preprocessing": str(model.preprocessing),
                "classes": _hash(model.classes),
                "logits": bool(self._store_logits),
            },
            directions={"": NONE, "qp": HIGHER, "qh": LOWER, "ql": HIGHER},
            provenance={
                "model_name": model.name,
                "n_classes": len(model.classes),
            },
            resources={"model": model},
        )

    def build(self, configuration, request):
        """Returns the scorer."""
        return _TaskModelScorer(
            configuration.resources["model"], self._store_logits
        )


@register_family("model")
def task_model_metric(name: str) -> TaskModelMetric:
    """Returns ``"model:<task model>"``, for one pass with other metrics."""
    return TaskModelMetric(name)


class _TaskModelScorer(Scorer):
    def __init__(self, model, store_logits):
        self._model = model
        self._store_logits = store_logits
        self.prepare = model.preprocessing
        self.input_key = f"{model.name}: {model.preprocessing}"
        self.cache_space = (
            f"{model.id} {model.precision} {model.preprocessing} logits"
        )
        self.device = str(model.device)

    def features(self, inputs):
        # Some of FiftyOne's models keep an image's aspect ratio
        rows = {}
        for index, array in enumerate(inputs):
            rows.setdefault(array.shape, []).append(index)
        logits = [None] * len(inputs)
        for indexes in rows.values():
            batch = self._model.logits(np.stack([inputs[i] for i in indexes]))
            for index, row in zip(indexes, batch):
                logits[index] = row
        return np.stack(logits)

    def score(self, features):
        scores = confidence_scores(features)
        best = features.argmax(axis=1)
        scores[""] = [
            Prediction(
                self._model.classes[index],
                float(confidence),
                logits if self._store_logits else None,
            )
            for index, confidence, logits in zip(best, scores["qp"], features)
        ]
        del scores["qm"]
        return scores


def _hash(classes):
    """Returns a digest of the labels; their order is that of the logits."""
    return hashlib.sha256("\n".join(classes).encode()).hexdigest()[:12]


def _slug(model):
    if isinstance(model, str):
        from ..models import slug_of

        return slug_of(model)
    return model.slug


def _spec(stem, model):
    name = model if isinstance(model, str) else model.name
    return MetricSpec(
        name=stem,
        title=f"Task model {name}",
        summary="Prediction of a trained classifier and its confidence",
        guidance="strong",
        outputs=(
            Output("", NONE, None, f"Prediction of {name}", kind=PREDICTION),
            Output(
                "qp",
                HIGHER,
                (0.0, 1.0),
                f"Q_p of {name}: its largest class probability",
            ),
            Output(
                "qh",
                LOWER,
                (0.0, math.inf),
                f"Q_h of {name}: entropy of its class probabilities, nats",
            ),
            Output(
                "ql",
                HIGHER,
                (-math.inf, math.inf),
                f"Q_l of {name}: its largest logit",
            ),
        ),
        licence="the model's",
        weights=name,
        paper="Drenkow & Unberath 2025, section 2.3",
    )
