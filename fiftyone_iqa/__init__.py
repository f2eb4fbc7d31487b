"""fiftyone_iqa: which images are too poor for models, and what it costs.

Names load on first use, so that ``import fiftyone_iqa`` imports neither
fiftyone nor torch.
"""

from importlib import import_module

__version__ = "0.1.0"

_NAMES = {
    "ConfigurationMismatchError": "errors",
    "DatabaseUnreachableError": "errors",
    "DatasetDeletedError": "errors",
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
    "confusion_score": "confusion_field",
    "confusion_weights": "confusion_groups",
    "corrupt_dataset": "corrupted_datasets",
    "delete_everything": "cleanup",
    "expected_accuracy": "expectation",
    "export_slice": "export",
    "find_slices": "slices",
    "foundation_robustness": "robustness.foundation_run",
    "get_encoder": "encoders",
    "get_task_model": "models",
    "good_quality_but_wrong": "views",
    "list_metrics": "metrics",
    "load_imagenet_c": "corrupted_datasets",
    "load_prior": "analysis.prior",
    "low_quality_view": "views",
    "mildly_corrupt_dataset": "corrupted_datasets",
    "mitigate_confusion": "confusion_mitigation",
    "model_quality": "robustness.model_quality",
    "poor_quality_but_right": "views",
    "quality_from_predictions": "predictions",
    "remove_views": "saved_views",
    "save_views": "saved_views",
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
