"""Saved views and tags, noted so that they can be taken back."""

from __future__ import annotations

from datetime import datetime, timezone

from .arguments import checked
from .errors import IQAError
from .quality_columns import check_collection, check_is_collection
from .selection import image_samples, select
from .views import check_correctness, good_cut, low_cut, metric_field

VIEWS_KEY = "iqa_views"  # in dataset.info
TAGS_KEY = "iqa_tags"
PREFIX = "iqa_"

_COLOURS = {
    "low": "#E15759",
    "good_but_wrong": "#F28E2B",
    "poor_but_right": "#59A14F",
    "slice": "#4E79A7",
}


@checked
def save_views(
    samples,
    metric,
    correctness=None,
    quantile=None,
    threshold=None,
    good_quantile=None,
    higher_is_better=None,
    brain_key=None,
) -> dict:
    """Saves views of poor images, with their thresholds as numbers.

    ``iqa_low_<metric>`` and, with ``correctness``,
    ``iqa_good_but_wrong_<metric>`` and ``iqa_poor_but_right_<metric>``. Views
    of these names that were saved here before are replaced. Samples that are
    added later are in them by the same thresholds. What they mean is in
    their descriptions and in ``dataset.info["iqa_views"]``. They are
    scenarios for FiftyOne's Model Evaluation.

    Args:
        samples: a dataset or view, whose stages the views begin with
        metric: a quality field, or a metric that has one field
        correctness (None): the boolean field
        quantile (None): see :func:`low_quality_view`
        threshold (None): see :func:`low_quality_view`; it parts good from
            poor in all three views
        good_quantile (None): share of the scores that is good, by default
            0.25 where there is no threshold
        higher_is_better (None): see :func:`low_quality_view`
        brain_key (None): a run of :func:`build_quality_prior`, whose report
            gets the thresholds too

    Returns:
        ``{name: what was recorded}``

    Raises:
        IQAError: see :func:`good_quality_but_wrong`; or a saved view of the
            name is not ours, or there is no such run; nothing is saved then
    """
    samples = image_samples(samples)
    dataset = samples._root_dataset
    field = metric_field(samples, metric)
    low = low_cut(samples, field, quantile, threshold, higher_is_better)
    planned = [("low", low, low.poor, _poor_words(low))]
    if correctness is not None:
        check_correctness(samples, field, correctness)
        if good_quantile is not None and threshold is not None:
            raise IQAError("Pass good_quantile= or threshold=, not both")
        good = good_cut(
            samples, field, good_quantile, threshold, higher_is_better
        )
        planned += [
            (
                "good_but_wrong",
                good,
                {**good.good, correctness: False},
                f"{_good_words(good)}, and {correctness} is false: look for "
                "wrong labels and odd content",
            ),
            (
                "poor_but_right",
                low,
                {**low.poor, correctness: True},
                f"{_poor_words(low)}, and {correctness} is true",
            ),
        ]
    elif good_quantile is not None:
        raise IQAError("good_quantile= needs correctness=")

    results = _run(dataset, brain_key)
    names = [_name(kind, field.path) for kind, *_ in planned]
    for name in names:
        check_free(dataset, name)
    saved = {}
    for name, (kind, cut, conditions, words) in zip(names, planned):
        record = {
            "kind": kind,
            **cut.to_dict(),
            "correctness": None if kind == "low" else correctness,
            "brain_key": brain_key,
        }
        view = select(samples, conditions)
        saved[name] = save_view(view, name, words, kind, record)
    if results is not None:
        results.report["views"] = {**results.report.get("views", {}), **saved}
        results.save()
    return saved


def save_view(view, name, description, kind="slice", record=None) -> dict:
    """Saves a view and notes that it is ours.

    Args:
        view: a ``fiftyone.core.view.DatasetView``
        name: its name, starting with ``iqa_``
        description: a sentence
        kind ("slice"): ``"low"``, ``"good_but_wrong"``, ``"poor_but_right"``
            or ``"slice"``; sets the colour
        record (None): dict of JSON-serialisable values to note

    Returns:
        what was recorded

    Raises:
        IQAError: if the name does not start with ``iqa_``, or a saved view
            of the name is not ours
    """
    dataset = view._root_dataset
    check_free(dataset, name)
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    record = {"kind": kind, **(record or {}), "saved": now}
    colour = _COLOURS[kind]
    dataset.save_view(name, view, description, colour, overwrite=True)
    _note(dataset, VIEWS_KEY, {**_noted(dataset, VIEWS_KEY), name: record})
    return record


def check_free(dataset, name) -> None:
    """Refuses names of saved views that are not ours.

    Raises:
        IQAError: if it is one, or does not start with ``iqa_``
    """
    import fiftyone.core.utils as fou

    if not isinstance(name, str) or not name.startswith(PREFIX):
        raise IQAError(f"Saved views are named {PREFIX}…, not {name!r}")
    ours = saved_view_names(dataset)
    slug = fou.to_slug(name)
    for other in dataset.list_saved_views():
        if fou.to_slug(other) == slug and other not in ours:
            raise IQAError(
                f"Dataset {dataset.name!r} has a saved view {other!r} that "
                "was not saved here; rename or delete it first"
            )


def saved_view_names(dataset) -> list[str]:
    """Returns the names of the saved views that are ours."""
    noted = _noted(dataset, VIEWS_KEY)
    return [name for name in dataset.list_saved_views() if name in noted]


@checked
def remove_views(dataset) -> list[str]:
    """Deletes the saved views that were saved here, and their records.

    Args:
        dataset: a dataset, or a view of it

    Returns:
        the names of the views deleted
    """
    check_is_collection(dataset)
    dataset = dataset._root_dataset
    names = saved_view_names(dataset)
    noted = _noted(dataset, VIEWS_KEY)
    for name in names:
        dataset.delete_saved_view(name)
    for key in {record.get("brain_key") for record in noted.values()}:
        if key in dataset.list_brain_runs(type="image_quality"):
            results = dataset.load_brain_results(key)
            results.report.pop("views", None)
            results.save()
    _note(dataset, VIEWS_KEY, None)
    return names


def tag_view(view, tag: str, label_fields=None) -> int:
    """Tags a view's samples, or labels, and notes the tag as ours.

    A tag that is in use is refused, so that ours can be taken back without
    touching anybody else's.

    Args:
        view: a dataset or view
        tag: the tag
        label_fields (None): label fields whose labels to tag; by default
            the samples are tagged

    Returns:
        the number of samples or labels tagged

    Raises:
        IQAError: if the tag is empty, or in use and not noted as ours
    """
    check_collection(view)
    if not isinstance(tag, str) or not tag.strip():
        raise IQAError(f"tag must be a non-empty string, not {tag!r}")
    dataset = view._root_dataset
    kind = "samples" if label_fields is None else "labels"
    noted = {"samples": [], "labels": [], **_noted(dataset, TAGS_KEY)}
    used = getattr(dataset, f"count_{kind[:-1]}_tags")
    if tag not in noted[kind] and tag in used():
        raise IQAError(
            f"Tag {tag!r} is in use on dataset {dataset.name!r}; pass "
            "another, so that it can be taken back"
        )
    noted[kind] = sorted({*noted[kind], tag})
    # Noted first: a call that is cut off can be taken back too
    _note(dataset, TAGS_KEY, noted)
    if kind == "samples":
        view.tag_samples(tag)
        return len(view)
    view.tag_labels(tag, label_fields=label_fields)
    return view.count_label_tags(label_fields=label_fields)[tag]


def tags_given(dataset) -> dict:
    """Returns ``{"samples": [...], "labels": [...]}``, the tags noted."""
    noted = _noted(dataset, TAGS_KEY)
    return {kind: list(noted.get(kind, [])) for kind in ("samples", "labels")}


def remove_tags(dataset) -> None:
    """Takes the tags noted as ours off all samples and labels."""
    noted = tags_given(dataset)
    if noted["samples"]:
        dataset.untag_samples(noted["samples"])
    if noted["labels"]:
        dataset.untag_labels(noted["labels"])
    _note(dataset, TAGS_KEY, None)


def _name(kind, path):
    return f"{PREFIX}{kind}_{path.replace('.', '_')}"


def _poor_words(cut):
    side = "at or below" if cut.higher_is_better else "at or above"
    said = f"Poor quality: {cut.metric} {side} {cut.threshold:.6g}"
    if cut.quantile is not None:
        said += f", the poorest {100 * cut.quantile:g} % when saved"
    return said


def _good_words(cut):
    side = "above" if cut.higher_is_better else "below"
    said = f"Good quality: {cut.metric} {side} {cut.threshold:.6g}"
    if cut.quantile is not None:
        said += f", the best {100 * cut.quantile:g} % when saved"
    return said


def _run(dataset, brain_key):
    if brain_key is None:
        return None
    runs = dataset.list_brain_runs(type="image_quality")
    if brain_key not in runs:
        raise IQAError(
            f"Dataset {dataset.name!r} has no run {brain_key!r} of "
            f"build_quality_prior; it has {', '.join(runs) or 'none'}"
        )
    return dataset.load_brain_results(brain_key)


def _noted(dataset, key):
    return dict(dataset.info.get(key) or {})


def _note(dataset, key, value):
    if value is None:
        dataset.info.pop(key, None)
    else:
        dataset.info[key] = value
    dataset.save()
