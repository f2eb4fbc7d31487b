"""Shards given to processes by somebody else: FiftyOne Enterprise's way."""

import os
import subprocess
import sys

import fiftyone_iqa as fiqa

_OPERATOR = """
import sys
import fiftyone as fo
import fiftyone.operators as foo

name, start, stop = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
dataset = fo.load_dataset(name)
operator = foo.get_operator("@fiftyone-iqa/iqa/compute_quality")
print(operator(dataset[start:stop], metrics=["tv", "blur"]).n_scored)
"""


def test_the_operator_scores_shards_in_processes_of_their_own(make_dataset):
    """At the same time, on one database; no step before or after them."""
    dataset = make_dataset(40)
    other = dataset.clone()
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", _OPERATOR),
                *(dataset.name, str(start), str(start + 20)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for start in (0, 20)
    ]
    for process in processes:
        out, said = process.communicate(timeout=180)
        assert process.returncode == 0, said
        assert out.split()[-1] == "40", "two metrics of twenty images"
    dataset.reload()
    fiqa.compute_quality(other, ("tv", "blur"))
    for field in ("tv", "blur"):
        assert dataset.values(field) == other.values(field)
