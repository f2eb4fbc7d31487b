"""Cost as the number of images grows: seconds, memory, database.

Each size runs in a process of its own (``python _benchmark_growth.py JOB N
IMAGES``), so that none inherits the memory of another. Jobs: ``tv`` decodes
small JPEGs and writes fields; ``rescoring`` reads cached embeddings of 512
numbers and scores them against 1,000 classes, without the write.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

COLUMNS = (
    "job",
    "n",
    "seconds",
    "images_per_s",
    "memory_before_mb",
    "memory_peak_mb",
    "processes",
    "database_mb",
    "mongod_mb",
)
SIZES = {
    "tv": (1000, 10_000, 100_000),
    "rescoring": (10_000, 100_000, 1_000_000),
}
_SMALL = 128
_DIMENSION = 512


def growth(paths, sizes=None) -> list[dict]:
    """Runs every job at every size; returns a row for each."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        small = _thumbnails(paths, Path(folder))
        for job, numbers in (sizes or SIZES).items():
            for n in numbers:
                command = [sys.executable, __file__, job, str(n), str(small)]
                done = subprocess.run(
                    command, check=True, stdout=subprocess.PIPE, text=True
                )
                rows.append(json.loads(done.stdout.splitlines()[-1]))
    return rows


def _thumbnails(paths, folder):
    from PIL import Image

    from fiftyone_iqa.images import read_image

    small = folder / "small"
    small.mkdir()
    for i, path in enumerate(dict.fromkeys(paths)):
        image = Image.fromarray(read_image(path))
        image.thumbnail((_SMALL, _SMALL))
        image.save(small / f"{i:04d}.jpg", quality=90)
    return small


class Memory:
    """Watches the resident memory of this process and its children.

    Attributes:
        before: MB when it began
        peak: largest sum seen, MB
        processes: largest number of processes seen
    """

    def __init__(self):
        self.before, self.processes = self._now()
        self.peak = self.before
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _watch(self):
        while not self._stop.wait(0.1):
            used, n = self._now()
            self.peak = max(self.peak, used)
            self.processes = max(self.processes, n)

    @staticmethod
    def _now():
        import psutil

        own = psutil.Process()
        used, n = 0, 0
        for process in [own, *own.children(recursive=True)]:
            try:
                if "mongod" in process.name():
                    continue  # reported apart
                used += process.memory_info().rss
                n += 1
            except psutil.NoSuchProcess:
                pass
        return used / 1e6, n


def _tv(n, paths, folder):
    """Scores a dataset, and returns seconds, memory and database."""
    import fiftyone as fo
    import fiftyone.core.odm as foo
    from _benchmark_engine import link_files

    import fiftyone_iqa as fiqa

    links = link_files(paths, n, folder / "images")
    dataset = fo.Dataset()
    try:
        for start in range(0, n, 10_000):
            part = links[start : start + 10_000]
            dataset.add_samples(
                [fo.Sample(filepath=path) for path in part], progress=False
            )
        # What the first call loads is not what the size costs
        fiqa.compute_quality(dataset.limit(10), "tv", progress=False)
        with Memory() as memory:
            start = time.perf_counter()
            report = fiqa.compute_quality(
                dataset, "tv", cache=False, progress=False
            )
            seconds = time.perf_counter() - start
        if report.n_failed:
            raise SystemExit(f"growth: {report.n_failed} files failed")
        server = foo.get_db_client().admin.command("serverStatus")
        database = {
            "database_mb": dataset.stats()["samples_bytes"] / 1e6,
            "mongod_mb": server["mem"]["resident"],
        }
    finally:
        dataset.delete()
    return seconds, memory, database


def _rescoring(n, paths, folder):
    """Scores cached embeddings, and returns seconds and memory."""
    from _benchmark_engine import fill_cache, own_cache, score_items

    encoder = _Random()
    texts, links = fill_cache(encoder, paths, n, folder)
    with own_cache(folder):
        run = score_items(encoder, texts, links, use_cache=True)
        with Memory() as memory:
            start = time.perf_counter()
            run()
            seconds = time.perf_counter() - start
    return seconds, memory, {}


class _Random:
    """Stands for an encoder whose embeddings are all cached."""

    name = id = "growth"
    precision = "fp32"
    preprocessing = "none"
    device = "cpu"
    logit_scale = 100.0

    def encode_texts(self, texts):
        import numpy as np

        from fiftyone_iqa.encoders.base import unit_rows

        rng = np.random.default_rng(0)
        return unit_rows(rng.normal(size=(len(texts), _DIMENSION)))


def main(job, n, images) -> None:
    """Runs one job at one size and prints its row as JSON."""
    n = int(n)
    paths = sorted(map(str, Path(images).glob("*.jpg")))
    with tempfile.TemporaryDirectory() as folder:
        run = {"tv": _tv, "rescoring": _rescoring}[job]
        seconds, memory, database = run(n, paths, Path(folder))
    row = {
        "job": job,
        "n": n,
        "seconds": seconds,
        "images_per_s": n / seconds,
        "memory_before_mb": memory.before,
        "memory_peak_mb": memory.peak,
        "processes": memory.processes,
        "database_mb": database.get("database_mb"),
        "mongod_mb": database.get("mongod_mb"),
    }
    print(
        json.dumps(
            {
                k: round(v, 1) if isinstance(v, float) else v
                for k, v in row.items()
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
