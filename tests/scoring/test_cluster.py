"""Scoring on a real Ray cluster of this machine, with workers killed."""

import json
import os
import shutil
import signal
import tempfile
import threading
import time

import pytest

import fiftyone_iqa as fiqa
from fiftyone_iqa.errors import ImageFailureError, IQAError

ray = pytest.importorskip("ray")
psutil = pytest.importorskip("psutil")


@pytest.fixture(scope="module")
def cluster(database):
    """A cluster of two workers; at the end nothing of it may be left."""
    before = set(psutil.Process().children(recursive=True))
    # Of a short name: there are sockets in it
    folder = tempfile.mkdtemp(prefix="iqa-ray-")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 * 1024**2,
        _temp_dir=folder,
    )
    processes = set(psutil.Process().children(recursive=True)) - before
    assert any("raylet" in process.name() for process in processes)
    yield
    processes |= set(psutil.Process().children(recursive=True)) - before
    ray.shutdown()
    _, alive = psutil.wait_procs(processes, timeout=20)
    shutil.rmtree(folder, ignore_errors=True)
    assert not alive, f"Ray's processes are still there: {alive}"


@pytest.fixture
def small_shards(cluster, monkeypatch):
    from fiftyone_iqa.scoring import cluster as module

    monkeypatch.setattr(module, "_MIN_SHARD", 5)


@pytest.fixture(scope="module")
def encoder_folder(tiny_clip, tmp_path_factory):
    """A folder that a process which knows nothing of it can load."""
    import open_clip

    folder = tmp_path_factory.mktemp("encoder")
    (folder / "open_clip_pytorch_model.bin").symlink_to(tiny_clip / "0.pt")
    model = json.loads((tiny_clip / "iqa-tiny.json").read_text())
    preprocess = {
        "mean": open_clip.OPENAI_DATASET_MEAN,
        "std": open_clip.OPENAI_DATASET_STD,
    }
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": model, "preprocess_cfg": preprocess})
    )
    return folder


@pytest.mark.usefixtures("small_shards")
def test_values_and_counts_are_those_of_a_local_run(
    make_dataset, encoder_folder
):
    dataset = make_dataset(40, labels=["cat", "dog"])
    damaged = dataset.skip(7).first().filepath
    with open(damaged, "w") as file:
        file.write("no image")
    local = dataset.clone()
    call = {
        "metrics": ("zsclip", "tv"),
        # Known by name on the workers, and its precision too
        "encoder": fiqa.get_encoder(str(encoder_folder), precision="bf16"),
        # As shards are: half precision may differ between batches
        "batch_size": 5,
        "cache": False,
    }
    seen = []
    report = fiqa.compute_quality(
        dataset,
        executor="ray",
        progress=lambda bar: seen.append((bar.total, bar.iteration)),
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
    info = dataset.get_field("zsclip_ql").info
    assert info == local.get_field("zsclip_ql").info
    assert info["iqa"]["identity"]["precision"] == "bf16"

    # Workers tell the driver how far they are, and not at the end alone
    steps = [n for total, n in seen if total == 40]
    assert steps == sorted(steps) and steps[-1] == 40
    assert any(0 < n < 40 for n in steps)


@pytest.mark.usefixtures("small_shards")
def test_the_shard_of_a_killed_worker_is_scored_by_another(
    make_dataset, write_images, caplog, record_property
):
    record_property("fault", "SIGKILL of a Ray worker")
    paths = write_images(20, size=(500, 700))
    dataset = make_dataset(paths=paths * 6)
    killed = []

    def kill():
        while "tv" not in dataset.get_field_schema():
            time.sleep(0.02)
        while dataset.count("tv") < 10:
            time.sleep(0.02)
        for process in psutil.Process().children(recursive=True):
            if "_Worker" in " ".join(process.cmdline()):
                process.send_signal(signal.SIGKILL)
                killed.append(process.pid)
                return

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    report = fiqa.compute_quality(dataset, "tv", executor="ray")
    thread.join(10)
    assert killed
    assert "A worker died" in caplog.text
    assert [m.scored for m in report.metrics] == [120]
    values = dict(zip(dataset.values("filepath"), dataset.values("tv")))
    assert dataset.values("tv") == [values[p] for p in paths * 6]
    assert None not in values.values() and len(set(values.values())) == 20


@pytest.mark.usefixtures("cluster")
def test_a_failure_that_may_not_be_skipped_is_raised(make_dataset):
    dataset = make_dataset(4)
    os.unlink(dataset.first().filepath)
    with pytest.raises(ImageFailureError, match="does not exist"):
        fiqa.compute_quality(
            dataset, "tv", executor="ray", skip_failures=False
        )


def test_what_cannot_be_sent_is_refused(make_dataset):
    from fiftyone_iqa.metrics.registry import get_metric

    dataset = make_dataset(2)
    metric = get_metric("tv")
    with pytest.raises(IQAError, match="pass their names"):
        fiqa.compute_quality(dataset, metric, executor="ray")
    with pytest.raises(IQAError, match="executor must be one of local, ray"):
        fiqa.compute_quality(dataset, "tv", executor="dask")
    assert "tv" not in dataset.get_field_schema()
