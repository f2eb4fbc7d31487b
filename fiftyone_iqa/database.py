"""A database that goes away during a call, and a dataset that is deleted.

Both surface as whatever the driver or FiftyOne happened to be doing. Here
they become one sentence that says what to do next.
"""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager

from .errors import (
    DatabaseUnreachableError,
    DatasetDeletedError,
    IQAError,
)

logger = logging.getLogger(__name__)


@contextmanager
def explained_errors(arguments):
    """Says in one sentence that the database or a dataset is gone.

    Args:
        arguments: of the call inside; the collections among them are those
            that may have been deleted

    Raises:
        DatabaseUnreachableError: instead of the driver's errors
        DatasetDeletedError: instead of what follows from a deletion
    """
    try:
        yield
    except IQAError:
        raise
    except Exception as e:
        error = _unreachable(e) or _deleted(arguments)
        if error is None:
            raise
        logger.debug("The call ended with", exc_info=True)
        raise error from None


def check_not_deleted(dataset) -> None:
    """Refuses a dataset that has been deleted, by whatever process.

    Writes to a dataset that is not there any more succeed and change nothing,
    so somebody has to ask.

    Raises:
        DatasetDeletedError: if it is no longer in the database
    """
    import fiftyone.core.odm as foo

    here = not dataset.deleted
    if here:
        query = {"_id": dataset._doc.id}
        here = foo.get_db_conn().datasets.find_one(query, {"_id": 1})
    if not here:
        raise DatasetDeletedError(
            f"Dataset {dataset.name!r} was deleted during this call, and the "
            "results with it; nothing was written anywhere else. Call again "
            "with another dataset"
        )


def _unreachable(error):
    # Who raises its errors has imported it
    errors = sys.modules.get("pymongo.errors")
    if errors is None or not isinstance(error, errors.ConnectionFailure):
        return None
    reason = str(error).split(", Timeout:")[0].splitlines()[0]
    return DatabaseUnreachableError(
        f"The connection to FiftyOne's database was lost ({reason}). What was "
        "written before is kept and no sample is half written: see that the "
        "database runs again, then call again to do the rest"
    )


def _deleted(arguments):
    collections = sys.modules.get("fiftyone.core.collections")
    if collections is None:
        return None
    for value in arguments:
        if not isinstance(value, collections.SampleCollection):
            continue
        try:
            check_not_deleted(value._root_dataset)
        except DatasetDeletedError as e:
            return e
        except Exception as e:
            return _unreachable(e)
    return None
