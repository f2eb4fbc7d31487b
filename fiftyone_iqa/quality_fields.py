"""Scores somebody else computed, admitted as quality metrics."""

from __future__ import annotations

from .arguments import checked
from .errors import IQAError
from .metrics.registry import HIGHER, LOWER


@checked
def use_quality_field(samples, field: str, higher_is_better: bool) -> None:
    """Declares that a numeric field is a quality metric.

    Nothing but the field's ``info`` is written.

    Args:
        samples: a dataset or view
        field: name of a float or integer field of its dataset
        higher_is_better: the field's direction

    Raises:
        IQAError: if there is no such field, it is not numeric, it is one of
            this package's own (whose direction is settled), or the direction
            is not a bool
    """
    import fiftyone as fo

    from .scoring.source import INFO_KEY

    dataset = samples._root_dataset
    found = dataset.get_field(field)
    if found is None:
        numeric = dataset.get_field_schema(ftype=(fo.FloatField, fo.IntField))
        raise IQAError(
            f"Dataset {dataset.name!r} has no field {field!r}; its numeric "
            f"fields are {', '.join(numeric) or 'none'}"
        )
    if not isinstance(found, (fo.FloatField, fo.IntField)):
        raise IQAError(
            f"Field {field!r} is a {type(found).__name__}; a quality metric "
            "is a float or integer field"
        )

    info = (found.info or {}).get(INFO_KEY, {})
    if info.get("metric", "external") != "external":
        raise IQAError(
            f"Field {field!r} was computed by metric {info['metric']!r}, "
            "whose direction is settled"
        )

    found.info = {
        **(found.info or {}),
        INFO_KEY: {
            "metric": "external",
            "output": "",
            "direction": HIGHER if higher_is_better else LOWER,
        },
    }
    found.save()
