"""Views by conditions on fields: of samples, and of objects in them.

Conditions are MongoDB's: ``{path: value}`` or ``{path: {"$gte": 1, "$lt":
2}}``. Unlike FiftyOne's expressions they never take None or NaN for a small
number, they use indexes, and the App shows them readably.
"""

from __future__ import annotations

import sys

from .errors import IQAError
from .quality_columns import check_collection, object_root


def image_samples(samples):
    """Returns a collection of images: of groups, all their image slices.

    Raises:
        IQAError: if it is no collection, is empty, or holds no images
    """
    import fiftyone.core.media as fom

    check_collection(samples)
    if samples.media_type == fom.GROUP:
        if fom.IMAGE not in samples.group_media_types.values():
            raise IQAError(
                f"Dataset {samples._root_dataset.name!r} has no image "
                f"slices; its group slices are {samples.group_media_types}"
            )
        return samples.select_group_slices(media_type=fom.IMAGE)
    if samples.media_type == fom.VIDEO:
        raise IQAError(
            "Videos have no image quality; pass a frames view: "
            "samples.to_frames(sample_frames=True)"
        )
    return samples


def select(samples, conditions: dict):
    """Returns the view of the samples, or objects, that meet conditions.

    Args:
        samples: a dataset or view
        conditions: by path; those of objects keep the objects that meet all
            of them, and the samples with such objects

    Raises:
        IQAError: if a field is missing, or belongs to other objects than
            another
    """
    of_samples, of_objects, roots = {}, {}, set()
    for path, condition in conditions.items():
        if samples.get_field(path) is None:
            raise IQAError(
                f"Dataset {samples._root_dataset.name!r} has no field {path!r}"
            )
        root = object_root(samples, path)
        if root is None:
            of_samples[path] = condition
        else:
            roots.add(root)
            of_objects[path[len(root) + 1 :]] = condition
    if len(roots) > 1:
        raise IQAError(
            "Conditions on different objects do not combine: "
            f"{', '.join(sorted(roots))}"
        )
    if of_samples:
        samples = samples.match(of_samples)
    for root in roots:
        kept = None
        for leaf, condition in of_objects.items():
            expression = _expression(leaf, condition)
            kept = expression if kept is None else kept & expression
        samples = samples.filter_labels(root.rpartition(".")[0], kept)
    return samples


def _expression(leaf, condition):
    """Returns a condition as FiftyOne's expression."""
    from fiftyone import ViewExpression, ViewField

    field = ViewField(leaf)
    if not isinstance(condition, dict):
        # A label may start with a dollar, which would be a field's name
        return field == ViewExpression.literal(condition)

    # In expressions None and NaN are below all numbers
    found = field >= condition.get("$gte", -sys.float_info.max)
    if "$gt" in condition:
        found = found & (field > condition["$gt"])
    if "$lt" in condition:
        found = found & (field < condition["$lt"])
    if "$lte" in condition:
        found = found & (field <= condition["$lte"])
    return found
