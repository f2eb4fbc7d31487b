"""Times the scoring engine beside the alternatives, in one run.

Parts: ``clip`` (ours against FiftyOne's apply_model of the same weights with
logits and hardness), ``lite`` (two networks in one pass), ``several`` (three
metrics against a loop per metric), ``limit`` (the engine against bare
decoding), ``writing`` (against sample.save()), ``rescoring`` (a new label set
from cached embeddings), ``decoders`` (others than Pillow, and what they do to
Q) and ``growth`` (seconds, memory and database as the number of images grows).
Contenders take turns; rates are medians, ratios medians of the rounds' ratios.
Weights may be random: they take no less time.
"""

from __future__ import annotations

import argparse
import csv
import logging
from pathlib import Path

import _benchmark_decoders as decoders
import _benchmark_engine as engine
import _benchmark_growth as growth
import _benchmark_models as models
from _benchmark_plot import plot
from _benchmark_race import COLUMNS, hardware

RACES = ("limit", "writing", "rescoring", "several", "lite", "clip")
PARTS = (*RACES, "decoders", "growth")
RESULTS = Path(__file__).parent / "results"
_PLOTTED = ("benchmark", "growth")
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
    """Runs the parts; prints and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--images", type=Path, help="a folder of JPEG files")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args(argv)

    paths = images(args.images, args.n)
    races = {
        "limit": lambda: engine.limit(paths * 3, args.repeats),
        "writing": lambda: engine.writing(20_000, args.repeats),
        "rescoring": lambda: engine.rescoring(
            paths[:100], 20_000, args.repeats
        ),
        "several": lambda: models.several(paths[:50], args.repeats),
        "lite": lambda: models.lite(paths, args.repeats),
        "clip": lambda: models.clip(paths[:128], args.repeats),
    }
    tables = {
        "decoders": (
            lambda: decoders.decoders(paths[:100], args.repeats),
            decoders.COLUMNS,
            "size",
        ),
        "growth": (lambda: growth.growth(paths), growth.COLUMNS, "job"),
    }
    # FiftyOne's own messages would bury the figures
    logging.disable(logging.INFO)
    print(hardware(), flush=True)
    args.output.mkdir(parents=True, exist_ok=True)
    for name in args.parts:
        if name in tables:
            compute, columns, key = tables[name]
            rows = compute()
            for row in rows:
                print(row, flush=True)
            write(args.output / f"{name}.csv", columns, key, rows)
            continue
        rows = races[name]()
        for row in rows:
            print(line(row), flush=True)
        write(args.output / "benchmark.csv", COLUMNS, "part", rows)
    if all((args.output / f"{t}.csv").is_file() for t in _PLOTTED):
        plot(args.output)


def line(row: dict) -> str:
    """Returns a row of a race as text."""
    text = (
        f"{row['part']:10} {row['contender']:52} {row['rate']:10,.1f} "
        f"{row['unit']}"
    )
    if row.get("ratio"):
        text += f"  {row['ratio']:.2f} x {row['against']}"
    if row.get("target"):
        text += f" (target {row['target']}{'' if row['met'] else ': MISSED'})"
    return text


def write(path: Path, columns, key: str, rows: list[dict]) -> None:
    """Writes rows into a table, in place of those of the same key there."""
    columns = [*columns, "hardware"]
    new = {row[key] for row in rows}
    kept = []
    if path.is_file():
        with path.open(newline="") as file:
            kept = [row for row in csv.DictReader(file) if row[key] not in new]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
        writer.writerows({**row, "hardware": hardware()} for row in rows)


if __name__ == "__main__":
    main()
