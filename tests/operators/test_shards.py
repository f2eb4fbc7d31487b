"""Shards of one dataset, scored by processes of somebody else's.

What FiftyOne Enterprise's distributed execution does, by means of the open
version: delegated operations of disjoint views, and several processes that
take them out of the queue.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import fiftyone_iqa as fiqa

URI = "@fiftyone-iqa/iqa/compute_quality"


def test_the_operator_scores_shards_in_processes_of_their_own(
    foo, make_dataset
):
    """At the same time, on one database; no step before or after them."""
    from fiftyone.operators.delegated import DelegatedOperationService

    dataset = make_dataset(40, persistent=True)
    other = dataset.clone()
    operator = foo.get_operator(URI)
    for start in range(0, 40, 10):
        view = dataset[start : start + 10]
        operator(view, metrics=["tv", "blur"], delegate=True)
    service = DelegatedOperationService()

    def operations():
        return service.list_operations(operator=URI, dataset_name=dataset.name)

    launch = [Path(sys.executable).parent / "fiftyone", "delegated", "launch"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    workers = [
        subprocess.Popen(launch, env=env, stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    try:
        deadline = time.monotonic() + 180
        while any(o.run_state in ("queued", "running") for o in operations()):
            assert time.monotonic() < deadline
            assert all(worker.poll() is None for worker in workers)
            time.sleep(0.2)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(30)
    done = operations()
    assert [o.run_state for o in done] == ["completed"] * 4
    # Four shards of ten images and two metrics
    assert [o.result.result["scored"] for o in done] == [20] * 4
    dataset.reload()
    fiqa.compute_quality(other, ("tv", "blur"))
    for field in ("tv", "blur"):
        assert dataset.values(field) == other.values(field)
