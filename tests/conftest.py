"""Keeps the tests to themselves, and what they share.

FiftyOne reads its configuration when it is imported, so all of it is set here,
before any test module is. Nothing is read from or left in the user's folders.

FiftyOne processes of one user share one mongod whatever their database folder
is. A test session therefore starts a mongod of its own, at the first import of
``fiftyone``; tests that need none start none.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.abc
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from app_browser import find_chromium

from . import faults

_ROOT = Path(tempfile.mkdtemp(prefix="fiftyone-iqa-tests-"))
_DATABASE_NAME = f"fiftyone-iqa-test-{uuid.uuid4().hex[:12]}"
_USERS_DATABASE = "FIFTYONE_DATABASE_URI" in os.environ

# This session's mongod is not to be mistaken for one of an outer process
os.environ.pop("FIFTYONE_PRIVATE_DATABASE_PORT", None)
os.environ.update(
    FIFTYONE_APP_CONFIG_PATH=str(_ROOT / "config" / "app_config.json"),
    FIFTYONE_BRAIN_CONFIG_PATH=str(_ROOT / "config" / "brain_config.json"),
    FIFTYONE_CONFIG_PATH=str(_ROOT / "config" / "config.json"),
    FIFTYONE_DATABASE_DIR=str(_ROOT / "mongo"),
    FIFTYONE_DATABASE_NAME=_DATABASE_NAME,
    FIFTYONE_DATABASE_VALIDATION="false",
    FIFTYONE_DATASET_ZOO_DIR=str(_ROOT / "zoo" / "datasets"),
    FIFTYONE_DEFAULT_DATASET_DIR=str(_ROOT / "datasets"),
    FIFTYONE_DO_NOT_TRACK="1",
    FIFTYONE_EVALUATION_CONFIG_PATH=str(_ROOT / "config" / "eval.json"),
    FIFTYONE_IQA_CACHE_DIR=str(_ROOT / "cache"),
    FIFTYONE_MODEL_ZOO_DIR=str(_ROOT / "zoo" / "models"),
    FIFTYONE_PLUGINS_DIR=str(_ROOT / "plugins"),
    FIFTYONE_SHOW_PROGRESS_BARS="false",
    # Weights that happen to be on a machine must not change a test's result
    HF_HOME=str(_ROOT / "huggingface"),
    HF_HUB_OFFLINE="1",
    TORCH_HOME=str(_ROOT / "torch"),
    TRANSFORMERS_OFFLINE="1",
)
(_ROOT / "plugins").mkdir()

_NO_CHROMIUM = "NOT RUN: no Chromium found"


# The database ---------------------------------------------------------------

# Ends mongod and removes the session's folder when this process ends, however
# it does: its end of the pipe closes even when it is killed
_KEEPER = """
import shutil, signal, subprocess, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
folder, *command = sys.argv[1:]
mongod = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL)
sys.stdin.read()
mongod.terminate()
try:
    mongod.wait(20)
except subprocess.TimeoutExpired:
    mongod.kill()
shutil.rmtree(folder, ignore_errors=True)
"""


class _DatabaseStarter(importlib.abc.MetaPathFinder):
    """Starts the session's mongod when ``fiftyone`` is first imported."""

    def find_spec(self, name, path=None, target=None):
        if name == "fiftyone":
            sys.meta_path.remove(self)
            _start_database()

        return None


def _start_database():
    spec = importlib.util.find_spec("fiftyone")
    if spec is None or spec.origin is None:
        return

    name = "mongod.exe" if sys.platform == "win32" else "mongod"
    mongod = Path(spec.origin).parent / "db" / "bin" / name
    if not mongod.is_file():
        # FiftyOne's own message says what to do
        return

    database_dir = Path(os.environ["FIFTYONE_DATABASE_DIR"])
    database_dir.mkdir(parents=True)
    port = _free_port()
    command = [mongod, "--dbpath", database_dir, "--port", port]
    command += ["--bind_ip", "127.0.0.1"]
    command += ["--logpath", _ROOT / "mongod.log"]
    command += ["--wiredTigerCacheSizeGB", "0.5"]
    if sys.platform != "win32":
        command += ["--nounixsocket"]

    keeper = subprocess.Popen(
        [sys.executable, "-c", _KEEPER, str(_ROOT), *map(str, command)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    # Handlers run in the reverse order: FiftyOne's, of later, come first
    atexit.register(_stop_database, keeper)
    deadline = time.monotonic() + 60
    while not _accepts(port):
        if keeper.poll() is not None or time.monotonic() > deadline:
            log = (_ROOT / "mongod.log").read_text("utf-8", "replace")
            raise RuntimeError(f"mongod does not start: {log[-2000:]}")

        time.sleep(0.05)

    os.environ["FIFTYONE_DATABASE_URI"] = f"mongodb://127.0.0.1:{port}"


def _stop_database(keeper):
    keeper.stdin.close()
    try:
        keeper.wait(30)
    except subprocess.TimeoutExpired:
        # The session's own group: the keeper and its mongod
        os.killpg(keeper.pid, signal.SIGKILL)


def _free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _accepts(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


atexit.register(shutil.rmtree, _ROOT, ignore_errors=True)
if not _USERS_DATABASE:
    sys.meta_path.insert(0, _DatabaseStarter())


def pytest_configure(config):
    config.pluginmanager.register(faults.Summary())


def pytest_unconfigure():
    # A database server that is the user's loses nothing but our database
    if _USERS_DATABASE and "fiftyone" in sys.modules:
        import fiftyone.core.odm as foo

        with contextlib.suppress(Exception):
            foo.get_db_conn().client.drop_database(_DATABASE_NAME)


@pytest.fixture(scope="session")
def database():
    """A running database, whose address is in the environment.

    For tests whose child processes import FiftyOne. Where this process
    imports it, nothing needs to be asked for.
    """
    importlib.util.find_spec("fiftyone")
    return os.environ.get("FIFTYONE_DATABASE_URI")


# Images and datasets --------------------------------------------------------


def make_image(seed=0, height=48, width=64):
    """Makes a seeded image with structure and noise.

    Args:
        seed (0): the seed
        height (48): the height in pixels
        width (64): the width in pixels

    Returns:
        ``(height, width, 3)`` uint8 RGB
    """
    rng = np.random.default_rng(seed)
    y = np.linspace(0, 1, height)[:, None, None]
    x = np.linspace(0, 1, width)[None, :, None]
    frequency, phase = rng.uniform(2, 30, (2, 1, 1, 3))
    image = 127 + 80 * np.sin(frequency * (x + y * rng.uniform()) + phase)
    image = image + rng.normal(0, 12, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def save_images(folder, n, size=(48, 64), ext="png", seed=0):
    """Writes seeded images into a folder.

    Args:
        folder: the folder; made if missing
        n: the number of images
        size ((48, 64)): height and width in pixels
        ext ("png"): ``"png"`` or ``"jpg"``
        seed (0): the first image's seed

    Returns:
        the list of paths
    """
    from PIL import Image

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(n):
        path = folder / f"{seed + i:06d}.{ext}"
        Image.fromarray(make_image(seed + i, *size)).save(path)
        paths.append(str(path))

    return paths


@pytest.fixture
def write_images(tmp_path):
    """A function ``(n, size, ext, seed, folder)`` that writes seeded images.

    Returns the list of their paths; ``folder`` is relative to ``tmp_path``.
    """

    def write(n=4, size=(48, 64), ext="png", seed=0, folder="images"):
        return save_images(tmp_path / folder, n, size, ext, seed)

    return write


@pytest.fixture
def image_dir(tmp_path):
    """A folder with six images in two sub-folders, ``cat`` and ``dog``."""
    folder = tmp_path / "image_dir"
    save_images(folder / "cat", 3, ext="png", seed=0)
    save_images(folder / "dog", 3, ext="jpg", seed=3)
    return folder


@pytest.fixture
def make_dataset(tmp_path):
    """A function that makes a FiftyOne dataset and deletes it in the end.

    ``make_dataset(n=4, labels=None, paths=None, label_field="ground_truth",
    size=(48, 64), ext="png", seed=0, persistent=False)``: ``n`` seeded images,
    or those of ``paths``, with ``labels`` (repeated as needed) as
    ``fo.Classification``.
    """
    made = []

    def make(
        n=4,
        labels=None,
        paths=None,
        label_field="ground_truth",
        size=(48, 64),
        ext="png",
        seed=0,
        persistent=False,
    ):
        import fiftyone as fo

        name = f"iqa-test-{uuid.uuid4().hex[:12]}"
        if paths is None:
            paths = save_images(tmp_path / name, n, size, ext, seed)

        samples = [fo.Sample(filepath=str(path)) for path in paths]
        if labels:
            for i, sample in enumerate(samples):
                label = labels[i % len(labels)]
                sample[label_field] = fo.Classification(label=label)

        dataset = fo.Dataset(name, persistent=persistent)
        made.append(dataset)
        dataset.add_samples(samples)
        return dataset

    yield make
    for dataset in made:
        if not dataset.deleted:
            dataset.delete()


# Colour photographs in the packages' wheels; nothing is downloaded
_SKIMAGE_PHOTOGRAPHS = {
    "astronaut": "astronaut.png",
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "galaxies": "hubble_deep_field.jpg",
    "motorcycle": "motorcycle_left.png",
    "retina": "retina.jpg",
    "rocket": "rocket.jpg",
    "tissue": "ihc.png",
}


@pytest.fixture(scope="session")
def photographs():
    """Real photographs: a list of ``(label, uint8 RGB array)``."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    # skimage.data itself would download what is missing
    spec = importlib.util.find_spec("skimage")
    folder = Path(spec.origin).parent / "data"
    photos = []
    for label, name in _SKIMAGE_PHOTOGRAPHS.items():
        if (folder / name).is_file():
            with Image.open(folder / name) as image:
                photos.append((label, np.asarray(image.convert("RGB"))))

    for label, array in zip(
        ("temple", "flower"), load_sample_images().images, strict=True
    ):
        photos.append((label, np.ascontiguousarray(array)))

    assert len(photos) >= 5, "the packages no longer ship their photographs"
    return photos


# A small, real CLIP ---------------------------------------------------------

TINY_CLIP = {
    "embed_dim": 32,
    "vision_cfg": {
        "image_size": 64,
        "layers": 2,
        "width": 64,
        "head_width": 32,
        "patch_size": 16,
    },
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 2,
    },
}


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory):
    """Registers the open_clip architecture ``iqa-tiny``.

    Returns the folder with its configuration, ``iqa-tiny.json``, and seeded
    random weights, ``0.pt`` and ``1.pt``.
    """
    import open_clip
    import torch

    folder = tmp_path_factory.mktemp("tiny-clip")
    (folder / "iqa-tiny.json").write_text(json.dumps(TINY_CLIP))
    open_clip.add_model_config(folder / "iqa-tiny.json")
    for seed in range(2):
        torch.manual_seed(seed)
        model = open_clip.create_model("iqa-tiny")
        torch.save(model.state_dict(), folder / f"{seed}.pt")
    return folder


@pytest.fixture(scope="session")
def encoder_names(tiny_clip):
    """Two values for ``encoder=``: one architecture, two sets of weights."""
    return [f"iqa-tiny/{tiny_clip / f'{seed}.pt'}" for seed in range(2)]


# The browser ----------------------------------------------------------------


@pytest.fixture(scope="session")
def chromium_path():
    """The path of a Chromium; without one the test is NOT RUN."""
    path = find_chromium()
    if path is None:
        pytest.skip(_NO_CHROMIUM)

    return path


def pytest_runtest_setup(item):
    # Also for browser tests that do not ask for the path
    if item.get_closest_marker("browser") and find_chromium() is None:
        pytest.skip(_NO_CHROMIUM)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter):
    # After all else, where it is not overlooked
    result = yield
    skipped = terminalreporter.stats.get("skipped", [])
    n = sum(_NO_CHROMIUM in str(report.longrepr) for report in skipped)
    if n:
        tests = "test" if n == 1 else "tests"
        terminalreporter.write_sep("!", red=True, bold=True)
        terminalreporter.write_line(
            f"NOT RUN: {n} browser {tests} (no Chromium found; install it or "
            f"run as root)",
            red=True,
            bold=True,
        )
        terminalreporter.write_sep("!", red=True, bold=True)

    return result
