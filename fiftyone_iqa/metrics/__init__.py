"""Quality metrics and their registry."""

from . import zsclip  # noqa: F401  (the order is the order of every list)
from . import tv  # noqa: F401, I001
from . import pixels  # noqa: F401
from .registry import MetricSpec, get_metric, list_metrics, register

__all__ = ["MetricSpec", "get_metric", "list_metrics", "register"]
