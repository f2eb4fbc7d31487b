"""Prints which of pyiqa's no-reference metrics run here, and how.

Each name is built as ``pyiqa:<name>``: with its parameters where they are in
``$TORCH_HOME``, else at seeded random weights, which run the same code. For
the first name of each kind of network, its value for an image is compared
with pyiqa's own call (``from_pyiqa``) and with its value in a batch of two
(``in_batch``). Writes ``scripts/results/pyiqa_metrics.csv``; downloads
nothing. Exits with 1 if a metric fails or one of ``BATCHED_KINDS`` depends on
its batch. On busy cores ``OMP_NUM_THREADS=1`` is faster.
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
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from _random_pyiqa import random_weights

from fiftyone_iqa.errors import IQAError, WeightsUnavailableError
from fiftyone_iqa.metrics import get_metric
from fiftyone_iqa.metrics.pyiqa_loading import kind_of, pyiqa_table

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
        self._torch_home = torch_home
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
            line = line.replace(self._torch_home, "$TORCH_HOME")
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
    measured_kinds: dict[tuple, dict] = {}
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
            image, other = _images()
            _with_few_crops(configuration.resources["network"])
            scorer = metric.build(configuration, None)
            alone = scorer.features([image])[0, 0]
            row["batched"] = "yes" if scorer.batched else "no"
            if not np.isfinite(alone):
                raise ArithmeticError("the score is not finite")
            # One of a kind runs the code of all; the others only once
            kind = kind_of(name), scorer.batched
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

    same = isinstance(row["in_batch"], float) and row["in_batch"] <= TOLERANCE
    if row["batched"] == "yes" and not same:
        row.update(works=FAILED, because="its values depend on the batch")
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
        other, together = scorer.features(images)[:, 0]
    except Exception as e:
        return f"{type(e).__name__}: {e}".splitlines()[0][:60]
    if other == together:
        return "not measured: all images score the same"
    return _difference(alone, together)


def _difference(a, b):
    """Returns a difference, relative above 1 and absolute below."""
    return float(f"{abs(a - b) / max(1, abs(a), abs(b)):.1e}")


if __name__ == "__main__":
    sys.exit(main())
