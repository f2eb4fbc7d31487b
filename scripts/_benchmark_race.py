"""Races: what the benchmark's parts share."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

COLUMNS = (
    "part",
    "contender",
    "n",
    "unit",
    "rate",
    "low",
    "high",
    "ratio",
    "against",
    "repeats",
    "note",
)


@dataclass
class Contender:
    """One way to do the work.

    Attributes:
        name: of the way
        run: does it once; returns how many units it did, or (units, seconds)
            where it takes the time itself
        n: units per run, for the table; 0 takes what the first run returned
        note: for the table
    """

    name: str
    run: Callable
    note: str = ""


def race(
    part: str,
    contenders: list[Contender],
    against: dict[str, str] | str,
    repeats: int,
    unit: str = "images/s",
) -> list[dict]:
    """Runs contenders in turn, so that noise of the machine hits them alike.

    Args:
        part: name of the part
        contenders: the ways; each is run once before, unmeasured
        against: name of the contender the others are compared to, or
            ``{name: name it is compared to}``
        repeats: measured rounds
        unit: of the rates

    Returns:
        a row per contender: its median rate with smallest and largest, and
        the median over rounds of its rate by that of the other one
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
    for contender in contenders:
        own = rates[contender.name]
        other = (
            against
            if isinstance(against, str)
            else against.get(contender.name)
        )
        ratio = None
        if other is not None:
            ratio = statistics.median(a / b for a, b in zip(own, rates[other]))
        rows.append(
            {
                "part": part,
                "contender": contender.name,
                "n": sizes[contender.name],
                "unit": unit,
                "rate": round(statistics.median(own), 2),
                "low": round(min(own), 2),
                "high": round(max(own), 2),
                "ratio": None if ratio is None else round(ratio, 3),
                "against": other,
                "repeats": repeats,
                "note": contender.note,
            }
        )
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
