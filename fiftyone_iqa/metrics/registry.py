"""The registry: a metric is a spec (what it is) and a scorer (how it runs).

To add a metric, write one file in this package with a :class:`Metric`
subclass under :func:`register` and import it in ``metrics/__init__.py``; the
SDK, the operator's form, the README's table and the parametrised tests pick
it up from here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from ..errors import IQAError

HIGHER = "higher"
LOWER = "lower"
NONE = "none"
BY_CONFIGURATION = "by-configuration"

SCORE = "score"
PREDICTION = "prediction"


@dataclass(frozen=True)
class Prediction:
    """A classification of one image.

    Attributes:
        label: the most probable class
        confidence: its probability
        logits: ``(k,)`` float32 logits, or None where they are not kept
    """

    label: str
    confidence: float
    logits: np.ndarray | None = None


@dataclass(frozen=True)
class Output:
    """One number a metric gives for an image.

    Attributes:
        suffix: appended to the metric's name to name the field; ``""`` for
            the field named like the metric
        direction: ``"higher"`` if higher is better quality, ``"lower"``,
            ``"none"`` if neither, ``"by-configuration"`` if it is settled
            when the metric is configured
        range: smallest and largest possible value
        description: one sentence, shown in the App
        kind: ``"score"``, a float; or ``"prediction"``, a classification,
            which has no direction and an empty range
    """

    suffix: str
    direction: str
    range: tuple[float, float] | None
    description: str
    kind: str = SCORE


@dataclass(frozen=True)
class MetricSpec:
    """What a metric is, independent of how it runs.

    Attributes:
        name: identifier, also the stem of its fields
        title: name for people
        summary: one sentence
        guidance: ``"none"``, ``"weak"`` (label set only) or ``"strong"``
            (a trained task model)
        outputs: its numbers
        licence: of the code that computes it
        weights: which weights it needs, or ``"none"``
        paper: where it is defined
        weights_licence: of the weights, or ``"–"``
        input_size: what becomes of an image's size
        verified: what of it this project has run, for the README
        needs_labels: whether it asks for a label set and an encoder
    """

    name: str
    title: str
    summary: str
    guidance: str
    outputs: tuple[Output, ...]
    licence: str
    weights: str
    paper: str
    weights_licence: str = "–"
    input_size: str = "native"
    verified: str = "yes"
    needs_labels: bool = False

    def field_names(self, prefix: str | None = None) -> dict[str, str]:
        """Returns ``{output suffix: field name}``.

        Args:
            prefix (None): put before the metric's name, with an underscore
        """
        stem = "_".join(filter(None, [(prefix or "").rstrip("_"), self.name]))
        return {
            output.suffix: "_".join(filter(None, [stem, output.suffix]))
            for output in self.outputs
        }


class Scorer(ABC):
    """Runs one configured metric, in three steps.

    :attr:`prepare` works on one decoded image, in a worker; :meth:`features`
    on a batch of its results, on the device; :meth:`score` turns features
    into numbers, on the CPU. Features with a :attr:`cache_space` are kept on
    disk, so that a new label set or temperature skips the first two steps.

    Attributes:
        input_key: scorers with the same key share :attr:`prepare`'s result
        prepare: picklable callable, ``(h, w, 3)`` uint8 RGB to an array
        cache_space: identifies encoder and preprocessing, or None
        device: where :meth:`features` runs, for reports
    """

    input_key: str
    prepare: Callable[[np.ndarray], np.ndarray]
    cache_space: str | None = None
    device: str = "cpu"

    @abstractmethod
    def features(self, inputs: list[np.ndarray]) -> np.ndarray:
        """Returns ``(n, d)`` float features of ``n`` prepared images."""

    @abstractmethod
    def score(self, features: np.ndarray) -> dict[str, np.ndarray]:
        """Returns ``{output suffix: n values}``.

        Values are ``(n,)`` float64, or a list of :class:`Prediction`.
        """


@dataclass
class Configuration:
    """What a metric's scores mean, resolved and JSON-serialisable.

    Attributes:
        identity: everything that changes a value; two configurations are
            the same if and only if these are equal
        directions: resolved direction of each output, by suffix
        provenance: what is good to know but changes nothing
        resources: objects :meth:`Metric.build` needs; not stored
    """

    identity: dict
    directions: dict[str, str]
    provenance: dict = field(default_factory=dict)
    resources: dict = field(default_factory=dict)


class Metric(ABC):
    """A registered metric: :attr:`spec`, its configuration and its scorer."""

    spec: MetricSpec

    @abstractmethod
    def configure(self, request, frozen: dict | None) -> Configuration:
        """Resolves what a call asks for.

        Args:
            request: a :class:`fiftyone_iqa.scoring.request.Request`
            frozen: the identity and provenance the field already has, which
                fill what the call left open; None for a new field

        Raises:
            IQAError: if it cannot be resolved
        """

    @abstractmethod
    def build(self, configuration: Configuration, request) -> Scorer:
        """Returns the scorer; loads weights and encodes texts."""


_METRICS: dict[str, Metric] = {}
_FAMILIES: dict[str, Callable[[str], Metric]] = {}


def register(metric_class: type[Metric]) -> type[Metric]:
    """Class decorator that adds a metric to the registry."""
    metric = metric_class()
    if metric.spec.name in _METRICS:
        raise ValueError(f"Metric {metric.spec.name!r} is registered already")
    _METRICS[metric.spec.name] = metric
    return metric_class


def register_family(prefix: str):
    """Decorator that registers a function as the family ``prefix:...``.

    Args:
        prefix: what stands before the colon of a metric's name. The function
            takes what stands after it and returns a :class:`Metric`, or
            raises :class:`IQAError`
    """

    def decorate(resolve):
        _FAMILIES[prefix] = cache(resolve)
        return resolve

    return decorate


def get_metric(name: str | Metric) -> Metric:
    """Returns a registered metric, or one of a family (``"pyiqa:niqe"``).

    A :class:`Metric` is returned as it is.

    Raises:
        IQAError: if there is none of that name
    """
    if isinstance(name, Metric):
        return name

    if isinstance(name, str):
        if name in _METRICS:
            return _METRICS[name]
        prefix, _, rest = name.partition(":")
        if rest and prefix in _FAMILIES:
            return _FAMILIES[prefix](rest)

    families = "".join(f", {prefix}:…" for prefix in _FAMILIES)
    raise IQAError(
        f"Unknown metric {name!r}; there are {', '.join(_METRICS)}{families}"
    )


def list_metrics() -> list[MetricSpec]:
    """Returns the specs of all metrics, in the order of registration."""
    return [metric.spec for metric in _METRICS.values()]
