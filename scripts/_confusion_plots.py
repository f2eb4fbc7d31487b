"""Plots of ``confusion_paper.py``."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

BLUE, ORANGE = "#3465a4", "#f57900"


def plot_bands(bands, path):
    """Error by band of confusion: figures 2 and 4 of the paper."""
    shown = bands[(bands["bands of equal"] == "width") & (bands.n >= 30)]
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    own = shown[shown.model.str.endswith("(members)")]
    others = shown[
        ~shown.model.str.endswith("(members)")
        & ~shown.model.str.contains("GroupDRO")
    ]
    for (model, images), table in own.groupby(["model", "images"]):
        _line(axes[0], table, f"{model.split(' (')[0]}, {images}")
    for model, table in others.groupby("model"):
        _line(axes[1], table, model)
    axes[0].set(title="Its own members", ylabel="top-1 error")
    axes[1].set(title="Other models, held-out images (by ResNet-8's score)")
    for axis in axes:
        axis.set(xlabel="confusion (nats)", ylim=(0, 1))
        axis.legend(fontsize=8)
    _save(figure, path)


def _line(axis, table, label):
    errors = [
        (table.error - table.error_low).clip(lower=0),
        (table.error_high - table.error).clip(lower=0),
    ]
    axis.errorbar(
        table.score,
        table.error,
        errors,
        fmt="o-",
        ms=4,
        capsize=2,
        label=label,
    )


def plot_transfer(scores, names, path):
    """Two architectures' scores of the same images: figure 3."""
    figure, axis = plt.subplots(figsize=(4.6, 4.2))
    drawn = axis.hexbin(*scores, gridsize=45, bins="log", mincnt=1)
    top = max(s.max() for s in scores)
    axis.plot([0, top], [0, top], "k--", lw=0.8)
    axis.set(
        xlabel=f"confusion of {names[0]} (nats)",
        ylabel=f"confusion of {names[1]} (nats)",
        title="Held-out images",
    )
    figure.colorbar(drawn, label="images")
    _save(figure, path)


def plot_epochs(entropy, epochs, path):
    """Distributions with fewer epochs: figure 5.

    Args:
        entropy: ``(2, T, n)``: of one seed, of all
        epochs: how many of the first to show
        path: of the PNG
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True)
    edges = np.linspace(0, np.log(10), 47)
    for axis, values, seeds in zip(axes, entropy, ("1 seed", "3 seeds")):
        for k in epochs:
            if k <= values.shape[0]:
                score = values[:k].mean(axis=0)
                axis.hist(
                    score, edges, histtype="step", lw=1.5, label=f"first {k}"
                )
        axis.set(xlabel="confusion (nats)", title=seeds, yscale="log")
        axis.legend(title="epochs")
    axes[0].set(ylabel="held-out images")
    _save(figure, path)


def plot_mitigation(groups, path):
    """Error of ERM and GroupDRO by band: figure 7."""
    held = groups[groups.images == "held out"]
    figure, axis = plt.subplots(figsize=(7, 3.6))
    x = np.arange(len(held))
    for shift, kind, colour in (
        (-0.2, "ERM", BLUE),
        (0.2, "GroupDRO", ORANGE),
    ):
        errors = [
            held[kind] - held[f"{kind}_low"],
            held[f"{kind}_high"] - held[kind],
        ]
        axis.bar(
            x + shift,
            held[kind],
            0.4,
            yerr=errors,
            capsize=3,
            color=colour,
            label=kind,
        )
    labels = [f"{b}\n(n = {n:,})" for b, n in zip(held.band, held.n)]
    axis.set_xticks(x, labels, fontsize=8)
    axis.set(ylabel="top-1 error, held-out images")
    axis.legend()
    _save(figure, path)


def plot_easy_hard(images, labels, scores, classes, path, n=6):
    """The least and the most confusing images of each class: figure 1."""
    figure, axes = plt.subplots(
        len(classes), 2 * n + 1, figsize=(11, 9), squeeze=False
    )
    for axis in axes.flat:
        axis.axis("off")
    for row, name in enumerate(classes):
        own = np.flatnonzero(labels == row)
        order = own[np.argsort(scores[own], kind="stable")]
        shown = [*order[:n], None, *order[-n:]]
        for axis, i in zip(axes[row], shown):
            if i is not None:
                axis.imshow(images[i], cmap="gray_r", vmin=0, vmax=255)
                axis.set_title(f"{scores[i]:.2f}", fontsize=7, pad=1)
        axes[row][0].text(
            *(-0.2, 0.5), name, ha="right", va="center", fontsize=9,
            transform=axes[row][0].transAxes,
        )  # fmt: skip
    figure.text(0.32, 0.95, "easy", ha="center", fontsize=12)
    figure.text(0.72, 0.95, "hard", ha="center", fontsize=12)
    figure.subplots_adjust(
        left=0.1, right=0.99, top=0.92, bottom=0.01, hspace=0.25, wspace=0.05
    )
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _save(figure, path):
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
