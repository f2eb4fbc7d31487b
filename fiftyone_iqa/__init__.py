"""fiftyone_iqa: which images are too poor for models, and what it costs.

Names load on first use, so that ``import fiftyone_iqa`` imports neither
fiftyone nor torch.
"""

from importlib import import_module

__version__ = "0.1.0"

_NAMES = {
    "ConfigurationMismatchError": "errors",
    "ImageFailureError": "errors",
    "IQAError": "errors",
    "EncoderUnavailableError": "encoders.base",
    "ModelUnavailableError": "models",
    "QualityReport": "scoring.report",
    "cache_info": "scoring.cache",
    "clear_cache": "scoring.cache",
    "compute_correctness": "correctness",
    "compute_predictions": "predictions",
    "compute_quality": "scoring.quality",
    "get_encoder": "encoders",
    "get_task_model": "models",
    "list_metrics": "metrics",
    "quality_from_predictions": "predictions",
    "use_quality_field": "quality_fields",
}

__all__ = ["__version__", *_NAMES]


def __getattr__(name):
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_NAMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *_NAMES])
