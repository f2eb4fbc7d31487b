"""Decode pools, with real workers killed for real."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.metrics.tv import total_variation
from fiftyone_iqa.preprocessing import ResizeCrop, TorchTransform
from fiftyone_iqa.scoring.decode import DecodePool
from fiftyone_iqa.scoring.prepare import Job

PREPARERS = {"tv": total_variation, "crop": ResizeCrop(16, 16)}


def jobs_for(paths, inputs=("crop", "tv")):
    return [Job(i, path, None, inputs) for i, path in enumerate(paths)]


@pytest.fixture
def pool():
    pools = []

    def make(num_workers, worker_type="thread", preparers=PREPARERS):
        pools.append(DecodePool(preparers, num_workers, worker_type, 8))
        return pools[-1]

    yield make
    for made in pools:
        made.close()


@pytest.mark.parametrize(
    ("workers", "kind"), [(0, "thread"), (3, "thread"), (2, "process")]
)
def test_results_are_the_same_and_in_order(pool, write_images, workers, kind):
    paths = write_images(20)
    paths[7] = "missing.png"
    results = list(pool(workers, kind).map(jobs_for(paths)))
    assert [r.job.index for r in results] == list(range(20))
    assert results[7].errors == dict.fromkeys(
        ("crop", "tv"), "the file does not exist"
    )
    expected = list(pool(0).map(jobs_for(paths)))
    for result, other in zip(results, expected):
        assert result.inputs.keys() == other.inputs.keys()
        for key, value in result.inputs.items():
            np.testing.assert_array_equal(value, other.inputs[key])


def test_only_what_is_asked_for_is_prepared(pool, write_images):
    (result,) = pool(1).map(jobs_for(write_images(1), ("tv",)))
    assert set(result.inputs) == {"tv"}


def test_prefetch_is_bounded(pool, write_images):
    pulled = []

    def jobs():
        for job in jobs_for(write_images(1) * 100):
            pulled.append(job)
            yield job

    results = pool(2).map(jobs())
    next(results)
    time.sleep(0.3)
    assert len(pulled) <= 9


def test_nothing_begins_while_it_is_paused(pool, write_images):
    begun = []

    def watched(image):
        begun.append(1)
        return total_variation(image)

    paused = pool(2, preparers={"tv": watched})
    results = paused.map(jobs_for(write_images(1) * 30, ("tv",)))
    next(results)
    with paused.paused():
        time.sleep(0.3)  # those that were begun are done
        n = len(begun)
        time.sleep(0.3)
        assert len(begun) == n < 30
    assert len(list(results)) == 29 and len(begun) == 30


def test_a_killed_worker_loses_nothing(pool, write_images, record_property):
    decode = pool(2, "process")
    paths = write_images(30)
    results = []
    for result in decode.map(jobs_for(paths)):
        results.append(result)
        if len(results) in (3, 12):
            record_property("fault", "SIGKILL of a decode worker")
            decode._workers._all[0].kill()
    assert [r.job.index for r in results] == list(range(30))
    assert not any(r.errors for r in results)


def test_an_image_that_kills_its_worker_costs_itself_alone(
    pool, write_images, tmp_path, monkeypatch, record_property
):
    record_property("fault", "an image that ends every process decoding it")
    # Workers import what is pickled: give them this class
    module = tmp_path / "deadly.py"
    module.write_text(
        "import os\n\n\nclass Deadly:\n"
        "    def __call__(self, image):\n"
        "        if image.shape[0] == 13:\n"
        "            os._exit(9)\n"
        "        return float(image.mean())\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    import deadly

    paths = write_images(6)
    paths[3:3] = write_images(1, size=(13, 20), folder="deadly")
    decode = pool(2, "process", {"mean": deadly.Deadly()})
    results = list(decode.map(jobs_for(paths, ("mean",))))
    assert [bool(r.errors) for r in results] == [i == 3 for i in range(7)]
    assert "died twice" in results[3].errors["mean"]


def test_close_leaves_no_process(pool, write_images):
    decode = pool(2, "process")
    list(decode.map(jobs_for(write_images(2))))
    processes = list(decode._workers._all)
    decode.close()
    assert all(process.poll() is not None for process in processes)


def test_close_does_not_wait_for_an_image(pool, tmp_path, monkeypatch):
    module = tmp_path / "sleepy.py"
    module.write_text(
        "import time\n\n\nclass Sleepy:\n"
        "    def __call__(self, image):\n"
        "        time.sleep(60)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    import sleepy

    image = tmp_path / "image.png"
    Image.new("RGB", (20, 20)).save(image)
    decode = pool(1, "process", {"x": sleepy.Sleepy()})
    threading.Thread(
        target=lambda: next(decode.map(jobs_for([str(image)], ("x",)))),
        daemon=True,
    ).start()
    (process,) = decode._workers._all
    time.sleep(1)
    started = time.monotonic()
    decode.close()
    assert time.monotonic() - started < 20
    assert process.poll() is not None and not decode._workers._all


def test_what_cannot_be_sent_says_so(pool):
    transform = TorchTransform(lambda image: image, "a lambda")
    with pytest.raises(IQAError, match="use worker_type='thread'"):
        pool(1, "process", {"x": transform})


def test_what_workers_cannot_import_says_so(pool, tmp_path, monkeypatch):
    """Once and at the start, not as a failure of every image."""
    (tmp_path / "unseen.py").write_text("def one(image):\n    return 1.0\n")
    # Of this process alone: workers get PYTHONPATH
    monkeypatch.syspath_prepend(str(tmp_path))
    import unseen

    with pytest.raises(IQAError, match="cannot load.*unseen.*thread"):
        pool(2, "process", {"x": unseen.one})


def test_a_worker_starts_without_torch_or_fiftyone():
    code = (
        "import sys, fiftyone_iqa.scoring.worker as w\n"
        "from fiftyone_iqa.metrics.tv import total_variation\n"
        "print([m for m in ('torch', 'fiftyone', 'open_clip', 'pandas') "
        "if m in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    out = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True
    )
    assert out.stdout.strip() == "[]", out.stderr


def test_the_users_script_is_not_imported_again(tmp_path, write_images):
    """The trap of multiprocessing's spawn: an unguarded script forks on."""
    (path,) = write_images(1)
    script = tmp_path / "script.py"
    script.write_text(
        "print('imported')\n"
        "from fiftyone_iqa.metrics.tv import total_variation\n"
        "from fiftyone_iqa.scoring.decode import DecodePool\n"
        "from fiftyone_iqa.scoring.prepare import Job\n"
        "pool = DecodePool({'tv': total_variation}, 2, 'process', 4)\n"
        f"jobs = [Job(i, {path!r}, None, ('tv',)) for i in range(5)]\n"
        "print(len(list(pool.map(jobs))))\n"
        "pool.close()\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    out = subprocess.run(
        [sys.executable, str(script)], env=env, capture_output=True, text=True
    )
    assert out.stdout.split() == ["imported", "5"], out.stderr


def test_large_images_bound_what_waits(pool, write_images, monkeypatch):
    from fiftyone_iqa.scoring import decode

    # Whole images of 9,216 bytes; two may wait
    monkeypatch.setattr(decode, "_MAX_BYTES_WAITING", 20_000)
    pulled = []

    def jobs():
        for job in jobs_for(write_images(1) * 100, ("whole",)):
            pulled.append(job)
            yield job

    made = pool(1, preparers={"whole": np.ascontiguousarray})
    results = made.map(jobs())
    # Slow enough that all that may wait is there; 8 could wait otherwise
    for _ in range(12):
        next(results)
        time.sleep(0.15)
    assert len(pulled) <= 12 + 5
    assert len(list(results)) == 100 - 12
