"""ImageNet-C as downloaded, as a dataset."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..arguments import checked
from ..corruptions import list_corruptions
from ..corruptions.protocols import IMAGENET_C
from ..errors import IQAError
from .target import declare_fields

# Of the fifth archive: conditions to validate on
EXTRA = ("gaussian_blur", "saturate", "spatter", "speckle_noise")

_LABELS = ("name", "synset")
_SUFFIXES = (".jpeg", ".jpg", ".png")
_CHUNK = 2000  # samples added at once


@checked
def load_imagenet_c(
    dir,
    dataset_name=None,
    classes=None,
    corruptions=None,
    severities=None,
    max_per_condition=None,
    labels="name",
    persistent=False,
    progress=None,
):
    """Makes a dataset of ImageNet-C's folders; files stay where they are.

    Samples have the fields ``ground_truth`` (``fo.Classification``),
    ``corruption``, ``severity``, ``source_id`` (the file's stem, such as
    ``ILSVRC2012_val_00000293``) and ``corruption_protocol``.

    Args:
        dir: the folder with ``<corruption>/<severity>/<synset>/<image>``, or
            one with the archives' folders ``noise``, ``blur``, ``weather``,
            ``digital`` and ``extra``, which hold those
        dataset_name (None): name of the new dataset
        classes (None): synset ids to load, such as ``["n01440764"]``
        corruptions (None): conditions to load, by default those there
        severities (None): severities to load, by default those there
        max_per_condition (None): images to load of each condition and
            severity: the first by file name, so the same of all. ImageNet's
            file names mix the classes
        labels ("name"): ``"name"`` labels with ImageNet's class names,
            those of :func:`fiftyone_iqa.get_task_model`'s predictions;
            ``"synset"`` with the folders' names
        persistent (False): whether the dataset outlives the database session
        progress (None): whether to show a progress bar (True/False), the
            default of ``fo.config.show_progress_bars`` (None), or a callback
            as in FiftyOne

    Returns:
        an ``fo.Dataset``

    Raises:
        IQAError: if the folder is not such a one, an argument is unusable,
            or the dataset exists; nothing has been made then
    """
    import fiftyone as fo
    import fiftyone.core.utils as fou

    if labels not in _LABELS:
        raise IQAError(
            f"labels must be one of {', '.join(_LABELS)}, not {labels!r}"
        )
    if dataset_name is not None and fo.dataset_exists(dataset_name):
        raise IQAError(
            f"Dataset {dataset_name!r} exists; pass another dataset_name="
        )

    root = Path(os.path.abspath(os.path.expanduser(dir)))
    folders = _condition_folders(root)
    folders = _choose(folders, corruptions, severities)
    files = [
        (corruption, severity, path)
        for (corruption, severity), folder in folders.items()
        for path in _images(folder, classes, max_per_condition)
    ]
    if not files:
        wanted = "" if classes is None else f" of the classes {classes}"
        raise IQAError(f"There are no images{wanted} in {root}")

    names = _class_names() if labels == "name" else {}
    dataset = fo.Dataset(dataset_name, persistent=persistent)
    try:
        declare_fields(dataset)
        with fou.ProgressBar(total=len(files), progress=progress) as bar:
            for start in range(0, len(files), _CHUNK):
                chunk = files[start : start + _CHUNK]
                samples = [_sample(*file, names) for file in chunk]
                dataset.add_samples(samples, progress=False)
                bar.update(len(chunk))
    except BaseException:
        dataset.delete()
        raise
    return dataset


def _condition_folders(root):
    """Returns ``{(corruption, severity): folder}``, in published order."""
    if not root.is_dir():
        raise IQAError(f"There is no folder {root}")

    known = [*list_corruptions(), *EXTRA]
    found = {}
    for parent in (root, *sorted(p for p in root.iterdir() if p.is_dir())):
        for corruption in known:
            for severity in range(1, 6):
                folder = parent / corruption / str(severity)
                if folder.is_dir():
                    found.setdefault((corruption, severity), folder)
    if not found:
        raise IQAError(
            f"{root} has no folders of ImageNet-C, such as "
            "gaussian_noise/1/n01440764; pass the folder the archives were "
            "unpacked in"
        )
    return {
        (corruption, severity): found[corruption, severity]
        for corruption in known
        for severity in range(1, 6)
        if (corruption, severity) in found
    }


def _choose(folders, corruptions, severities):
    for wanted, column, argument in (
        (corruptions, 0, "corruptions"),
        (severities, 1, "severities"),
    ):
        if wanted is None:
            continue
        wanted = [wanted] if isinstance(wanted, (str, int)) else list(wanted)
        there = list(dict.fromkeys(key[column] for key in folders))
        missing = [value for value in wanted if value not in there]
        if missing or not wanted:
            raise IQAError(
                f"{argument} asks for {missing or 'none'}; the folder has "
                f"{', '.join(map(str, there))}"
            )
        folders = {k: v for k, v in folders.items() if k[column] in wanted}
    return folders


def _images(folder, classes, limit) -> Iterator[Path]:
    """Yields the images of a condition by file name."""
    if isinstance(classes, str):
        classes = [classes]
    paths = [
        Path(entry.path)
        for synset in sorted(p for p in folder.iterdir() if p.is_dir())
        if classes is None or synset.name in classes
        for entry in os.scandir(synset)
        if entry.name.lower().endswith(_SUFFIXES)
        and not entry.name.startswith(".")
    ]
    paths.sort(key=lambda path: (path.name, path.parent.name))
    yield from paths[:limit]


def _class_names():
    from ..models.imagenet import imagenet_names, imagenet_synsets

    return dict(zip(imagenet_synsets(), imagenet_names()))


def _sample(corruption, severity, path, names):
    import fiftyone as fo

    synset = path.parent.name
    return fo.Sample(
        filepath=str(path),
        ground_truth=fo.Classification(label=names.get(synset, synset)),
        corruption=corruption,
        severity=severity,
        source_id=path.stem,
        corruption_protocol=IMAGENET_C,
    )
