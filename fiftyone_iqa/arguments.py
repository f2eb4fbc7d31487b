"""What public functions take, checked in one place before any work starts.

A parameter means the same in every function that has it, so its check is
found by its name. What depends on the dataset (is there such a field?) is
asked later, by the functions themselves.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import numbers
import os
import reprlib
from collections.abc import Iterable, Mapping

from .errors import IQAError
from .faults import explained_errors, root_dataset

_MOST_VALUES = 1_000_000  # of a list; an endless iterator is none
_MOST_WORKERS = 1024
_MOST_RESAMPLES = 1_000_000
_MOST_MEMBERS = 1000
_MOST_EPOCHS = 100_000
_MOST_FOLDS = 1000
_LARGEST_SIDE = 4096  # pixels
_LARGEST_SEED = 2**63


class _Refused(Exception):
    """Says what an argument must be, where there is more to say."""


def checked(function):
    """Decorator: refuses unusable arguments of a public function.

    None is taken where it is the default; iterators become lists. Arguments
    that the function does not have are Python's own ``TypeError``.

    Raises:
        IQAError: in one sentence that names the argument
        DatabaseUnreachableError: if the database goes away during the call
        DatasetDeletedError: if the dataset does
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        with explained_errors(bound.arguments.values()):
            for name, value in bound.arguments.items():
                default = signature.parameters[name].default
                if name in CHECKS and not (value is None and default is None):
                    bound.arguments[name] = _check(name, value)
            return function(*bound.args, **bound.kwargs)

    return call


def _check(name, value):
    words, convert = CHECKS[name]
    try:
        return convert(value)
    except IQAError:
        raise
    except _Refused as e:
        words = str(e)
    except (TypeError, ValueError, OverflowError):
        pass
    raise IQAError(f"{name} must be {words}, not {shown(value)}")


def shown(value):
    """Returns a value as a message shows it: short, on one line."""
    if not isinstance(value, (str, bytes, numbers.Number, type(None))) and (
        not isinstance(value, (list, tuple, dict, set))
    ):
        return type(value).__name__
    return ascii_lines(reprlib.repr(value))


def ascii_lines(text: str) -> str:
    """Returns a text without what no database or terminal takes."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return " ".join(text.split())


# Each returns the value to use, or raises a TypeError or a ValueError


def _anything(value):
    return value


def _collection(value):
    import fiftyone.core.collections as foc

    if not isinstance(value, foc.SampleCollection):
        raise IQAError(
            "samples must be a FiftyOne dataset or view, not "
            f"{type(value).__name__}"
        )
    dataset = root_dataset(value)
    if dataset.deleted:
        raise IQAError(f"Dataset {dataset.name!r} has been deleted")
    return value


def _flag(value):
    if isinstance(value, bool):
        return value
    raise TypeError


def _text(value):
    if not isinstance(value, str) or not value or "\0" in value:
        raise TypeError
    value.encode()  # lone surrogates are no text that a database stores
    return value


def _path(value):
    # A dollar would be an operator in the database's queries
    parts = _text(value).split(".")
    if not all(parts) or any(part.startswith("$") for part in parts):
        raise ValueError
    return value


def _key(value):
    if value is None:  # keeps no run, where a run is kept by default
        return None
    if not _text(value).isidentifier():
        raise ValueError
    return value


def _values(value, convert):
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(
        value, Iterable
    ):
        return convert(value)
    values = list(itertools.islice(iter(value), _MOST_VALUES + 1))
    if len(values) > _MOST_VALUES:
        raise ValueError
    return [convert(v) for v in values]


def _texts(value):
    return _values(value, _text)


def _paths(value):
    return _values(value, _path)


def _metrics(value):
    from .metrics.registry import Metric

    return _values(value, lambda v: v if isinstance(v, Metric) else _text(v))


def _whole(low, high):
    def convert(value):
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise TypeError
        if value < low:
            raise _Refused(f"at least {low}")
        if value > high:
            raise _Refused(f"at most {high:,}")
        return int(value)

    return convert


def _between(low, high):
    def convert(value):
        try:
            return _whole(low, high)(value)
        except _Refused:
            raise ValueError from None

    return convert


def _severities(value):
    return _values(value, _between(1, 5))


def _number(value):
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError
    if not math.isfinite(value):
        raise ValueError
    return float(value)


def _positive(value):
    if _number(value) <= 0:
        raise ValueError
    return float(value)


def _share(value):
    if not 0 <= _number(value) <= 1:
        raise ValueError
    return value


def _inner_share(value):
    if not 0 < _number(value) < 1:
        raise ValueError
    return value


def _temperature(value):
    if isinstance(value, str) and value == "model":
        return value
    if _number(value) <= 0:
        raise ValueError
    return float(value)


def _folder(value):
    text = os.fspath(value)
    if not isinstance(text, str) or not text or "\0" in text:
        raise TypeError
    return value


def _progress(value):
    if isinstance(value, bool) or callable(value):
        return value
    raise TypeError


def _device(value):
    import torch

    if isinstance(value, (str, torch.device)):
        return value
    raise TypeError


def _mapping(value):
    if not isinstance(value, Mapping):
        raise TypeError
    return {_text(k): _text(v) for k, v in value.items()}


def _models(value):
    import torch

    if isinstance(value, torch.nn.Module):  # a Sequential can be iterated
        return [value]
    return _listed(value, _anything)


def _listed(value, convert):
    found = _values(value, convert)
    return found if isinstance(found, list) else [found]


def _variants(value):
    """A field, or collections by name."""
    if isinstance(value, str):
        return _path(value)
    if not isinstance(value, Mapping) or not value:
        raise TypeError
    return {_text(k): _collection_or_name(v) for k, v in value.items()}


def _collection_or_name(value):
    return _text(value) if isinstance(value, str) else _collection(value)


def _mappings(value):
    if not isinstance(value, Mapping):
        raise TypeError
    return {_text(k): _mapping(v) for k, v in value.items()}


def _epsilons(value):
    return _listed(value, _epsilon)


def _epsilon(value):
    if not 0 < _number(value) <= 1:
        raise ValueError
    return float(value)


def _prior(value):
    from .analysis.prior import QualityPrior

    if not isinstance(value, QualityPrior):
        raise TypeError
    return value


def _grid(value):
    if isinstance(value, str):
        return _path(value)
    return _values(value, lambda v: _values(v, _path))


def _folds(value):
    if _whole(0, _MOST_FOLDS)(value) == 1:
        raise _Refused("0, or at least 2")
    return int(value)


def _numbers(value):
    found = _values(value, _number)
    if not isinstance(found, list) or not found:
        raise TypeError
    return found


def _not_negative(value):
    if _number(value) < 0:
        raise ValueError
    return float(value)


def _positive(value):
    if _number(value) <= 0:
        raise ValueError
    return float(value)


_FIELD = "the name of a field", _path
_FIELDS = "the name of a field, or a list of names", _paths
_JUDGED = "a boolean field, such as compute_correctness() writes", _path
_FLAG = "True or False", _flag
_VARIANTS = (
    "the name of a field, or a dict of names to datasets or views",
    _variants,
)
_FOLDER = "a folder", _folder
_TEXT = "a text", _text
_COLLECTION = "a FiftyOne dataset or view", _collection
_ANYTHING = "", _anything


def _count(low, high):
    return "an integer", _whole(low, high)


CHECKS = {
    "samples": _COLLECTION,
    "view": _COLLECTION,
    # A dataset or its name, which functions tell apart
    "dataset": _ANYTHING,
    "dataset_name": _TEXT,
    "output": _TEXT,
    "dataset_type": _ANYTHING,
    "encoder": _ANYTHING,
    "model": _ANYTHING,
    "oracle": _ANYTHING,
    "generator": _ANYTHING,
    "transform": _ANYTHING,
    "normalisation": _ANYTHING,
    "metric": _FIELD,
    "metrics": ("the name of a metric, or a list of names", _metrics),
    "correctness": _JUDGED,
    "predictions": _FIELD,
    "ground_truth": _FIELD,
    "field": _FIELD,
    "source": _FIELD,
    "by": _FIELDS,
    "group_by": _FIELDS,
    "fields": _FIELDS,
    "label_field": _FIELDS,
    "field_prefix": _TEXT,
    "eval_key": _TEXT,
    "brain_key": ("letters, digits and underscores", _key),
    "slug": _TEXT,
    "classes": ("the name of a field, or a list of names", _texts),
    "templates": ("a list of texts with one {} each", _texts),
    "corruptions": ("the name of a corruption, or a list of names", _texts),
    "severities": ("integers from 1 to 5", _severities),
    "temperature": ("'model' or a number above 0", _temperature),
    "quantile": ("between 0 and 1, such as 0.05", _inner_share),
    "good_quantile": ("between 0 and 1, such as 0.25", _inner_share),
    "threshold": ("a number", _number),
    "p": ("a fraction between 0 and 1", _share),
    "higher_is_better": _FLAG,
    "overwrite": _FLAG,
    "skip_failures": _FLAG,
    "store_logits": _FLAG,
    "cache": _FLAG,
    "include_clean": _FLAG,
    "copy": _FLAG,
    "persistent": _FLAG,
    "dry_run": _FLAG,
    "variants": _FLAG,
    "train_on": _COLLECTION,
    "evaluate_on": _COLLECTION,
    "edges": ("a list of numbers", _numbers),
    "step_size": ("a number above 0", _positive),
    "adjustment": ("a number of at least 0", _not_negative),
    "probabilities": _ANYTHING,
    "checkpoints": _ANYTHING,
    "logits": ("the name of a field, or lists of names", _grid),
    "store_predictions": _FLAG,
    "checkpoint_dir": _FOLDER,
    "learning_rate": ("a number above 0", _positive),
    "seeds": _count(1, _MOST_MEMBERS),
    "epochs": _count(1, _MOST_EPOCHS),
    "folds": ("0, or an integer of at least 2", _folds),
    "image_size": _count(8, _LARGEST_SIDE),
    "batch_size": _count(1, 2**31),
    "budget": _count(1, 10_000),
    "num_workers": _count(0, _MOST_WORKERS),
    "n_resamples": _count(1, _MOST_RESAMPLES),
    "seed": _count(0, _LARGEST_SEED),
    "min_n": _count(2, 2**31),
    "min_sources": _count(2, 2**31),
    "max_slices": _count(1, 2**31),
    "max_per_condition": _count(1, 2**31),
    "quality": ("an integer from 1 to 100", _between(1, 100)),
    "worker_type": _TEXT,
    "executor": _TEXT,
    "precision": _TEXT,
    "protocol": _TEXT,
    "image_format": _TEXT,
    "labels": _TEXT,
    "reason": _TEXT,
    "device": ("the name of a torch device", _device),
    "mapping": ("a dict from predicted to true labels", _mapping),
    "progress": ("True, False, or a function", _progress),
    "models": ("a task model or its name, or a list of those", _models),
    "ood": _VARIANTS,
    "backgrounds": _VARIANTS,
    "cue_conflict": (
        "a dataset, a view or the name of a dataset",
        _collection_or_name,
    ),
    "texture": _FIELD,
    "mappings": ("a dict of dicts from class to label", _mappings),
    "epsilons": ("numbers above 0, up to 1, such as 8/255", _epsilons),
    "max_attacked": _count(0, 2**31),
    "max_corrupted": _count(0, 2**31),
    "prior": ("a quality prior, such as load_prior(path) returns", _prior),
    "export_dir": _FOLDER,
    "images_dir": _FOLDER,
    "dir": _FOLDER,
    "path": ("a file", _folder),
}
