"""Task models: trained classifiers whose correctness is explained."""

from .base import ModelUnavailableError, TaskModel
from .factory import get_task_model, slug_of
from .preparation import Normalisation

__all__ = [
    "ModelUnavailableError",
    "Normalisation",
    "TaskModel",
    "get_task_model",
    "slug_of",
]
