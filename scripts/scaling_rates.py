"""Measures what scoring costs per image here, and multiplies it out.

Rates are per second of processor time, so that other jobs on the machine
matter less. The plan's assumptions (a GPU's rate, prices, sizes) are options
with defaults; the CSV says of every figure whether it was measured here,
assumed, or derived from the two. See docs/scaling.md.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import time
import tracemalloc
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "scaling_rates.csv"
HOUR = 3600
_N_WRITTEN = 20_000
_FIELDS = ("zsclip_qp", "zsclip_qh", "zsclip_ql", "zsclip_qm", "tv")


def per_cpu_second(function, items, repeats=3) -> float:
    """Returns how many items one core does in a second, median of repeats."""
    rates = []
    for _ in range(repeats):
        start = time.process_time()
        for item in items:
            function(item)
        rates.append(len(items) / (time.process_time() - start))
    return sorted(rates)[len(rates) // 2]


def images(folder):
    """Yields figures of reading and of two metrics, on one core."""
    import numpy as np
    import open_clip
    import torch

    from fiftyone_iqa.images import read_image
    from fiftyone_iqa.metrics.tv import total_variation
    from fiftyone_iqa.preprocessing import ResizeCrop

    suffixes = (".jpg", ".jpeg")
    paths = sorted(
        p for p in folder.rglob("*") if p.suffix.lower() in suffixes
    )
    paths = paths[:: max(1, len(paths) // 200)][:200]
    pixels = [read_image(path) for path in paths[:50]]
    size = sum(map(os.path.getsize, paths)) / len(paths) / 1000
    yield "size of a JPEG file here", size, "kB"
    yield "JPEGs decoded", per_cpu_second(read_image, paths), "/core/s"
    yield "total variation", per_cpu_second(total_variation, pixels), "/core/s"
    yield (
        "crops of 224 pixels",
        per_cpu_second(ResizeCrop(224, 224), pixels),
        "/core/s",
    )
    torch.set_num_threads(1)
    model = open_clip.create_model("ViT-B-32").eval()  # random weights
    batch = torch.from_numpy(np.zeros((16, 3, 224, 224), dtype=np.float32))
    with torch.inference_mode():
        rate = 16 * per_cpu_second(model.encode_image, [batch, batch])
    yield "ViT-B-32, fp32, random weights", rate, "/core/s"


def database():
    """Yields figures of scores in the database and of a call's memory."""
    import fiftyone as fo
    import fiftyone.core.odm as foo

    from fiftyone_iqa.scoring.configuration import resolve_plans
    from fiftyone_iqa.scoring.quality import _plan_items
    from fiftyone_iqa.scoring.request import Request
    from fiftyone_iqa.scoring.source import Row, open_source

    dataset = fo.Dataset()
    try:
        root = "/a/folder/of/some/depth/on/a/mounted/bucket"
        samples = [
            fo.Sample(
                filepath=f"{root}/{i:08d}.jpg",
                ground_truth=fo.Classification(label="class"),
            )
            for i in range(_N_WRITTEN)
        ]
        dataset.add_samples(samples, progress=False)
        del samples  # FiftyOne reloads those that are in memory
        for name in _FIELDS:
            dataset.add_sample_field(name, fo.FloatField)
        source = open_source(dataset)
        source.read([])
        values = random.Random(51)
        rows = [
            Row(i, {name: values.random() for name in _FIELDS})
            for i in range(_N_WRITTEN)
        ]
        start = time.perf_counter()
        for first in range(0, _N_WRITTEN, 2000):
            source.write(rows[first : first + 2000])
        seconds = time.perf_counter() - start
        yield "samples written, one client", _N_WRITTEN / seconds, "/s"

        connection = foo.get_db_conn()
        connection.client.admin.command("fsync")
        name = dataset._sample_collection_name
        found = connection.command("collStats", name)
        yield "a sample in the database", found["size"] / _N_WRITTEN, "B"
        on_disk = found["storageSize"] + found["totalIndexSize"]
        yield "the same on its disk", on_disk / _N_WRITTEN, "B"

        request = Request(*[None] * 8)
        plans, _ = resolve_plans(source, ["blur"], request, None, False)
        tracemalloc.start()
        kept = _plan_items(source, plans, False)
        yield (
            "memory of the calling process",
            tracemalloc.get_traced_memory()[0] / len(kept[0]),
            "B/sample",
        )
        tracemalloc.stop()
    finally:
        dataset.delete()


def plan(measured, args):
    """Yields what a billion images take, by the measured and the assumed."""
    n = args.n
    decode = 1 / (
        1 / measured["JPEGs decoded"]
        + 1 / measured["crops of 224 pixels"]
        + 1 / measured["total variation"]
    )
    vit = measured["ViT-B-32, fp32, random weights"]
    core_hours = n / decode / HOUR
    gpu_hours = n / args.gpu_rate / HOUR
    bytes_read = n * args.kilobytes * 1000
    yield "decoding, crops and tv, core-hours", core_hours, "h"
    yield "cores that keep one GPU busy", args.gpu_rate / decode, "cores"
    yield "ViT-B-32 on GPUs, GPU-hours", gpu_hours, "h"
    yield "ViT-B-32 without a GPU, core-hours", n / vit / HOUR, "h"
    yield "read from the object store", bytes_read / 1e12, "TB"
    hours = gpu_hours / args.gpus
    yield f"hours with {args.gpus} GPUs", hours, "h"
    yield "read per second meanwhile", bytes_read / hours / HOUR / 1e9, "GB/s"
    writing = n / measured["samples written, one client"] / HOUR
    yield "writing through one client", writing, "h"
    yield "clients that keep up with the GPUs", writing / hours, ""
    stored = n * measured["the same on its disk"]
    yield "databases on disk", stored / 1e9, "GB"
    driver = n * measured["memory of the calling process"]
    yield "memory of one call over all of it", driver / 1e9, "GB"
    yield "embeddings, 512 float32", n * 512 * 4 / 1e12, "TB"
    cost = gpu_hours * args.gpu_price + core_hours * args.core_price
    yield "price of the machines", cost, "USD"
    yield "price of the requests", n / 1e6 * args.get_price, "USD"


def main(argv=None) -> int:
    """Measures, multiplies and writes the CSV."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="JPEGs")
    parser.add_argument("--n", type=float, default=1e9)
    parser.add_argument("--kilobytes", type=float, default=110, help="a file")
    parser.add_argument("--gpu-rate", type=float, default=6000)
    parser.add_argument("--gpus", type=int, default=16)
    parser.add_argument("--gpu-price", type=float, default=2.5, help="USD/h")
    parser.add_argument("--core-price", type=float, default=0.04, help="USD/h")
    parser.add_argument(
        "--get-price", type=float, default=0.4, help="USD/million requests"
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args(argv)

    rows = [
        ("cores of this machine", os.cpu_count(), "", "measured"),
        ("load when it began", os.getloadavg()[0], "", "measured"),
    ]
    measured = {}
    for part in (images(args.images), database()):
        for name, value, unit in part:
            measured[name] = value
            rows.append((name, value, unit, "measured"))
            print(*rows[-1], flush=True)
    rows += [
        ("images", args.n, "", "assumed"),
        ("size of a JPEG file", args.kilobytes, "kB", "assumed"),
        ("ViT-B-32 on one H100-class GPU", args.gpu_rate, "/s", "assumed"),
        ("GPUs", args.gpus, "", "assumed"),
        ("a GPU", args.gpu_price, "USD/h", "assumed"),
        ("a core", args.core_price, "USD/h", "assumed"),
        ("a million reads", args.get_price, "USD", "assumed"),
    ]
    for name, value, unit in plan(measured, args):
        rows.append((name, value, unit, "derived"))
        print(*rows[-1], flush=True)
    with args.output.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["figure", "value", "unit", "kind"])
        for name, value, unit, kind in rows:
            writer.writerow([name, f"{value:.4g}", unit, kind])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
