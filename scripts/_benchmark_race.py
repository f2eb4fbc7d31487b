"""Races: what the benchmark's parts share."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

BATCH = 32

COLUMNS = (
    "part",
    "contender",
    "n",
    "unit",
    "rate",
    "low",
    "high",
    "against",
    "ratio",
    "target",
    "met",
    "repeats",
)


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Attributes:
        name: of the way
        run: does it once; returns how many units it did, or (units, seconds)
            where it takes the time itself
    """

    name: str
    run: Callable


@dataclass(frozen=True)
class Pair:
    """A comparison of two contenders.

    Attributes:
        name: of the one
        against: name of the other
        target: the ratio of their rates that is aimed at, if any
    """

    name: str
    against: str
    target: float | None = None


def race(
    part: str,
    contenders: list[Contender],
    pairs: list[Pair],
    repeats: int,
    unit: str = "images/s",
) -> list[dict]:
    """Runs contenders in turn, so that noise of the machine hits them alike.

    Args:
        part: name of the part
        contenders: the ways; each is run once before, unmeasured
        pairs: which to compare
        repeats: measured rounds
        unit: of the rates

    Returns:
        a row per contender that is compared to none, and one per pair: the
        median rate with smallest and largest, and the median over rounds of
        the ratio of rates
    """
    rates: dict[str, list[float]] = {c.name: [] for c in contenders}
    sizes: dict[str, int] = {}
    for turn in range(repeats + 1):
        for contender in contenders:
            start = time.perf_counter()
            done = contender.run()
            seconds = time.perf_counter() - start
            n, seconds = done if isinstance(done, tuple) else (done, seconds)
            sizes[contender.name] = n
            if turn:
                rates[contender.name].append(n / seconds)

    rows = []
    for name, own in rates.items():
        row = {
            "part": part,
            "contender": name,
            "n": sizes[name],
            "unit": unit,
            "rate": round(statistics.median(own), 2),
            "low": round(min(own), 2),
            "high": round(max(own), 2),
            "repeats": repeats,
        }
        compared = [pair for pair in pairs if pair.name == name]
        for pair in compared:
            ratios = [a / b for a, b in zip(own, rates[pair.against])]
            ratio = statistics.median(ratios)
            rows.append(
                {
                    **row,
                    "against": pair.against,
                    "ratio": round(ratio, 3),
                    "target": pair.target,
                    "met": pair.target and ratio >= pair.target,
                }
            )
        if not compared:
            rows.append(row)
    return rows


def hardware() -> str:
    """Returns processor, cores and accelerator in one line."""
    import torch

    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            models = [line for line in file if line.startswith("model name")]
        name = models[0].split(":", 1)[1].strip() if models else name
    except OSError:
        pass
    gpu = ""
    if torch.cuda.is_available():
        gpu = f", {torch.cuda.get_device_name()}"
    cores = len(os.sched_getaffinity(0))
    return f"{name}, {cores} cores{gpu}, torch {torch.__version__}"
