"""Killed and interrupted for real, and resumed."""

import random
import signal
import time

import numpy as np
import pytest

import fiftyone_iqa as fiqa

from ..faults import kill_all, python

psutil = pytest.importorskip("psutil")

_SCRIPT = """
import signal
import sys
import time
# Ignored in the children of a shell's background jobs
signal.signal(signal.SIGINT, signal.default_int_handler)
import fiftyone as fo
import fiftyone_iqa as fiqa
from fiftyone_iqa.scoring import pipeline
# A long run in short: no faster than 80 images/s, and many writes
pipeline._FLUSH_SECONDS = 0.1
name, encoder, prefix, *metrics = sys.argv[1:]
if encoder != "None":
    import open_clip
    open_clip.add_model_config(encoder.split("/", 1)[1][:-4] + "iqa-tiny.json")
fiqa.compute_quality(
    fo.load_dataset(name),
    encoder=None if encoder == "None" else encoder,
    metrics=metrics,
    batch_size=4,
    num_workers=2,
    worker_type="process",
    cache=False,
    progress=lambda bar: time.sleep(0.05),
    field_prefix=prefix,
)
"""


@pytest.fixture
def many(make_dataset, write_images):
    paths = write_images(20, size=(120, 160)) * 20
    return make_dataset(paths=paths, labels=["cat", "dog"], persistent=True)


def end(how, dataset, fields, n_done, delay, *arguments):
    """Ends a run of its own process; returns how many samples have values.

    Args:
        how: the signal
        dataset: the dataset
        fields: names of the fields it writes
        n_done: how many values are there before
        delay: seconds to wait after it has written some
        *arguments: of the script, after the dataset's name
    """
    process = python(_SCRIPT, dataset.name, *arguments)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            dataset.reload()
            field = fields[-1]
            if dataset.has_field(field) and dataset.count(field) > n_done:
                break
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.02)
        time.sleep(delay)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 2, "it has workers"
        process.send_signal(how)
        started = time.monotonic()
        process.wait(30)
        seconds = time.monotonic() - started
        assert process.returncode != 0
    finally:
        kill_all(process)
    assert seconds < 10, "it returns promptly"
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive, "no process is left behind"

    done = np.isfinite(np.array(dataset.values(fields), dtype=float))
    assert (done == done[0]).all(), "no sample is half written"
    assert n_done < done[0].sum() < len(dataset)
    return int(done[0].sum())


def resume(dataset, metrics, n_done, encoder=None):
    """Calls again, and compares with an undisturbed run."""
    arguments = {"metrics": metrics, "encoder": encoder, "cache": False}
    resumed = fiqa.compute_quality(dataset, field_prefix="a", **arguments)
    n = len(dataset)
    assert [m.skipped for m in resumed.metrics] == [n_done] * len(metrics)
    assert [m.scored for m in resumed.metrics] == [n - n_done] * len(metrics)
    assert resumed.n_decoded == n - n_done

    fiqa.compute_quality(dataset, field_prefix="b", **arguments)
    fields = [f for m in resumed.metrics for f in m.fields]
    whole = dataset.values([f"b_{f.removeprefix('a_')}" for f in fields])
    np.testing.assert_allclose(dataset.values(fields), whole, atol=1e-5)


def test_killed_at_three_random_points(many, record_property):
    metrics = ("tv", "brightness", "blur")
    fields = [f"a_{metric}" for metric in metrics]
    rng = random.Random(51)
    n_done = 0
    for _ in range(3):
        record_property("fault", "SIGKILL of the process that scores")
        arguments = (fields, n_done, rng.uniform(0, 0.3))
        n_done = end(signal.SIGKILL, many, *arguments, "None", "a", *metrics)
    resume(many, metrics, n_done)


def test_interrupted_by_ctrl_c(many, encoder_names, record_property):
    record_property("fault", "Ctrl-C")
    fields = [f"a_{f}" for f in ("zsclip_qp", "zsclip_ql", "tv")]
    metrics, encoder = ("zsclip", "tv"), encoder_names[0]
    n_done = end(signal.SIGINT, many, fields, 0, 0, encoder, "a", *metrics)
    resume(many, metrics, n_done, encoder)
