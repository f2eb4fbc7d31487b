"""Scoring on a real Ray cluster of this machine, with workers killed."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import fiftyone_iqa as fiqa
from fiftyone_iqa.encoders import get_encoder
from fiftyone_iqa.errors import ImageFailureError, IQAError

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module", autouse=True)
def cluster(database):
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def small_shards(monkeypatch):
    from fiftyone_iqa.scoring import cluster

    monkeypatch.setattr(cluster, "_MIN_SHARD", 5)


@pytest.mark.usefixtures("small_shards")
def test_values_and_counts_are_those_of_a_local_run(make_dataset):
    dataset = make_dataset(40, labels=["cat", "dog"])
    damaged = dataset.skip(7).first().filepath
    with open(damaged, "w") as file:
        file.write("no image")
    local = dataset.clone()
    call = {"metrics": ("zsclip", "tv"), "encoder": "lite"}
    seen = []
    report = fiqa.compute_quality(
        dataset,
        executor="ray",
        progress=lambda bar: seen.append(bar.iteration),
        **call,
    )
    expected = fiqa.compute_quality(local, **call)
    for field in ("zsclip_ql", "zsclip_qp", "zsclip_qh", "zsclip_qm"):
        own, other = dataset.values(field), local.values(field)
        assert own[7] is other[7] is None
        del own[7], other[7]
        assert own == pytest.approx(other, abs=1e-5)
    assert dataset.values("tv") == local.values("tv")
    assert dataset.values("iqa_failure") == local.values("iqa_failure")
    assert report.metrics == expected.metrics
    assert report.failures == expected.failures
    assert report.encoder == expected.encoder
    assert report.n_decoded == expected.n_decoded
    assert seen[-1] == 40

    again = fiqa.compute_quality(dataset, executor="ray", **call)
    # The damaged one is tried again, the others are not
    assert [m.skipped for m in again.metrics] == [39, 39]


@pytest.mark.usefixtures("small_shards")
def test_the_shard_of_a_killed_worker_is_scored_by_another(
    make_dataset, caplog
):
    import psutil

    dataset = make_dataset(120, size=(500, 700))
    killed = []

    def kill():
        while dataset.count("tv") < 10:
            time.sleep(0.02)
        for process in psutil.Process().children(recursive=True):
            if "_Worker" in " ".join(process.cmdline()):
                process.send_signal(signal.SIGKILL)
                killed.append(process.pid)
                return

    thread = threading.Thread(target=_until_declared, args=(dataset, kill))
    thread.start()
    report = fiqa.compute_quality(dataset, "tv", executor="ray")
    thread.join()
    assert killed
    assert "A worker died" in caplog.text
    assert dataset.count("tv") == 120
    assert [m.scored for m in report.metrics] == [120]


def _until_declared(dataset, then):
    while dataset.get_field("tv") is None:
        time.sleep(0.02)
    then()


def test_a_failure_that_may_not_be_skipped_is_raised(make_dataset):
    dataset = make_dataset(4)
    os.unlink(dataset.first().filepath)
    with pytest.raises(ImageFailureError, match="does not exist"):
        fiqa.compute_quality(
            dataset, "tv", executor="ray", skip_failures=False
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"executor": "dask"}, "executor must be one of local, ray"),
        ({"executor": "ray", "metrics": [object()]}, "pass their names"),
    ],
)
def test_what_cannot_be_sent_is_refused(make_dataset, change, said):
    dataset = make_dataset(2)
    with pytest.raises(IQAError, match=said):
        fiqa.compute_quality(dataset, **{"metrics": "tv", **change})
    assert "tv" not in dataset.get_field_schema()


def test_an_encoder_is_known_by_name_on_the_workers(make_dataset):
    """Its precision too, which the field has frozen."""
    dataset = make_dataset(3, labels=["cat", "dog"])
    encoder = get_encoder("lite", precision="bf16")
    fiqa.compute_quality(dataset, "zsclip", encoder=encoder, executor="ray")
    identity = dataset.get_field("zsclip_ql").info["iqa"]["identity"]
    assert identity["precision"] == "bf16"
    assert dataset.count("zsclip_ql") == 3


# Shards given to processes by somebody else: FiftyOne Enterprise's way

_OPERATOR = """
import sys
import fiftyone as fo
import fiftyone.operators as foo
from fiftyone_iqa.plugin import install_plugin

name, start, stop = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
dataset = fo.load_dataset(name)
operator = foo.get_operator("@fiftyone-iqa/iqa/compute_quality")
operator(dataset[start:stop], metrics=["tv"])
"""


def test_the_operator_scores_shards_in_processes_of_their_own(make_dataset):
    from fiftyone_iqa.plugin import install_plugin

    install_plugin()
    dataset, n = make_dataset(60), 60
    other = dataset.clone()
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                _OPERATOR,
                dataset.name,
                str(start),
                str(start + n // 3),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        for start in range(0, n, n // 3)
    ]
    for process in processes:
        _, said = process.communicate(timeout=180)
        assert process.returncode == 0, said
    dataset.reload()
    fiqa.compute_quality(other, "tv")
    assert dataset.values("tv") == other.values("tv")
