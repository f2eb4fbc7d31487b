"""Conventional no-reference quality, computed by pyiqa.

``brisque``, ``clipiqa`` and ``arniqa``, the baselines of Drenkow & Unberath
2025, section 2.1, and ``pyiqa:<name>`` for any other no-reference metric that
pyiqa knows. Values equal those of pyiqa's own call on the image alone, within
1e-4; what makes that call slow is left out: batches of one, a text tower run
on the same prompts for every image, checks that wait for the device.
"""

from __future__ import annotations

import math
import re

from .pyiqa_loading import (
    LICENCE,
    check_runs,
    kind_of,
    load_network,
    named_arrays,
    pyiqa_table,
)
from .pyiqa_scorer import PyiqaScorer
from .registry import (
    HIGHER,
    LOWER,
    Configuration,
    Metric,
    MetricSpec,
    Output,
    register,
    register_family,
)

_SIZES = "native size, float32 RGB in [0, 1]"
_LICENCE = f"{LICENCE} (pyiqa)"
_WEIGHTS_LICENCE = "their authors'"


class PyiqaMetric(Metric):
    """A no-reference metric that pyiqa computes.

    Args:
        name: pyiqa's name for it
        spec: what it is
    """

    def __init__(self, name: str, spec: MetricSpec):
        self.name = name
        self.spec = spec

    def configure(self, request, frozen):
        """Loads the network: its weights are part of what a score means.

        Raises:
            WeightsUnavailableError: if weights are missing and out of reach
            IQAError: if pyiqa is missing or the metric does not run here
        """
        from importlib.metadata import version

        from ..encoders.base import digest_of_arrays
        from ..encoders.factory import resolve_device

        check_runs(self.name)
        device = resolve_device(request.device)
        # pyiqa knows CUDA and the CPU; much of it needs float64
        device = "cpu" if device.startswith("mps") else device
        network = load_network(self.name, device)
        arrays = list(named_arrays(network))
        (output,) = self.spec.outputs
        return Configuration(
            identity={
                "pyiqa": self.name,
                "weights": digest_of_arrays(arrays) if arrays else "none",
                "preprocessing": _SIZES,
            },
            directions={output.suffix: output.direction},
            provenance={"pyiqa_version": version("pyiqa")},
            resources={"network": network, "device": device},
        )

    def build(self, configuration, request):
        """Returns a scorer around the network."""
        return PyiqaScorer(
            kind_of(self.name),
            configuration.resources["network"],
            configuration.resources["device"],
        )


def parse_range(text: str) -> tuple[float, float]:
    """Returns a score range as pyiqa writes it (``"~0, ~100"``).

    ``~`` marks a rough bound; a bare ``~`` is infinity.

    Examples:
        >>> parse_range("~0, ~100"), parse_range("0, ~")
        ((0.0, 100.0), (0.0, inf))
    """
    low, high = (part.strip().lstrip("~") for part in text.split(","))
    return (
        float(low) if low else -math.inf,
        float(high) if high else math.inf,
    )


def slug(name: str) -> str:
    """Returns a field name for a pyiqa name.

    Examples:
        >>> slug("clipiqa+_vitL14_512")
        'pyiqa_clipiqa_plus_vitl14_512'
    """
    words = re.sub(r"[^a-z0-9]+", "_", name.lower().replace("+", "_plus_"))
    return f"pyiqa_{words.strip('_')}"


@register_family("pyiqa")
def pyiqa_metric(name: str) -> PyiqaMetric:
    """Returns the metric ``pyiqa:<name>``.

    Direction and range are pyiqa's own.

    Raises:
        IQAError: if pyiqa is missing, has no such metric, or a rule refuses
            it (:func:`fiftyone_iqa.metrics.pyiqa_loading.check_runs`)
    """
    check_runs(name)
    entry = pyiqa_table()[name]
    return PyiqaMetric(
        name,
        MetricSpec(
            name=slug(name),
            title=f"pyiqa: {name}",
            summary=f"No-reference quality metric {name!r} of pyiqa",
            guidance="none",
            outputs=(
                Output(
                    "",
                    LOWER if entry.get("lower_better") else HIGHER,
                    parse_range(entry["score_range"]),
                    f"{name} as computed by pyiqa; the range is pyiqa's "
                    "estimate",
                ),
            ),
            licence=_LICENCE,
            weights=f"pyiqa's for {name}",
            paper=f"see pyiqa's documentation of {name}",
            weights_licence=_WEIGHTS_LICENCE,
        ),
    )


def _baseline(
    name, title, direction, bounds, description, weights, paper, verified
):
    # Directions and ranges are repeated here, so that metrics are listed
    # without pyiqa; a test holds them equal to pyiqa's
    return MetricSpec(
        name=name,
        title=title,
        summary=f"{title}, computed by pyiqa",
        guidance="none",
        outputs=(Output("", direction, bounds, description),),
        licence=_LICENCE,
        weights=weights,
        paper=paper,
        weights_licence=_WEIGHTS_LICENCE,
        verified=verified,
    )


@register
class Brisque(PyiqaMetric):
    """Registers ``brisque``."""

    def __init__(self):
        spec = _baseline(
            "brisque",
            "BRISQUE",
            LOWER,
            (0.0, 150.0),
            "BRISQUE: distance from natural scene statistics; the range is "
            "pyiqa's estimate",
            "brisque_svm_weights.pth",
            "Mittal, Moorthy & Bovik 2012",
            verified="yes",
        )
        super().__init__("brisque", spec)


@register
class CLIPIQA(PyiqaMetric):
    """Registers ``clipiqa``."""

    def __init__(self):
        spec = _baseline(
            "clipiqa",
            "CLIP-IQA",
            HIGHER,
            (0.0, 1.0),
            "CLIP-IQA: whether CLIP finds 'good' or 'bad' image prompts "
            "nearer, mean of five pairs",
            "OpenAI CLIP RN50",
            "Wang, Chan & Loy 2023",
            verified="at random weights",
        )
        super().__init__("clipiqa", spec)


@register
class ARNIQA(PyiqaMetric):
    """Registers ``arniqa``."""

    def __init__(self):
        spec = _baseline(
            "arniqa",
            "ARNIQA",
            HIGHER,
            (0.0, 1.0),
            "ARNIQA: regression to opinion scores (KonIQ-10k) from an "
            "encoder of distortions",
            "ARNIQA.pth, regressor_koniq10k.pth, torchvision ResNet-50",
            "Agnolucci et al. 2024",
            verified="at random weights",
        )
        super().__init__("arniqa", spec)
