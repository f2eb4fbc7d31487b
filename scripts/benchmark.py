"""Times the scoring engine beside the alternatives, in one run.

Parts: ``clip`` (ours against FiftyOne's apply_model of the same weights with
logits and hardness), ``lite`` (two networks in one pass), ``several`` (three
metrics against a loop per metric), ``limit`` (the engine against bare
decoding), ``writing`` (against sample.save()) and ``rescoring`` (a new label
set from cached embeddings). Contenders take turns; rates are medians, ratios
medians of the rounds' ratios. Weights may be random: they take no less time.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import _benchmark_parts as parts
from _benchmark_race import COLUMNS, hardware

PARTS = ("limit", "writing", "rescoring", "several", "lite", "clip")
RESULTS = Path(__file__).parent / "results" / "benchmark.csv"
SUFFIXES = (".jpg", ".jpeg")


def images(folder: Path | None, n: int) -> list[str]:
    """Returns the paths of n JPEG files.

    Args:
        folder: where to look, or None for the quickstart's photographs
            under corruptions
        n: how many; files are repeated where there are fewer
    """
    if folder is None:
        folder = _photographs()
    found = sorted(
        str(path)
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
    )
    if not found:
        raise SystemExit(f"benchmark: no JPEG file in {folder}")
    return [found[i % len(found)] for i in range(n)]


def _photographs():
    """Writes photographs of the installed packages as 500-pixel JPEGs."""
    import tempfile

    from PIL import Image
    from quickstart_images import photographs

    from fiftyone_iqa.images import read_image

    folder = Path(tempfile.mkdtemp(prefix="fiftyone-iqa-benchmark-"))
    for source in photographs():
        image = Image.fromarray(read_image(source.path))
        image.thumbnail((500, 500))
        image.save(folder / f"{source.id}.jpg", quality=90)
    return folder


def main(argv=None) -> None:
    """Runs the parts; prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--images", type=Path, help="a folder of JPEG files")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args(argv)

    paths = images(args.images, args.n)
    calls = {
        "limit": lambda: parts.limit(paths * 3, args.repeats),
        "writing": lambda: parts.writing(20_000, args.repeats),
        "rescoring": lambda: parts.rescoring(paths, 10_000, args.repeats),
        "several": lambda: parts.several(paths[:50], args.repeats),
        "lite": lambda: parts.lite(paths, args.repeats),
        "clip": lambda: parts.clip(paths[:128], args.repeats),
    }
    rows = []
    print(hardware(), flush=True)
    for name in args.parts:
        found = calls[name]()
        rows += found
        for row in found:
            ratio = f"{row['ratio']:.2f} x" if row["ratio"] else ""
            print(
                f"{name:10} {row['contender']:55} {row['rate']:10,.1f} "
                f"{row['unit']:10} {ratio}",
                flush=True,
            )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with args.output.open("w", newline="") as file:
        writer = csv.DictWriter(
            file, [*COLUMNS, "hardware"], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows({**row, "hardware": hardware()} for row in rows)


if __name__ == "__main__":
    main()
