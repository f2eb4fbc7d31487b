"""The folder of an export: new, or in the place of an earlier export."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from .errors import IQAError
from .faults import what_to_do

CSV_NAME = "manifest.csv"
JSON_NAME = "manifest.json"


def absolute_folder(export_dir) -> Path:
    """Returns the folder to export to.

    Raises:
        IQAError: if it is no path
    """
    if not isinstance(export_dir, (str, os.PathLike)) or not str(export_dir):
        raise IQAError(f"export_dir must be a folder, not {export_dir!r}")
    return Path(os.path.abspath(os.path.expanduser(export_dir)))


def check_folder(folder: Path, overwrite: bool) -> None:
    """Refuses a folder with anything in it but an export to be replaced.

    Raises:
        IQAError: that says why
    """
    import eta.core.utils as etau

    if etau.is_archive(str(folder)):
        raise IQAError(f"export_dir {folder} is an archive; pass a folder")
    if folder.is_symlink():
        raise IQAError(
            f"export_dir {folder} is a link; pass the folder it leads to"
        )
    if folder.exists() and not folder.is_dir():
        raise IQAError(f"export_dir {folder} is a file; pass a folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    strange = _strange_file(folder)
    if strange is not None:
        raise IQAError(
            f"export_dir {folder} holds files that no export wrote, such as "
            f"{strange}; pass a new or empty folder"
        )
    if not overwrite:
        raise IQAError(
            f"export_dir {folder} holds an export; pass overwrite=True to "
            "replace it, or another folder"
        )


def _strange_file(folder):
    """Returns a file that is no earlier export's, or None."""
    if marker(folder).is_file():
        return None
    try:
        files = json.loads((folder / JSON_NAME).read_text("utf-8"))["files"]
        known = {*files, JSON_NAME, CSV_NAME}
    except (OSError, ValueError, KeyError, TypeError):
        known = set()
    return next((f for f in list_files(folder) if f not in known), None)


def marker(folder: Path) -> Path:
    """Returns the file beside a folder that says it is not complete."""
    return folder.with_name(f"{folder.name}.incomplete.txt")


def list_files(folder) -> list[str]:
    """Returns the files in a folder, relative to it; follows no links."""
    found = []
    for root, folders, files in os.walk(folder):
        links = [f for f in folders if os.path.islink(os.path.join(root, f))]
        for name in [*files, *links]:
            path = os.path.relpath(os.path.join(root, name), folder)
            found.append(Path(path).as_posix())
    return sorted(found)


@contextmanager
def disk_errors(folder: Path):
    """Says in one sentence that a disk is full, or may not be written.

    Raises:
        IQAError: instead of such an ``OSError``; others are the caller's
    """
    try:
        yield
    except OSError as e:
        todo = what_to_do(e)
        if todo is None:
            raise
        raise IQAError(
            f"The export to {folder} failed ({e}) and is undone: {todo}"
        ) from None


@contextmanager
def replacing(folder: Path):
    """Makes room for a folder; puts back what there was if a step fails."""
    new = [parent for parent in folder.parents if not parent.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _set_aside(folder):
            yield
    except BaseException:
        for parent in new:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
        raise


@contextmanager
def _set_aside(folder):
    aside = Path(
        tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent)
    )
    there = [path for path in (folder, marker(folder)) if path.exists()]
    moved = []
    try:
        for path in there:
            os.replace(path, aside / path.name)
            moved.append(path)
        marker(folder).write_text(
            f"The export in {folder} is not complete, unless it is still "
            f"being written. What it was to replace is in {aside}.\n",
            "utf-8",
        )
        yield
    except BaseException:
        # Not what could not be moved in the first place
        if folder in moved or folder not in there:
            shutil.rmtree(folder, ignore_errors=True)
        if marker(folder) in moved or marker(folder) not in there:
            marker(folder).unlink(missing_ok=True)
        for path in moved:
            # Where this fails, the former export stays where it is
            os.replace(aside / path.name, path)
        aside.rmdir()
        raise
    marker(folder).unlink()
    shutil.rmtree(aside)
