"""fiftyone_iqa: which images are too poor for models, and what it costs.

Names load on first use, so that ``import fiftyone_iqa`` imports neither
fiftyone nor torch.
"""

from importlib import import_module

__version__ = "0.1.0"

_NAMES = {
    "ConfigurationMismatchError": "errors",
    "EncoderUnavailableError": "encoders.base",
    "ImageFailureError": "errors",
    "IQAError": "errors",
    "ModelUnavailableError": "models",
    "QualityReport": "scoring.report",
    "build_quality_prior": "quality_prior",
    "cache_info": "scoring.cache",
    "clear_cache": "scoring.cache",
    "compute_correctness": "correctness",
    "compute_predictions": "predictions",
    "compute_quality": "scoring.quality",
    "corrupt_dataset": "corrupted_datasets",
    "expected_accuracy": "expectation",
    "get_encoder": "encoders",
    "get_task_model": "models",
    "list_metrics": "metrics",
    "load_imagenet_c": "corrupted_datasets",
    "load_prior": "analysis.prior",
    "mildly_corrupt_dataset": "corrupted_datasets",
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
