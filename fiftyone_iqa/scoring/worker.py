"""The entry of worker processes that decode images.

``python -m fiftyone_iqa.scoring.worker`` starts one.

It imports neither torch nor fiftyone; see :mod:`fiftyone_iqa.processes`.
"""

from __future__ import annotations

from fiftyone_iqa.processes import serve
from fiftyone_iqa.scoring.prepare import prepare

if __name__ == "__main__":
    serve(lambda preparers, job: prepare(job, preparers))
