"""What goes away during a call: the database, the dataset, room on a disk.

It surfaces as an error of whatever a library was doing. Here it becomes one
sentence that says what to do next.
"""

from __future__ import annotations

import errno
import logging
import sys
from contextlib import contextmanager

from .errors import (
    DatabaseUnreachableError,
    DatasetDeletedError,
    IQAError,
)

logger = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def explained_errors(arguments):
    """Says in one sentence what went away during a call.

    Args:
        arguments: of the call inside; the collections among them are those
            that may have been deleted

    Raises:
        DatabaseUnreachableError: instead of the driver's errors
        DatasetDeletedError: instead of what follows from a deletion
        IQAError: if a disk is full, or a file may not be read or written
    """
    try:
        yield
    except IQAError:
        raise
    except Exception as e:
        error = _unreachable(e) or _no_room(e) or _deleted(arguments)
        if error is None:
            raise
        logger.debug("The call ended with", exc_info=True)
        raise error from None


def stored(dataset, *keys: str) -> dict:
    """Returns what the database has of a dataset, whoever wrote it.

    Writes to a dataset that somebody has deleted succeed and change nothing,
    so one has to ask.

    Args:
        dataset: a ``fiftyone.core.dataset.Dataset``
        *keys: of its document

    Raises:
        DatasetDeletedError: if it is no longer there
    """
    import fiftyone.core.odm as foo

    found = None
    if not dataset.deleted:
        found = foo.get_db_conn().datasets.find_one(
            {"_id": dataset._doc.id}, {"_id": 1, **dict.fromkeys(keys, 1)}
        )
    if found is None:
        raise DatasetDeletedError(
            f"Dataset {dataset.name!r} is no longer in the database: it was "
            "deleted, and what was written to it is gone. Nothing else was "
            "changed; pass another dataset"
        )
    return found


def is_empty(samples) -> bool:
    """Returns whether a collection has no samples.

    ``bool(dataset)`` asks the database's statistics, which say 0 after a
    server was killed.
    """
    return samples.limit(1).count() == 0


def root_dataset(samples):
    """Returns a collection's dataset, also of a dataset that is deleted."""
    import fiftyone.core.dataset as fod

    if isinstance(samples, fod.Dataset):
        return samples
    return samples._root_dataset


def _unreachable(error):
    # Who raises its errors has imported it
    errors = sys.modules.get("pymongo.errors")
    if errors is None or not isinstance(error, errors.ConnectionFailure):
        return None
    reason = " ".join(str(error).split(", Timeout:")[0].split())
    return DatabaseUnreachableError(
        f"The connection to FiftyOne's database was lost ({reason}). What was "
        "written before is kept: see that the database runs again, then call "
        "again to do the rest"
    )


def what_to_do(error) -> str | None:
    """Returns what to do where a disk is full or forbidden, else None."""
    if not isinstance(error, OSError):
        return None
    if error.errno in _FULL:
        return "make room there, or choose another folder"
    if error.errno in _FORBIDDEN:
        return "choose a folder you may write, and files you may read"
    return None


def _no_room(error):
    todo = what_to_do(error)
    if todo is None:
        return None
    return IQAError(
        f"The call was cut off ({error}). What was written before is kept: "
        f"{todo}, then call again"
    )


def _deleted(arguments):
    collections = sys.modules.get("fiftyone.core.collections")
    if collections is None:
        return None
    for value in arguments:
        if not isinstance(value, collections.SampleCollection):
            continue
        try:
            stored(root_dataset(value))
        except DatasetDeletedError as e:
            return e
        except Exception as e:
            return _unreachable(e)
    return None
