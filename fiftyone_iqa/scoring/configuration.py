"""Configurations are frozen with the field: resolved once, then enforced."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from ..errors import (
    ConfigurationMismatchError,
    IQAError,
    WeightsUnavailableError,
)
from ..metrics.registry import (
    PREDICTION,
    Configuration,
    Metric,
    get_metric,
)
from .source import FAILURE_FIELD, INFO_KEY, SampleSource

logger = logging.getLogger(__name__)

LABEL_SETS_KEY = "iqa_label_sets"


@dataclass
class Plan:
    """A metric, its fields and its resolved configuration.

    Attributes:
        metric: the metric
        key: its name with the prefix; its key in ``iqa_failure``
        fields: field names by output suffix
        configuration: the resolved configuration
        must_clear: whether the fields hold values of another configuration,
            to be cleared first
    """

    metric: Metric
    key: str
    fields: dict[str, str]
    configuration: Configuration
    must_clear: bool = False
    infos: dict[str, dict] = field(default_factory=dict)


def resolve_plans(
    source: SampleSource, names, request, field_prefix, overwrite
) -> tuple[list[Plan], dict[str, str]]:
    """Resolves the configuration of every metric, without writing anything.

    Returns:
        the plans, and the reasons by name for metrics whose weights are not
        to be had while others' are

    Raises:
        IQAError: if a metric is unknown, given twice, or its field is not
            ours
        ConfigurationMismatchError: if a field holds scores of another
            configuration and ``overwrite`` does not cover all of them
        WeightsUnavailableError: if no metric's weights are to be had
    """
    metrics = [get_metric(name) for name in _checked_names(names)]
    prefix = _checked_prefix(field_prefix)
    plans, unavailable = [], {}
    for metric in metrics:
        fields = metric.spec.field_names(prefix)
        frozen = _frozen(source, metric, fields)
        try:
            configuration = metric.configure(request, frozen)
        except WeightsUnavailableError as e:
            if len(unavailable) + 1 == len(metrics):
                raise
            unavailable[metric.spec.name] = str(e)
            logger.warning("%s. The other metrics are computed", e)
            continue
        plan = Plan(
            metric=metric,
            key="_".join(filter(None, [prefix, metric.spec.name])),
            fields=fields,
            configuration=configuration,
        )
        if frozen and configuration.identity != frozen["identity"]:
            plan.must_clear = _check_mismatch(source, plan, frozen, overwrite)
        plan.infos = _infos(plan)
        plans.append(plan)

    return plans, unavailable


def freeze(source: SampleSource, plans: list[Plan]) -> None:
    """Declares the fields and writes each configuration to its ``info``.

    Raises:
        DatasetDeletedError: if the dataset has been deleted meanwhile
    """
    source.check_there()
    for plan in plans:
        if plan.must_clear:
            source.clear(plan.fields.values())
    _declare(source, plans)


def keep_declared(source: SampleSource, plans: list[Plan]) -> None:
    """Declares again what a process that started together overwrote.

    FiftyOne writes the list of a dataset's fields as a whole: of two
    processes that add fields at the same instant, one may lose its own, and
    their values would be in the database where nobody sees them.

    Raises:
        ConfigurationMismatchError: if a process has meanwhile given a field
            another configuration
        DatasetDeletedError: if the dataset has been deleted meanwhile
    """
    names = [name for plan in plans for name in plan.fields.values()]
    infos, dataset_info = source.stored([*names, FAILURE_FIELD])
    complete = None not in infos.values()
    label_sets = dataset_info.get(LABEL_SETS_KEY) or {}
    for plan in plans:
        labels = plan.configuration.resources.get("labels")
        complete &= labels is None or labels.hash in label_sets
        identity = plan.configuration.identity
        for name in plan.fields.values():
            other = ((infos[name] or {}).get(INFO_KEY) or {}).get("identity")
            if other is not None and other != identity:
                raise ConfigurationMismatchError(
                    f"While field {source.field_root + name!r} was scored, "
                    "another process gave it another configuration: "
                    f"{_difference(identity, other)}. It may now hold scores "
                    "of both; score the whole dataset with overwrite=True"
                )
    if not complete:
        source.dataset.reload()
        _declare(source, plans)


def _declare(source, plans):
    label_sets = dict(source.dataset.info.get(LABEL_SETS_KEY) or {})
    n_label_sets = len(label_sets)
    for plan in plans:
        for output in plan.metric.spec.outputs:
            source.declare(
                plan.fields[output.suffix],
                output,
                plan.infos[output.suffix],
            )

        labels = plan.configuration.resources.get("labels")
        if labels is not None:
            label_sets.setdefault(labels.hash, list(labels.names))

    if len(label_sets) > n_label_sets:
        source.dataset.info[LABEL_SETS_KEY] = label_sets
        source.dataset.save()

    source.declare_failures()


def _infos(plan):
    return {
        suffix: {
            "metric": plan.metric.spec.name,
            "output": suffix,
            "guidance": plan.metric.spec.guidance,
            "direction": plan.configuration.directions[suffix],
            "identity": plan.configuration.identity,
            "provenance": {
                **plan.configuration.provenance,
                "versions": _versions(),
            },
        }
        for suffix in plan.fields
    }


def _versions():
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for package in ("fiftyone-iqa", "torch", "open-clip-torch", "pillow"):
        try:
            versions[package.replace("-", "_")] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _checked_names(names):
    if isinstance(names, (str, Metric)):
        names = [names]
    names = list(names)
    if not names:
        raise IQAError(
            "metrics is empty; fiftyone_iqa.list_metrics() lists them"
        )
    return list(dict.fromkeys(names))


def _checked_prefix(prefix):
    if prefix is None:
        return None
    if not isinstance(prefix, str) or not prefix.rstrip("_").isidentifier():
        raise IQAError(
            "field_prefix must be letters, digits and underscores, starting "
            f"with a letter; got {prefix!r}"
        )
    return prefix.rstrip("_")


def _frozen(source, metric, fields):
    """Returns the info the metric's fields carry, or None if there is none."""
    import fiftyone as fo

    frozen = None
    for output in metric.spec.outputs:
        name = fields[output.suffix]
        existing = source.get_field(name)
        if existing is None:
            continue

        ftype = fo.FloatField
        if output.kind == PREDICTION:
            ftype = fo.EmbeddedDocumentField
        info = (existing.info or {}).get(INFO_KEY) or {}
        if (
            not isinstance(existing, ftype)
            or info.get("metric") != metric.spec.name
            or "identity" not in info
        ):
            raise IQAError(
                f"Field {source.field_root + name!r} exists and was not "
                f"written by metric {metric.spec.name!r}; pass "
                "field_prefix= to write elsewhere"
            )
        frozen = info
    return frozen


def _check_mismatch(source, plan, frozen, overwrite) -> bool:
    """Returns whether old values must be cleared; raises if they may not."""
    names = list(plan.fields.values())
    total = max(source.count_values(name) for name in names)
    if total == 0:
        return False

    root = source.field_root
    said = (
        f"Field {root + names[-1]!r} holds {total:,} scores made with "
        f"{_difference(frozen['identity'], plan.configuration.identity)}"
    )
    if not overwrite:
        raise ConfigurationMismatchError(
            f"{said}. Two ways out: field_prefix='other' writes beside them, "
            "overwrite=True on the whole dataset replaces them. "
            "(encoder=None, classes=None and templates=None continue with "
            "the configuration the field has)"
        )

    here = max(source.count_values_here(name) for name in names)
    if here < total:
        raise ConfigurationMismatchError(
            f"{said}, {total - here:,} of them outside this view; a field "
            "has one configuration. Overwrite the whole dataset, or pass "
            "field_prefix='other'"
        )

    logger.warning("%s; they are replaced", said)
    return True


def _difference(old, new):
    parts = [
        f"{key} {_short(old.get(key))} (this call: {_short(new.get(key))})"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    ]
    return ", ".join(parts)


def _short(value):
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
