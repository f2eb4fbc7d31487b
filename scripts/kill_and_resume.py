"""Kills a scoring run at random points and resumes it: is anything lost?

Two datasets of the same files are scored with ``tv``, the cache off: one
undisturbed, one by processes that get SIGKILL when a random number of samples
is scored, each followed by a new process. Then the values are compared,
sample by sample. Files are linked to reach ``--n``.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COLUMNS = (
    "n",
    "files",
    "kills",
    "killed_at",
    "kept",
    "equal",
    "different",
    "missing",
    "undisturbed_s",
    "disturbed_s",
)
RESULTS = Path(__file__).parent / "results" / "kill_and_resume.csv"
FIELD = "tv"


def score(name: str) -> None:
    """Scores a dataset and prints how many samples have a value."""
    import fiftyone as fo

    import fiftyone_iqa as fiqa

    dataset = fo.load_dataset(name)
    before = dataset.count(FIELD) if dataset.has_sample_field(FIELD) else 0
    print(before, flush=True)
    fiqa.compute_quality(
        dataset,
        FIELD,
        cache=False,
        progress=lambda bar: print(before + bar.iteration, flush=True),
    )
    print("done", flush=True)


def run(name: str, kill_at: int | None = None) -> int:
    """Scores a dataset in a process of its own.

    Args:
        name: of the dataset
        kill_at: how many scored samples end it with SIGKILL, or None

    Returns:
        how many samples were scored when it began
    """
    process = subprocess.Popen(
        [sys.executable, __file__, "--score", name],
        stdout=subprocess.PIPE,
        text=True,
    )
    start = None
    for line in process.stdout:
        if line.strip() == "done":
            break
        if not line.strip().isdigit():
            continue
        scored = int(line)
        start = scored if start is None else start
        if kill_at is not None and scored >= kill_at:
            process.kill()
            process.wait()
            return start
    if process.wait():
        raise SystemExit(f"kill_and_resume: scoring {name} failed")
    return start


def make(name: str, links: list[str]) -> None:
    """Makes a persistent dataset of files."""
    import fiftyone as fo

    dataset = fo.Dataset(name, persistent=True)
    for start in range(0, len(links), 10_000):
        dataset.add_samples(
            [fo.Sample(filepath=p) for p in links[start : start + 10_000]],
            progress=False,
        )


def values(name: str) -> dict[str, float | None]:
    """Returns ``{file: value}`` of a dataset."""
    import fiftyone as fo

    dataset = fo.load_dataset(name)
    dataset.reload()
    return dict(zip(*dataset.values(["filepath", FIELD])))


def main(argv=None) -> int:
    """Runs the comparison; returns 1 if a value was lost or changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--score", help=argparse.SUPPRESS)
    parser.add_argument("--images", type=Path, help="a folder of JPEG files")
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=51)
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args(argv)
    if args.score:
        score(args.score)
        return 0

    import fiftyone as fo
    from benchmark import images

    rng = random.Random(args.seed)
    points = sorted(rng.randrange(args.n) for _ in range(args.kills))
    names = [f"iqa-kill-{os.getpid()}-{part}" for part in "ab"]
    with tempfile.TemporaryDirectory() as folder:
        links = _links(images(args.images, args.files), args.n, Path(folder))
        try:
            for name in names:
                make(name, links)
            start = time.perf_counter()
            run(names[0])
            undisturbed = time.perf_counter() - start
            print(f"undisturbed: {undisturbed:.0f} s", flush=True)

            start = time.perf_counter()
            kept = []
            for point in [*points, None]:
                kept.append(run(names[1], point))
                print(f"kept {kept[-1]:,}, next kill at {point}", flush=True)
            disturbed = time.perf_counter() - start
            row = _compare(*map(values, names))
        finally:
            for name in names:
                fo.delete_dataset(name)

    row |= {
        "n": args.n,
        "files": args.files,
        "kills": args.kills,
        "killed_at": " ".join(map(str, points)),
        "kept": " ".join(map(str, kept[1:])),
        "undisturbed_s": round(undisturbed, 1),
        "disturbed_s": round(disturbed, 1),
    }
    print(row)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with args.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerow(row)
    return int(row["equal"] != args.n)


def _links(paths, n, folder):
    links = []
    for i in range(n):
        link = folder / f"{i:07d}.jpg"
        link.symlink_to(os.path.abspath(paths[i % len(paths)]))
        links.append(str(link))
    return links


def _compare(first, second):
    counts = {"equal": 0, "different": 0, "missing": 0}
    for path, value in first.items():
        other = second.get(path)
        if value is None or other is None:
            counts["missing"] += 1
        else:
            counts["equal" if value == other else "different"] += 1
    return counts


if __name__ == "__main__":
    sys.exit(main())
