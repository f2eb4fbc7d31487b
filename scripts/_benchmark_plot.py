"""A picture of the benchmark's tables."""

from __future__ import annotations

import csv
from pathlib import Path


def plot(folder: Path) -> None:
    """Draws benchmark.png from benchmark.csv and growth.csv in a folder."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    races = [r for r in _read(folder / "benchmark.csv") if r["target"]]
    growth = _read(folder / "growth.csv")
    figure, (bars, seconds, memory) = plt.subplots(
        1, 3, figsize=(13, 4.2), width_ratios=(1.6, 1, 1)
    )
    for place, row in enumerate(reversed(races)):
        met = row["met"] == "True"
        bars.barh(
            place, float(row["ratio"]), color="#0072B2" if met else "#D55E00"
        )
        target = float(row["target"])
        bars.plot([target] * 2, [place - 0.4, place + 0.4], "k", linewidth=2)
    bars.set(
        xscale="log",
        xlabel="times as fast as the alternative; black: the target",
        yticks=range(len(races)),
        yticklabels=[
            f"{row['contender']}\nagainst {row['against']}"
            for row in reversed(races)
        ],
    )
    bars.tick_params(axis="y", labelsize=6)

    for job, colour, label in (
        ("tv", "#009E73", "tv, 128-pixel JPEGs, into fields"),
        ("rescoring", "#CC79A7", "cached embeddings, 1,000 classes"),
    ):
        rows = [row for row in growth if row["job"] == job]
        n = [int(row["n"]) for row in rows]
        above = [
            float(row["memory_peak_mb"]) - float(row["memory_before_mb"])
            for row in rows
        ]
        seconds.loglog(
            n,
            [float(row["seconds"]) for row in rows],
            "o-",
            color=colour,
            label=label,
        )
        memory.semilogx(n, above, "o-", color=colour, label=label)
    seconds.set(xlabel="images", ylabel="seconds", ylim=(0.1, 1000))
    seconds.legend(frameon=False, fontsize=7, loc="upper left")
    memory.set(
        xlabel="images", ylabel="MB above what it began with", ylim=(0, 1500)
    )
    for axis in (bars, seconds, memory):
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(folder / "benchmark.png", dpi=110, bbox_inches="tight")


def _read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
