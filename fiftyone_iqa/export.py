"""Exports of slices: any FiftyOne dataset type, with a manifest."""

from __future__ import annotations

import inspect
import os
import shutil
import tempfile
from contextlib import contextmanager

from .arguments import checked, shown
from .errors import IQAError
from .export_folder import (
    JSON_NAME,
    absolute_folder,
    check_folder,
    disk_errors,
    list_files,
    replacing,
)
from .export_manifest import Manifest
from .quality_columns import check_collection
from .views import metric_field

DEFAULT_TYPE = "FiftyOneDataset"


@checked
def export_slice(
    view,
    export_dir,
    dataset_type=None,
    label_field=None,
    fields=None,
    copy=True,
    overwrite=False,
    metric=None,
    reason=None,
    progress=None,
) -> dict:
    """Exports a view, with a manifest of what its images are and why.

    ``manifest.csv`` and ``manifest.json`` have a row per sample: id,
    original and exported file, tags, reasons, failures, and the fields that
    the dataset type may not hold: numbers, strings, booleans, labels of
    classifications, quality of objects.

    The folder must be new or empty; an earlier export is replaced if told
    to. If the export fails, the folder is as it was before. If the process
    is killed, ``<folder>.incomplete.txt`` beside it says so.

    Args:
        view: a dataset or view of images
        export_dir: the folder
        dataset_type (None): a type of ``fiftyone.types`` or its name; by
            default ``FiftyOneDataset``, which keeps all fields
        label_field (None): label field (or several) to export, by default
            the first that suits the type
        fields (None): names of the fields to keep besides the label fields
            (``label_field``, if it is given), by default all. Types other
            than ``FiftyOneDataset`` hold labels only; the rest is in the
            manifest
        copy (True): whether images are copied; False links to them
        overwrite (False): whether to replace an export made here before.
            Other folders with files in them are never touched
        metric (None): a quality field, whose value and rank in the dataset
            are among the reasons
        reason (None): a sentence to note as a reason with every sample
        progress (None): whether to render a progress bar (True/False), use
            the default value ``fiftyone.config.show_progress_bars`` (None),
            or a progress callback function to invoke instead

    Returns:
        ``{"export_dir", "dataset_type", "n", "manifest"}``

    Raises:
        IQAError: if a field or type is unknown or they do not fit, an image
            is missing, a label is no name for a folder inside, or the folder
            may not be written; nothing is written then. If the disk turns
            out to be full, the folder is as it was
    """
    check_collection(view)
    _check_images(view)
    kind = _dataset_type(dataset_type)
    labels = _label_fields(view, label_field)
    if metric is not None:
        metric = metric_field(view, metric).path
    fields = _fields(view, fields, labels, metric)
    folder = absolute_folder(export_dir)
    with disk_errors(folder):
        check_folder(folder, overwrite)
    paths = view.values("filepath")
    _check_files(paths, folder)
    if "DirectoryTree" in kind.__name__:
        _check_class_folders(view, labels, folder)
    manifest = Manifest(view, fields, metric, reason)

    if fields is not None:
        view = view.select_fields(fields)
    names = _unique_names(paths)
    # Or other fields, and the groups, stay in the schema
    clone = fields is not None or _is_grouped(view)
    with (
        disk_errors(folder),
        replacing(folder),
        _named(view, paths, names, clone) as (named, staged),
    ):
        try:
            named.export(
                export_dir=str(folder),
                dataset_type=kind,
                label_field=label_field,
                export_media=True if copy else "symlink",
                progress=progress,
            )
        except (AttributeError, KeyError, TypeError, ValueError) as e:
            raise IQAError(
                f"FiftyOne cannot write these samples as {kind.__name__} "
                f"({e}); pass another dataset_type= or label_field="
            ) from e
        if not copy:
            _point_links_home(folder, staged)
        exported = _find(folder, names, paths)
        manifest.write(folder, kind.__name__, exported)
    return {
        "export_dir": str(folder),
        "dataset_type": kind.__name__,
        "n": len(paths),
        "manifest": str(folder / JSON_NAME),
    }


def _check_images(view):
    import fiftyone.core.media as fom

    if view.media_type != fom.IMAGE:
        raise IQAError(
            f"Exports are of images, and this is a collection of "
            f"{view.media_type}; pass select_group_slices(…), or "
            "to_frames(sample_frames=True)"
        )


def _is_grouped(view):
    import fiftyone.core.media as fom

    return view._root_dataset.media_type == fom.GROUP


def _dataset_type(value):
    import fiftyone.types as fot

    found = DEFAULT_TYPE if value is None else value
    if isinstance(found, fot.Dataset):
        found = type(found)
    if isinstance(found, str):
        found = getattr(fot, found, None)
    if not (inspect.isclass(found) and issubclass(found, fot.Dataset)):
        raise IQAError(
            f"dataset_type must be a type of fiftyone.types, such as "
            f"'FiftyOneDataset' or 'COCODetectionDataset', not {shown(value)}"
        )
    try:
        found().get_dataset_exporter_cls()
    except (TypeError, NotImplementedError) as e:
        raise IQAError(f"{found.__name__} cannot be written: {e}") from None
    return found


def _label_fields(view, label_field):
    """Returns the names of the label fields asked for; all for None."""
    import fiftyone as fo

    known = view.get_field_schema(
        ftype=fo.EmbeddedDocumentField, embedded_doc_type=fo.Label
    )
    if label_field is None:
        return list(known)
    names = [label_field] if isinstance(label_field, str) else label_field
    for name in names:
        if name not in known:
            raise IQAError(
                f"{name!r} is no label field of dataset "
                f"{view._root_dataset.name!r}; its label fields are "
                f"{', '.join(known) or 'none'}"
            )
    return list(names)


def _fields(view, fields, labels, metric):
    if fields is None:
        return None
    fields = [fields] if isinstance(fields, str) else list(fields)
    for name in fields:
        if view.get_field(name) is None:
            raise IQAError(
                f"Dataset {view._root_dataset.name!r} has no field {name!r}"
            )
    # Of objects' quality, the objects
    own = [] if metric is None else [metric.split(".")[0]]
    return list(dict.fromkeys([*fields, *labels, *own]))


def _check_files(paths, folder):
    missing = [p for p in paths if not os.path.isfile(p)]
    if missing:
        raise IQAError(
            f"{len(missing):,} of {len(paths):,} images are not there, such "
            f"as {missing[0]}; leave them out of the view"
        )
    inside = os.path.realpath(folder) + os.sep
    for path in paths:
        if os.path.realpath(path).startswith(inside):
            raise IQAError(
                f"Image {path} lies in export_dir itself; pass another folder"
            )


def _check_class_folders(view, labels, folder):
    """Refuses class names that lead out of the folder."""
    for field in labels:
        _, path = view._get_label_field_path(field, "label")
        if view.get_field(path) is None:
            continue
        for label in view.distinct(path):
            inner = os.path.normpath(os.path.join(folder, label))
            safe = inner.startswith(str(folder) + os.sep)
            if not safe or "\0" in label:
                raise IQAError(
                    f"Class {label!r} is no name for a folder inside "
                    f"{folder}; export another type, or map the label"
                )


def _unique_names(paths):
    """Returns file names that differ in their stems, whatever the case."""
    taken, names = set(), {}
    for path in dict.fromkeys(paths):
        stem, suffix = os.path.splitext(os.path.basename(path))
        name, i = stem, 1
        while name.lower() in taken:
            i += 1
            name = f"{stem}-{i}"
        taken.add(name.lower())
        names[path] = name + suffix
    return [names[path] for path in paths]


@contextmanager
def _named(view, paths, names, must_clone):
    """Yields the view, or a clone, with images of unique names.

    Types of FiftyOne rename images whose names clash, and do not say how.

    Yields:
        a collection, and ``{path of a link: the image}`` where it was needed
    """
    clashes = {
        path: name
        for path, name in zip(paths, names)
        if os.path.basename(path) != name
    }
    if not clashes and not must_clone:
        yield view, {}
        return

    stage = tempfile.mkdtemp(prefix="fiftyone-iqa-export-")
    clone = None
    try:
        staged = {}
        for path, name in clashes.items():
            link = os.path.join(stage, name)
            try:
                os.symlink(os.path.abspath(path), link)
            except OSError:  # not everybody may, on Windows
                shutil.copyfile(path, link)
            staged[link] = path
        clone = view.clone()
        links = {path: link for link, path in staged.items()}
        filepaths = clone.values("filepath")
        clone.set_values("filepath", [links.get(p, p) for p in filepaths])
        yield clone, staged
    finally:
        if clone is not None:
            clone.delete()
        shutil.rmtree(stage, ignore_errors=True)


def _point_links_home(folder, staged):
    """Makes links to staged links lead to the images."""
    for name in list_files(folder):
        path = folder / name
        target = os.readlink(path) if path.is_symlink() else None
        if target in staged:
            path.unlink()
            path.symlink_to(os.path.abspath(staged[target]))


def _find(folder, names, paths):
    """Returns where each image went, relative to the folder, or None.

    A file of its name and size; a mask of the same name is of another size.
    """
    by_name = {}
    for file in list_files(folder):
        by_name.setdefault(os.path.basename(file), []).append(file)
    found = []
    for name, path in zip(names, paths):
        size = os.path.getsize(path)
        found.append(
            next(
                (
                    file
                    for file in by_name.get(name, ())
                    if os.path.getsize(folder / file) == size
                ),
                None,
            )
        )
    return found
