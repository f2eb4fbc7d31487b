"""Views that come along with a request, as the stages they are made of.

FiftyOne makes a stage of whatever class the JSON names, so that a request
could name any callable. Here only its own stages are, and none whose query
runs code on the database server or writes to it.
"""

import json

_MODULE = "fiftyone.core.stages."
_RUN_OR_WRITE = ("$accumulator", "$function", "$merge", "$out", "$where")
_DEEPEST = 100


def build_view(dataset, stages: str):
    """Returns the view of a dataset that serialised stages describe.

    Args:
        dataset: the dataset
        stages: JSON, a list of stages as FiftyOne serialises them

    Raises:
        IQAError: if it is anything else, or names what is not a stage
    """
    import fiftyone as fo

    from fiftyone_iqa.errors import IQAError

    refusal = IQAError("These stages are not those of a view of the App")
    try:
        found = json.loads(stages)
        if not isinstance(found, list):
            raise ValueError
        for stage in found:
            _check_stage(stage)
        return fo.DatasetView._build(dataset, found)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise refusal from None


def _check_stage(stage):
    import fiftyone.core.stages as fost

    name = stage["_cls"]
    known = getattr(fost, name.removeprefix(_MODULE), None)
    if (
        not name.startswith(_MODULE)
        or not isinstance(known, type)
        or not issubclass(known, fost.ViewStage)
    ):
        raise ValueError
    _check_arguments(stage["kwargs"], 0)


def _check_arguments(value, depth):
    if depth > _DEEPEST:
        raise ValueError
    if isinstance(value, dict):
        if "_cls" in value:  # of a stage in a stage, as Concat has them
            _check_stage(value)
        if any(key in value for key in _RUN_OR_WRITE):
            raise ValueError
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            _check_arguments(inner, depth + 1)
