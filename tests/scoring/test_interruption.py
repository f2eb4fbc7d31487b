"""Killed for real, and resumed."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import fiftyone_iqa as fiqa

_SCRIPT = """
import signal
import sys
# Ignored in the children of a shell's background jobs
signal.signal(signal.SIGINT, signal.default_int_handler)
import fiftyone as fo
import fiftyone_iqa as fiqa
import open_clip
name, folder, prefix = sys.argv[1:]
open_clip.add_model_config(f"{folder}/iqa-tiny.json")
fiqa.compute_quality(
    fo.load_dataset(name),
    encoder=f"iqa-tiny/{folder}/0.pt",
    metrics=("zsclip", "tv", "blur"),
    batch_size=4,
    num_workers=1,
    cache=False,
    progress=False,
    field_prefix=prefix,
)
"""


@pytest.fixture
def many(make_dataset, write_images):
    paths = write_images(20, size=(700, 900)) * 20
    return make_dataset(paths=paths, labels=["cat", "dog"], persistent=True)


def start(dataset, tiny_clip, prefix):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [
            *(sys.executable, "-c", _SCRIPT),
            *(dataset.name, str(tiny_clip), prefix),
        ],
        env=env,
    )


def wait_for_scores(dataset, field, n, process):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        dataset.reload()
        if dataset.has_field(field) and dataset.count(field) >= n:
            return
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    raise AssertionError("no scores were written in two minutes")


def test_a_killed_and_an_interrupted_run_are_resumed(
    many, tiny_clip, encoder_names
):
    fields = [f"a_{f}" for f in ("zsclip_qp", "zsclip_ql", "tv", "blur")]
    n_done = 0
    for how in (signal.SIGKILL, signal.SIGINT):
        process = start(many, tiny_clip, "a")
        wait_for_scores(many, "a_tv", n_done + 1, process)
        process.send_signal(how)
        process.wait(30)
        assert process.returncode != 0

        half = np.array(many.values(fields), dtype=float)
        done = np.isfinite(half)
        assert n_done < done[0].sum() < len(many)
        assert (done == done[0]).all(), "no sample is half written"
        n_done = int(done[0].sum())

    arguments = {
        "metrics": ("zsclip", "tv", "blur"),
        "encoder": encoder_names[0],
        "cache": False,
    }
    resumed = fiqa.compute_quality(many, field_prefix="a", **arguments)
    assert [m.skipped for m in resumed.metrics] == [n_done] * 3
    assert [m.scored for m in resumed.metrics] == [len(many) - n_done] * 3
    assert resumed.n_decoded == len(many) - n_done

    fiqa.compute_quality(many, field_prefix="b", **arguments)
    whole = many.values([f.replace("a_", "b_", 1) for f in fields])
    np.testing.assert_allclose(many.values(fields), whole, atol=1e-5)
