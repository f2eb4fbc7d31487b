"""What this package wrote to a dataset, and how to take it all back."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from .arguments import checked
from .corrupted.target import FIELD_DESCRIPTIONS, RECORD_KEY
from .errors import IQAError
from .robustness.foundation_output import RECORD_KEY as ROBUSTNESS_KEY
from .saved_views import (
    TAGS_KEY,
    VIEWS_KEY,
    remove_tags,
    remove_views,
    saved_view_names,
    tags_given,
)
from .scoring.configuration import LABEL_SETS_KEY
from .scoring.source import FAILURE_FIELD, INFO_KEY
from .sidebar import groups_made, restore_sidebar
from .workspace import our_workspaces

_INFO_KEYS = (LABEL_SETS_KEY, VIEWS_KEY, TAGS_KEY, ROBUSTNESS_KEY)
_RUN_TYPES = ("image_quality", "model_quality", "foundation_robustness")
_FRAMES = "frames."


@dataclass(frozen=True)
class Written:
    """What this package wrote to a dataset.

    Attributes:
        fields: paths of quality fields, predictions, correctness and
            failures; those of frames start with ``frames.``
        declared: fields of others that were declared to be quality
        runs: keys of brain runs
        views: names of saved views
        workspaces: names of workspaces that ``save_workspace`` saved
        tags: tags of samples
        label_tags: tags of labels
        info: keys of ``dataset.info``
        indexes: database indexes on the fields
        sidebar_groups: names of groups in the App's sidebar
        n_variants: samples added by ``corrupt_dataset``
    """

    fields: tuple[str, ...]
    declared: tuple[str, ...]
    runs: tuple[str, ...]
    views: tuple[str, ...]
    workspaces: tuple[str, ...]
    tags: tuple[str, ...]
    label_tags: tuple[str, ...]
    info: tuple[str, ...]
    indexes: tuple[str, ...]
    sidebar_groups: tuple[str, ...]
    n_variants: int

    def __bool__(self):
        return any(asdict(self).values())

    def to_dict(self) -> dict:
        """Returns JSON-serialisable values."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    def __str__(self):
        lines = [
            f"{name.replace('_', ' ')}: {', '.join(value)}"
            for name, value in asdict(self).items()
            if isinstance(value, tuple) and value
        ]
        if self.n_variants:
            lines.append(f"corrupted variants: {self.n_variants:,} samples")
        return "\n".join(lines) or "nothing"


def written(dataset) -> Written:
    """Returns what this package wrote to a dataset.

    Args:
        dataset: a ``fiftyone.core.dataset.Dataset``

    Raises:
        IQAError: if it is no dataset
    """
    _check_dataset(dataset)
    fields, declared = _fields(dataset)
    tags = tags_given(dataset)
    return Written(
        fields=tuple(fields),
        declared=tuple(declared),
        runs=tuple(
            key
            for kind in _RUN_TYPES
            for key in dataset.list_brain_runs(type=kind)
        ),
        views=tuple(saved_view_names(dataset)),
        workspaces=tuple(our_workspaces(dataset)),
        tags=tuple(tags["samples"]),
        label_tags=tuple(tags["labels"]),
        info=tuple(key for key in _INFO_KEYS if key in dataset.info),
        indexes=tuple(_indexes(dataset, fields)),
        sidebar_groups=tuple(groups_made(dataset)),
        n_variants=_n_variants(dataset),
    )


@checked
def delete_everything(
    dataset, dry_run: bool = False, variants: bool = False
) -> Written:
    """Deletes everything this package wrote to a dataset.

    Fields of others stay; those declared by ``use_quality_field`` only lose
    the declaration. Image files and exports stay, and so do corrupted
    variants unless asked for, and the datasets of perturbed images that
    ``foundation_robustness`` made. Embeddings on disk are
    :func:`fiftyone_iqa.clear_cache`'s.

    Args:
        dataset: a ``fiftyone.core.dataset.Dataset``
        dry_run (False): whether to only say what would be deleted
        variants (False): whether to delete the samples that
            ``corrupt_dataset`` added to this dataset, and their four fields.
            The image files stay

    Returns:
        the :class:`Written`, as it was before

    Raises:
        IQAError: if it is no dataset, or it has nothing but variants:
            ``dataset.delete()`` deletes it then
    """
    found = written(dataset)
    if variants and found.n_variants:
        _check_originals(dataset)
    if dry_run:
        return found

    had_active = bool(_active_paths(dataset))
    remove_views(dataset)
    for name in found.workspaces:
        dataset.delete_workspace(name)
    for key in found.runs:
        dataset.delete_brain_run(key)
    remove_tags(dataset)
    for name in found.indexes:
        dataset.drop_index(name)
    _delete_fields(dataset, found.fields)
    for path in found.declared:
        _undeclare(dataset, path)
    if variants and found.n_variants:
        _delete_variants(dataset)
    for key in found.info:
        dataset.info.pop(key, None)
    restore_sidebar(dataset)
    # FiftyOne takes deleted fields out; to show none at all nobody asked for
    if had_active and not _active_paths(dataset):
        dataset.app_config.active_fields = None
    dataset.save()
    dataset.reload()
    return found


def _check_dataset(dataset):
    import fiftyone as fo

    if not isinstance(dataset, fo.Dataset):
        raise IQAError(
            "dataset must be a FiftyOne dataset, not "
            f"{type(dataset).__name__}: what was written belongs to all of it"
        )


def _schema(dataset):
    yield from dataset.get_field_schema(flat=True).items()
    if dataset._has_frame_fields():
        frames = dataset.get_frame_field_schema(flat=True)
        for path, field in frames.items():
            yield _FRAMES + path, field


def _fields(dataset):
    """Returns the paths of our fields, and of those declared quality."""
    import fiftyone as fo

    ours, declared = [], []
    for path, field in _schema(dataset):
        info = (field.info or {}).get(INFO_KEY)
        is_failure = path.rpartition(".")[2] == FAILURE_FIELD
        if is_failure and isinstance(field, fo.DictField):
            ours.append(path)
        elif isinstance(info, dict) and "metric" in info:
            external = info["metric"] == "external"
            (declared if external else ours).append(path)
    return ours, declared


def _delete_fields(dataset, paths):
    of_frames = [p[len(_FRAMES) :] for p in paths if p.startswith(_FRAMES)]
    of_samples = [p for p in paths if not p.startswith(_FRAMES)]
    if of_samples:
        dataset.delete_sample_fields(of_samples)
    if of_frames:
        dataset.delete_frame_fields(of_frames)


def _undeclare(dataset, path):
    field = dataset.get_field(path)
    info = {k: v for k, v in field.info.items() if k != INFO_KEY}
    field.info = info or None
    field.save()


def _active_paths(dataset):
    active = dataset.app_config.active_fields
    return list(active.paths) if active is not None else []


def _indexes(dataset, fields):
    """Returns the names of the indexes that hold nothing but our fields."""
    fields_map = dataset._get_db_fields_map(reverse=True)
    for name, info in dataset.get_index_information().items():
        keys = [fields_map.get(key, key) for key, _ in info["key"]]
        if all(key in fields for key in keys):
            yield name


def _n_variants(dataset):
    if RECORD_KEY not in dataset.info:
        return 0
    return len(_variants(dataset))


def _variants(dataset):
    """Returns the view of the samples that are of another one."""
    from fiftyone import ViewField

    if not dataset.has_sample_field("source_id"):
        return dataset.limit(0)
    return dataset.match(
        (ViewField("source_id") != None)  # noqa: E711
        & (ViewField("source_id") != ViewField("_id").to_string())
    )


def _check_originals(dataset):
    if len(_variants(dataset)) == len(dataset):
        raise IQAError(
            f"Dataset {dataset.name!r} has nothing but variants; delete it "
            "with dataset.delete()"
        )


def _delete_variants(dataset):
    dataset.delete_samples(_variants(dataset))
    dataset.delete_sample_fields(
        [name for name in FIELD_DESCRIPTIONS if dataset.has_sample_field(name)]
    )
    dataset.info.pop(RECORD_KEY, None)
