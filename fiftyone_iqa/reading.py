"""Reading whole columns of a dataset, millions of values at a time."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Sequence


def read_values(samples, paths: Sequence[str]) -> list[list]:
    """Reads fields in one pass over the samples.

    It is ``samples.values(paths)``, several times faster.

    Args:
        samples: a dataset or view
        paths: of its fields

    Returns:
        of each path a list as long as there are samples
    """
    paths = list(paths)
    if not paths:
        return []
    fields = [samples.get_field(path) for path in paths]
    # What MongoDB returns is what FiftyOne would make of it
    plain = all(isinstance(_leaf(field), _plain_fields()) for field in fields)
    with _without_collection():
        return list(samples.values(paths, _raw=plain))


def is_list(field) -> bool:
    """Whether a field holds lists."""
    import fiftyone as fo

    return isinstance(field, fo.ListField)


@contextlib.contextmanager
def _without_collection():
    """Pauses Python's garbage collector.

    A million documents at a time are many objects and no cycle: going
    through them again and again takes longer than reading them.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def name_fields() -> tuple:
    """Returns the classes of fields whose values can name a group."""
    import fiftyone as fo

    return (*_plain_fields(), fo.DateField, fo.DateTimeField)


def _plain_fields():
    import fiftyone as fo

    return (
        fo.BooleanField,
        fo.FloatField,
        fo.IntField,
        fo.ObjectIdField,
        fo.StringField,
    )


def _leaf(field):
    while is_list(field):
        field = field.field
    return field
