"""Metrics that are one number computed from pixels in the decode worker."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .registry import Configuration, Metric, Scorer


class PixelMetric(Metric):
    """A metric whose value is a pure function of the image.

    Attributes:
        function: picklable, ``(h, w, 3)`` uint8 RGB to a float
        formula: one line that changes whenever a value would
    """

    function: Callable[[np.ndarray], float]
    formula: str

    def configure(self, request, frozen):
        """Returns the formula and the spec's direction."""
        (output,) = self.spec.outputs
        return Configuration(
            identity={"formula": self.formula},
            directions={output.suffix: output.direction},
        )

    def build(self, configuration, request):
        """Returns a scorer that computes in the worker."""
        return _PixelScorer(self.spec.name, type(self).function)


class _PixelScorer(Scorer):
    def __init__(self, name, function):
        self.input_key = f"pixels:{name}"
        self.prepare = function

    def features(self, inputs):
        return np.array(inputs, dtype=np.float64).reshape(len(inputs), 1)

    def score(self, features):
        return {"": features[:, 0]}
