"""Correctness M: did the task model get an image, or an object, right."""

from __future__ import annotations

from dataclasses import dataclass

from .arguments import checked
from .errors import IQAError
from .faults import is_empty
from .matching import LabelMatcher
from .scoring.source import INFO_KEY

_DESCRIPTION = "Whether the prediction is right; empty where one is missing"


@dataclass(frozen=True)
class CorrectnessReport:
    """What :func:`compute_correctness` wrote.

    Attributes:
        fields: names of the fields written
        n: samples (or objects) looked at
        n_correct: how many are right
        n_missing: how many lack a prediction or a true label and got None
    """

    fields: tuple[str, ...]
    n: int
    n_correct: int
    n_missing: int

    @property
    def accuracy(self) -> float | None:
        """Share of right ones among those with both labels; None if none."""
        judged = self.n - self.n_missing
        return self.n_correct / judged if judged else None

    def to_dict(self) -> dict:
        """Returns the counts as JSON-serialisable values."""
        return {
            "fields": list(self.fields),
            "n": self.n,
            "correct": self.n_correct,
            "missing": self.n_missing,
            "accuracy": self.accuracy,
        }

    def __str__(self):
        accuracy = self.accuracy
        said = "nothing to judge" if accuracy is None else f"{accuracy:.3f}"
        return (
            f"accuracy {said}: {self.n_correct:,} of "
            f"{self.n - self.n_missing:,} right, {self.n_missing:,} without "
            f"a prediction or a label ({', '.join(self.fields)})"
        )


@checked
def compute_correctness(
    samples,
    predictions=None,
    ground_truth=None,
    field="iqa_correct",
    mapping=None,
    eval_key=None,
) -> CorrectnessReport:
    """Stores whether predictions are right.

    Single-label fields are compared label by label (see
    :mod:`fiftyone_iqa.matching`). Multi-label fields
    (``fo.Classifications``) are right where both sets of labels are equal.
    Objects need an evaluation: true positives are right, false positives and
    false negatives are not, and values land on the objects of both fields.

    Args:
        samples: a dataset or view of images
        predictions (None): name of the predictions field
        ground_truth (None): name of the true labels' field
        field ("iqa_correct"): name of the boolean field
        mapping (None): dict from predicted to true label
        eval_key (None): key of a FiftyOne evaluation to read instead

    Returns:
        a :class:`CorrectnessReport`

    Raises:
        IQAError: if fields are missing or of types that cannot be compared,
            under 5 % of the predictions could match, or ``field`` is not ours
    """
    collection = _collection(samples)
    _check_field(field)
    if eval_key is not None:
        return _from_evaluation(collection, eval_key, field)

    if predictions is None or ground_truth is None:
        raise IQAError(
            "Pass predictions= and ground_truth=, the names of two label "
            "fields, or eval_key= of an evaluation"
        )

    import fiftyone as fo

    kinds = {
        _label_type(collection, name) for name in (predictions, ground_truth)
    }
    source = {"predictions": predictions, "ground_truth": ground_truth}
    if kinds == {fo.Classification}:
        pairs = collection.values(
            [f"{predictions}.label", f"{ground_truth}.label"]
        )
        matcher = LabelMatcher(*pairs, mapping)
        values = [matcher.match(p, t) for p, t in zip(*pairs)]
    elif kinds == {fo.Classifications}:
        values = _match_sets(collection, predictions, ground_truth, mapping)
    else:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise IQAError(
            f"Fields {predictions!r} and {ground_truth!r} ({names}) cannot "
            "be compared label by label; for objects run "
            "evaluate_detections(…, eval_key=…) and pass eval_key="
        )
    return _write_samples(collection, field, values, source)


def _collection(samples):
    if is_empty(samples):
        raise IQAError("The collection is empty: there is nothing to judge")
    return samples


def _check_field(field):
    if not isinstance(field, str) or not field.isidentifier():
        raise IQAError(
            "field must be letters, digits and underscores, starting with a "
            f"letter; got {field!r}"
        )


def _check_ours(dataset, path):
    existing = dataset.get_field(path)
    info = ((existing and existing.info) or {}).get(INFO_KEY) or {}
    if existing is not None and info.get("metric") != "correctness":
        raise IQAError(
            f"Field {path!r} exists and is not a correctness field; pass "
            "another field="
        )


def _label_type(collection, name):
    import fiftyone as fo

    found = collection.get_field(name)
    kind = getattr(found, "document_type", None)
    if kind is None or not issubclass(kind, fo.Label):
        has = "no field" if found is None else "no label field"
        raise IQAError(
            f"Dataset {collection._root_dataset.name!r} has {has} {name!r}; "
            f"its label fields are {_label_fields(collection)}"
        )
    return kind


def _label_fields(collection):
    import fiftyone as fo

    schema = collection.get_field_schema(
        ftype=fo.EmbeddedDocumentField, embedded_doc_type=fo.Label
    )
    return ", ".join(schema) or "none"


def _match_sets(collection, predictions, ground_truth, mapping):
    predicted, true = collection.values(
        [
            f"{predictions}.classifications.label",
            f"{ground_truth}.classifications.label",
        ]
    )
    matcher = LabelMatcher(_flat(predicted), _flat(true), mapping)
    return [
        None
        if p is None or t is None
        else all(any(matcher.match(a, b) for b in t) for a in p)
        and all(any(matcher.match(a, b) for a in p) for b in t)
        for p, t in zip(predicted, true)
    ]


def _flat(lists):
    return [label for labels in lists if labels for label in labels]


def _declare(dataset, path, source):
    import fiftyone as fo

    info = {INFO_KEY: {"metric": "correctness", "identity": source}}
    existing = dataset.get_field(path)
    if existing is None:
        dataset.add_sample_field(
            path, fo.BooleanField, description=_DESCRIPTION, info=info
        )
    else:
        existing.info = info
        existing.save()


def _write_samples(collection, field, values, source):
    dataset = collection._root_dataset
    _check_ours(dataset, field)
    _declare(dataset, field, source)
    ids = collection.values("id")
    collection.set_values(field, dict(zip(ids, values)), key_field="id")
    return _report((field,), values)


def _report(fields, values):
    return CorrectnessReport(
        fields=fields,
        n=len(values),
        n_correct=sum(v is True for v in values),
        n_missing=sum(v is None for v in values),
    )


def _from_evaluation(collection, eval_key, field):
    dataset = collection._root_dataset
    if eval_key not in dataset.list_evaluations():
        raise IQAError(
            f"Dataset {dataset.name!r} has no evaluation {eval_key!r}; it has "
            f"{', '.join(dataset.list_evaluations()) or 'none'}"
        )

    config = dataset.get_evaluation_info(eval_key).config
    source = {
        "eval_key": eval_key,
        "predictions": config.pred_field,
        "ground_truth": config.gt_field,
    }
    if config.type == "classification":
        values = [_judged(v) for v in collection.values(eval_key)]
        return _write_samples(collection, field, values, source)

    if config.type != "detection":
        raise IQAError(
            f"Evaluation {eval_key!r} is of type {config.type!r}; correctness "
            "is read from classification and detection evaluations"
        )
    return _write_objects(collection, config, eval_key, field, source)


def _judged(value):
    """Returns a bool of what evaluations store: a bool, or TP, TN, FP, FN."""
    if isinstance(value, str):
        return value.lower() in ("tp", "tn")
    return value


def _write_objects(collection, config, eval_key, field, source):
    dataset = collection._root_dataset
    roots = [
        dataset._get_label_field_path(name)[1]
        for name in (config.pred_field, config.gt_field)
    ]
    for root in roots:
        _check_ours(dataset, f"{root}.{field}")

    written = []
    for root in roots:
        path = f"{root}.{field}"
        _declare(dataset, path, source)
        nested = collection.values(f"{root}.{eval_key}")
        values = [
            None if row is None else [_judged(value) for value in row]
            for row in nested
        ]
        collection.set_values(path, values)
        written.append((path, values))

    paths = tuple(path for path, _ in written)
    _, judged_predictions = written[0]
    return _report(paths, _flat(judged_predictions))
