"""Quality metrics and their registry."""

# Importing registers; the order is the order of every list of metrics
# isort: off
from . import zsclip
from . import tv
from . import pyiqa_metrics
from . import pixels
from . import task_model

# isort: on
from .registry import MetricSpec, get_metric, list_metrics, register

__all__ = [
    "MetricSpec",
    "get_metric",
    "list_metrics",
    "pixels",
    "pyiqa_metrics",
    "register",
    "task_model",
    "tv",
    "zsclip",
]
