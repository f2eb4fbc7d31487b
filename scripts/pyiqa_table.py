"""Prints which of pyiqa's no-reference metrics run here, and how.

Each name is built as ``pyiqa:<name>``: with its parameters where they are in
``$TORCH_HOME``, else at seeded random weights, which run the same code. Its
value for an image is compared with pyiqa's own call, and with its value in a
batch of two. Writes ``scripts/results/pyiqa_metrics.csv``; downloads nothing.
Exits with 1 if a metric fails, or ``BATCHED_KINDS`` is not what was measured.
"""

import argparse
import csv
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np

from fiftyone_iqa.errors import IQAError, WeightsUnavailableError
from fiftyone_iqa.metrics import get_metric
from fiftyone_iqa.metrics.pyiqa_loading import kind_of, pyiqa_table
from fiftyone_iqa.metrics.pyiqa_metrics import BATCHED_KINDS

RESULTS = Path(__file__).parent / "results" / "pyiqa_metrics.csv"
OWN, RANDOM = "with its parameters", "at random weights"
REFUSED, FAILED = "refused", "FAILED"
# Multiples of 32 (A-FINE), sides above 224 (LIQE), not square
SIZE = (256, 288)
TOLERANCE = 1e-4
COLUMNS = ("name", "works", "because", "better", "low", "high", "batched",
           "from_pyiqa", "in_batch")  # fmt: skip


def main() -> int:
    """Prints and writes the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", nargs="*", help="only these, and no CSV")
    parser.add_argument(
        "--seconds", type=float, default=240, help="limit for each name"
    )
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        return work()

    table = pyiqa_table()
    names = args.names or [n for n in table if table[n]["metric_mode"] == "NR"]
    start = time.perf_counter()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        own = Path(os.environ.get("TORCH_HOME", "~/.cache/torch")).expanduser()
        _link(own, Path(folder))
        worker = Worker(folder)
        for name in names:
            since = time.perf_counter()
            rows.append(worker.measure(name, args.seconds))
            cells = [str(rows[-1][column]) for column in COLUMNS]
            cells.append(f"{time.perf_counter() - since:.0f} s")
            print(" | ".join(cells), flush=True)
        worker.end()

    for works, n in Counter(row["works"] for row in rows).items():
        print(f"{n:3d} {works}")
    print(f"{time.perf_counter() - start:.0f} s")
    if not args.names:
        with RESULTS.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return int(any(row["works"] == FAILED for row in rows))


def _link(own, folder):
    """Makes a TORCH_HOME that shows the files of another.

    pyiqa writes beside its weights what it derives from them, and derived
    from random weights that must not stay.
    """
    for path in own.glob("hub/*/*"):
        if path.is_file():
            link = folder / path.relative_to(own)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())


class Worker:
    """A process that measures names, replaced when one of them hangs it."""

    def __init__(self, torch_home):
        self._environment = {
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "HOME": torch_home,
            "TORCH_HOME": torch_home,
        }
        self._process = None

    def measure(self, name, seconds):
        """Returns a row of the table."""
        if self._process is None:
            self._start()
            seconds += 60
        print(name, file=self._process.stdin, flush=True)
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            line = None
        if line:
            return json.loads(line)
        reason = "it crashed" if line == "" else f"above {seconds:.0f} s"
        self.end()
        return {**_described(name), "works": FAILED, "because": reason}

    def end(self):
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--work"],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._lines = queue.Queue()
        process, lines = self._process, self._lines

        def read():
            for line in process.stdout:
                lines.put(line)
            lines.put("")

        threading.Thread(target=read, daemon=True).start()


# In the worker ---------------------------------------------------------------


def work() -> int:
    """Measures the names on stdin, a JSON row each on stdout."""
    # What pyiqa and its dependencies print is no row
    rows, sys.stdout = sys.stdout, sys.stderr
    measured_kinds: dict[str, dict] = {}
    for line in sys.stdin:
        row = _measured(line.strip(), measured_kinds)
        print(json.dumps(row), file=rows, flush=True)
    return 0


def _described(name):
    entry = pyiqa_table()[name]
    row = dict.fromkeys(COLUMNS, "")
    row.update(
        name=name, better="lower" if entry.get("lower_better") else "higher"
    )
    with suppress(IQAError):
        (output,) = get_metric(f"pyiqa:{name}").spec.outputs
        row.update(low=output.range[0], high=output.range[1])
    return row


def _measured(name, measured_kinds):
    row = _described(name)
    try:
        metric = get_metric(f"pyiqa:{name}")
    except IQAError as e:
        return {**row, "works": REFUSED, "because": str(e).split(": ")[1]}

    try:
        try:
            configuration = _configured(metric)
            weights, context = OWN, ExitStack
        except WeightsUnavailableError:
            weights, context = RANDOM, random_weights
        with context():
            if weights is RANDOM:
                configuration = _configured(metric)
            row["works"] = weights
            kind = kind_of(name)
            image, other = _images()
            _with_few_crops(configuration.resources["network"])
            scorer = metric.build(configuration, None)
            alone = scorer.features([image])[0, 0]
            row["batched"] = "yes" if scorer.batched else "no"
            if not np.isfinite(alone):
                raise ArithmeticError("the score is not finite")
            # One of a kind runs the code of all; the others only once
            if kind not in measured_kinds:
                measured_kinds[kind] = {
                    "from_pyiqa": _difference(alone, _by_pyiqa(name, image)),
                    "in_batch": _in_batch(scorer, alone, [other, image]),
                }
            row.update(measured_kinds[kind])
    except IQAError as e:
        return {**row, "works": REFUSED, "because": str(e)}
    except Exception as e:
        reason = f"{type(e).__name__}: {e}".splitlines()[0]
        return {**row, "works": FAILED, "because": reason}

    can = isinstance(row["in_batch"], float) and row["in_batch"] <= TOLERANCE
    if can != (row["batched"] == "yes"):
        row.update(works=FAILED, because="BATCHED_KINDS is wrong about it")
    if row["from_pyiqa"] > TOLERANCE:
        row.update(works=FAILED, because="its values are not pyiqa's")
    return row


def _configured(metric):
    import torch

    torch.manual_seed(0)
    return metric.configure(SimpleNamespace(device=None), None)


def _images():
    """Returns two images with structure and noise."""
    rng = np.random.default_rng(0)
    images = []
    for frequency, sigma in ((9, 4), (25, 20)):
        x = np.linspace(0, frequency, SIZE[1])[None, :, None]
        y = np.linspace(0, frequency, SIZE[0])[:, None, None]
        image = 127 + 90 * np.sin(x + y * rng.uniform(0.5, 2, 3))
        image = image + rng.normal(0, sigma, (*SIZE, 3))
        images.append(np.clip(image, 0, 255).astype(np.uint8))
    return images


def _by_pyiqa(name, image):
    """Returns pyiqa's own value for an image."""
    import pyiqa
    import torch
    from torchvision.transforms.functional import to_tensor

    torch.manual_seed(0)
    own = pyiqa.create_metric(name)
    _with_few_crops(own.net)
    return float(own(to_tensor(image)[None]))


def _with_few_crops(network):
    """Has a network look at two crops of an image, not up to 50."""
    for name in ("num_crop", "num_patch", "test_sample"):
        if hasattr(network, name):
            setattr(network, name, 2)


def _in_batch(scorer, alone, images):
    """Returns the last image's difference in a batch, or why it has none."""
    scorer.batched = True
    try:
        return _difference(alone, scorer.features(images)[-1, 0])
    except Exception as e:
        return f"{type(e).__name__}: {e}".splitlines()[0][:60]


def _difference(a, b):
    """Returns a difference, relative above 1 and absolute below."""
    return float(f"{abs(a - b) / max(1, abs(a), abs(b)):.1e}")


# Random weights --------------------------------------------------------------


class _Nothing(dict):
    """A checkpoint without arrays: whatever is looked up is another."""

    def __missing__(self, key):
        return _Nothing()

    def __delitem__(self, key):
        pass


@contextmanager
def random_weights():
    """Within it, pyiqa builds its networks at seeded random weights.

    A download leaves an empty file; reading that gives random parameters of
    the right shapes where pyiqa computes with the file's content, else a
    checkpoint without arrays, and loading this leaves a network as it was
    initialised. CLIP, whose architecture is read off its file, gets a file.
    """
    import clip.clip
    import scipy.io
    import timm
    import torch
    import transformers
    from pyiqa.archs import afineclip_model, clip_model, topiq_swin
    from pyiqa.utils import download_util

    touched = []

    def touch(url, path, *args, **kwargs):
        touched.append(Path(path))
        touched[-1].touch()

    def reading(read):
        def read_or_make(file, *args, **kwargs):
            if isinstance(file, (str, Path)) and not os.path.getsize(file):
                return _random_content(os.path.basename(file))
            if hasattr(file, "seek"):
                # CLIP's loader tries one format after the other
                file.seek(0)
            return read(file, *args, **kwargs)

        return read_or_make

    def loading(load):
        def load_if_any(self, state_dict, *args, **kwargs):
            return load(self, state_dict, *args, **kwargs) if state_dict else 0

        return load_if_any

    def untrained(make):
        return lambda *args, **kw: make(*args, **{**kw, "pretrained": False})

    def clip_vision(*args, **kwargs):
        config = transformers.CLIPVisionConfig(patch_size=16)
        return transformers.CLIPVisionModel(config)

    with ExitStack() as stack:
        for owner, name, new in (
            (torch.hub, "download_url_to_file", touch),
            (download_util, "download_url_to_file", touch),
            (clip_model, "_download", _random_clip),
            (afineclip_model, "_download", _random_clip),
            (clip.clip, "_download", _random_clip),
            (torch, "load", reading(torch.load)),
            (torch.jit, "load", reading(torch.jit.load)),
            (scipy.io, "loadmat", reading(scipy.io.loadmat)),
            (timm, "create_model", untrained(timm.create_model)),
            (topiq_swin, "create_swin", untrained(topiq_swin.create_swin)),
            (transformers.CLIPVisionModel, "from_pretrained", clip_vision),
            (
                torch.nn.Module,
                "load_state_dict",
                loading(torch.nn.Module.load_state_dict),
            ),
        ):
            stack.enter_context(mock.patch.object(owner, name, new))
        stack.enter_context(
            mock.patch("fiftyone_iqa.metrics.pyiqa_loading._check_download")
        )
        stack.callback(lambda: [path.unlink() for path in touched])
        yield


def _random_content(file):
    """Returns what pyiqa computes with from a file, or nothing."""
    import torch

    rng = np.random.default_rng(0)

    def gaussian(d):
        rows = rng.normal(size=(2 * d, d))
        return rng.normal(size=(1, d)), rows.T @ rows / len(rows)

    if file == "brisque_svm_weights.pth":
        return torch.randn(50), torch.randn(50, 36)
    if file == "brisque_matlab.mat":
        return {"sv": rng.normal(size=(50, 36)), "sv_coef": np.ones((50, 1))}
    if file.startswith("niqe_"):
        mean, covariance = gaussian(36)
        return {"mu_prisparam": mean, "cov_prisparam": covariance}
    if file == "ILNIQE_templateModel.mat":
        model = (
            *gaussian(430),
            rng.normal(size=(1, 468)),
            rng.normal(size=(468, 430)),
        )
        return {"templateModel": [model]}
    if file == "NRQM_model.mat":
        return {"model": _random_forests(rng)}
    if file.startswith("regressor_"):
        return torch.jit.script(torch.nn.Linear(4096, 1))
    if file.startswith("CLIP-IQA+"):
        return torch.randn(2, 16, 512) / 50
    if file == "QualiCLIP.pth":
        features = torch.nn.functional.normalize(torch.randn(14, 1024))
        return _Nothing(prompts_features=features)
    return _Nothing()


def _random_forests(rng):
    """Returns three forests of stumps as pyiqa reads them from a file."""
    forests = np.empty((1, 3), dtype=object)
    for i in range(3):
        trees = np.ones((3, 10), dtype=int)
        stump = np.array([[[2], [0], [0]], [[3], [0], [0]]]) * trees
        forest = np.empty((1, 1), dtype=object)
        forest[0, 0] = (
            *stump,
            None,
            None,
            rng.normal(size=(3, 10)),
            rng.uniform(0, 10, (3, 10)),
            trees,
        )
        forests[0, i] = forest
    parts = {"linear": np.ones((4, 1)) / 4, "rf": forests}
    boxes = {}
    for key, part in parts.items():
        boxes[key] = np.empty((1, 1), dtype=object)
        boxes[key][0, 0] = part
    return boxes


def _random_clip(url, folder):
    """Writes a CLIP of the architecture an address stands for."""
    import torch
    from pyiqa.archs.clip_model import CLIP

    path = Path(torch.hub.get_dir(), "random", Path(url).name)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        arguments = {
            "RN50": (1024, 224, (3, 4, 6, 3), 64, None, 512, 8),
            "ViT-B-32": (512, 224, 12, 768, 32, 512, 8),
            "ViT-L-14": (768, 224, 24, 1024, 14, 768, 12),
        }[path.stem]
        *vision, width, heads = arguments
        state = torch.random.get_rng_state()
        torch.manual_seed(0)
        network = CLIP(*vision, 77, 49408, width, heads, 12)
        torch.random.set_rng_state(state)
        torch.save(network.half().state_dict(), path)
    return str(path)


if __name__ == "__main__":
    sys.exit(main())
