"""The confusion score's findings (Albiero et al. 2023) on Fashion-MNIST.

    python scripts/confusion_paper.py --data DIR --out DIR

DIR holds Fashion-MNIST's four ``*-ubyte.gz`` files, as the Debian package
``dataset-fashion-mnist`` puts them into ``/usr/share/datasets/fashion-mnist``
(MIT licence). Ensembles of three seeds are trained for 20 epochs on 3,000
images, and score those and 5,000 held-out ones at every epoch:

-   section 3.1: error by band of confusion, training and held-out images;
    AUC image by image, beside other scores that need no label
-   section 3.2: rank correlation of the scores of a small ResNet and a small
    vision transformer; error by band of other models, trained on 3,000 other
    images
-   section 3.3: distributions with fewer epochs and one seed
-   section 3.4: GroupDRO with the hardest fifth as a group, against ERM; both
    with seeds that the score has not seen

What is compared, the groups and the bands were fixed before the first run;
nothing was tuned on the held-out images.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import _confusion_plots as plots
import numpy as np
import pandas as pd
import torch
from _confusion_models import (
    CLASSES,
    SIDE,
    other_models,
    read,
    small_vit,
    zero_shot,
)

from fiftyone_iqa.analysis.auc import auc_interval
from fiftyone_iqa.analysis.clusters import clustered_mean
from fiftyone_iqa.confusion.bands import band_edges, error_by_band, kendall
from fiftyone_iqa.confusion.ensemble import Ensemble, Recipe
from fiftyone_iqa.confusion.inputs import Pixels
from fiftyone_iqa.confusion.networks import network_builder
from fiftyone_iqa.confusion.objectives import ERM, GroupDRO
from fiftyone_iqa.confusion.score import mean_entropy
from fiftyone_iqa.preprocessing import ResizeCrop

SEEDS = (0, 1, 2)
FRESH_SEEDS = (10, 11, 12)
N_BANDS = 15
HARD_SHARE = 0.2
EPOCHS_SHOWN = (3, 5, 10, 20)


ARCHITECTURES = {"ResNet-8": "resnet8", "small ViT": small_vit}


def main(argv=None):
    args = parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    experiment = Experiment(args)
    for part in (
        experiment.ensembles,
        experiment.errors,
        experiment.transfer,
        experiment.sensitivity,
        experiment.mitigation,
        experiment.beside_other_scores,
    ):
        start, cpu = time.perf_counter(), time.process_time()
        part()
        name, spent = part.__name__, time.process_time() - cpu
        experiment.note(f"seconds: {name}", time.perf_counter() - start)
        experiment.note(f"CPU seconds: {name}", spent)
    experiment.write()


def parse_args(argv):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--train", type=int, default=3000, metavar="N")
    parser.add_argument("--held-out", type=int, default=5000, metavar="N")
    parser.add_argument("--epochs", type=int, default=20, metavar="N")
    parser.add_argument(
        "--zero-shot",
        type=int,
        default=1500,
        metavar="N",
        help="held-out images that ZSCLIP-IQA (lite) scores; 0 leaves it out",
    )
    return parser.parse_args(argv)


class Experiment:
    """The data, what was trained on it, and what was found."""

    def __init__(self, args):
        self.args = args
        rng = np.random.default_rng(0)
        images, labels = read(args.data, "train")
        rows = rng.permutation(len(images))[: 2 * args.train]
        test_images, test_labels = read(args.data, "t10k")
        held = rng.permutation(len(test_images))[: args.held_out]
        # Training images, those of the other models, held-out ones
        self.images = np.concatenate([images[rows], test_images[held]])
        self.labels = np.concatenate([labels[rows], test_labels[held]])
        self.train = np.arange(args.train)
        self.other = np.arange(args.train, 2 * args.train)
        self.held = np.arange(2 * args.train, len(self.images))
        shrink = ResizeCrop(SIDE, SIDE, "bilinear")
        rgb = self.images[..., None].repeat(3, axis=3)
        self.pixels = Pixels(np.stack([shrink(image) for image in rgb]))
        self.splits = ("held out", self.held), ("train", self.train)
        self.recipe = Recipe(epochs=args.epochs)
        self.rows, self.bands, self.epochs, self.groups = [], [], [], []

    def note(self, name, value, low=None, high=None, n=None):
        """Adds a row to the summary."""
        self.rows.append([name, value, low, high, n])
        print(name, value, low, high, n, flush=True)

    def estimate(self, name, estimate, n=None):
        self.note(name, estimate.value, estimate.low, estimate.high, n)

    def ensemble(self, model, seeds, objective=None):
        return Ensemble(
            network_builder(model, len(CLASSES), self.pixels.shape),
            seeds,
            self.pixels,
            self.labels,
            self.recipe,
            objective or (lambda: ERM(self.train)),
        )

    # -- section 3.1 ------------------------------------------------------

    def ensembles(self):
        """Trains an ensemble of each architecture; keeps each epoch's."""
        scored = np.concatenate([self.train, self.held])
        n = len(self.images)
        self.entropy, self.right = {}, {}
        for name, model in ARCHITECTURES.items():
            ensemble = self.ensemble(model, SEEDS)
            entropy = np.full((2, self.args.epochs, n), np.nan)
            for epoch in range(self.args.epochs):
                ensemble.train_epoch(epoch + 1, lambda n: None)
                found = list(ensemble.probabilities(scored))
                for rows, p in found:
                    entropy[0, epoch, rows] = mean_entropy(p[:1])
                    entropy[1, epoch, rows] = mean_entropy(p)
                losses = [f"{m.loss:.3f}" for m in ensemble.members]
                print(f"{name}, epoch {epoch + 1}: {losses}", flush=True)
            right = np.zeros((len(SEEDS), n), bool)
            sure = np.full(n, np.nan)
            for rows, p in found:
                right[:, rows] = p.argmax(axis=2) == self.labels[rows]
                sure[rows] = p[0].max(axis=1)
            self.entropy[name] = entropy
            self.right[name] = right
            if name == "ResNet-8":
                self.sure = sure
        self.score = {k: e[1].mean(axis=0) for k, e in self.entropy.items()}

    def errors(self):
        """Error by band of the ensemble's own members."""
        for name, score in self.score.items():
            for split, rows in (
                ("held out", self.held),
                ("train", self.train),
            ):
                wrong = 1 - self.right[name][:, rows].mean(axis=0)
                self.note(f"error of {name}, {split}", wrong.mean())
                self.add_bands(name, f"{name} (members)", split, rows, wrong)
                self.estimate(
                    f"AUC of {name}'s confusion, seed 0, {split}",
                    auc_interval(-score[rows], self.right[name][0, rows]),
                    len(rows),
                )

    def add_bands(self, scored_by, model, split, rows, wrong):
        score = self.score[scored_by][rows]
        for how in ("width", "count"):
            edges = band_edges(score, N_BANDS, how)
            bands = error_by_band(score, wrong, edges)
            table = bands.to_pandas()
            table.insert(0, "bands of equal", how)
            table.insert(0, "images", split)
            table.insert(0, "model", model)
            table.insert(0, "scored by", scored_by)
            self.bands.append(table)
            self.estimate(
                f"r of {scored_by}'s confusion and error of {model}, "
                f"{split}, bands of equal {how}",
                bands.pearson,
                bands.n_bands,
            )

    # -- section 3.2 ------------------------------------------------------

    def transfer(self):
        """Ranks by two architectures; error of other models by band."""
        a, b = self.score.values()
        for split, rows in self.splits:
            rng = np.random.default_rng(0)
            drawn = [
                kendall(a[r], b[r]) for r in rng.choice(rows, (200, len(rows)))
            ]
            self.note(
                f"Kendall tau of ResNet-8 and small ViT, {split}",
                kendall(a[rows], b[rows]),
                *np.quantile(drawn, (0.025, 0.975)),
                len(rows),
            )
        self.others = []
        for model, right in other_models(
            self.images, self.labels, self.other, self.held
        ):
            self.others.append((model, right))
            wrong = 1.0 - right
            self.note(f"error of {model}, held out", wrong.mean())
            self.estimate(
                f"AUC of ResNet-8's confusion for {model}, held out",
                auc_interval(-self.score["ResNet-8"][self.held], right),
                len(right),
            )
            self.add_bands("ResNet-8", model, "held out", self.held, wrong)

    # -- section 3.3 ------------------------------------------------------

    def sensitivity(self):
        """Distributions with fewer epochs, and with one seed."""
        name = "ResNet-8"
        wrong = 1 - self.right[name][:, self.held].mean(axis=0)
        for n_seeds, entropy in zip((1, 3), self.entropy[name]):
            for k in EPOCHS_SHOWN:
                if k > self.args.epochs:
                    continue
                spaced = np.linspace(0, self.args.epochs, k + 1)[1:] - 1
                ways = (
                    ("first", np.arange(k)),
                    ("evenly spaced", spaced.astype(int)),
                )
                for way, chosen in ways:
                    score = entropy[chosen][:, self.held].mean(axis=0)
                    edges = band_edges(score, N_BANDS)
                    bands = error_by_band(score, wrong, edges)
                    self.epochs.append(
                        {
                            "seeds": n_seeds,
                            "epochs": k,
                            "which": way,
                            "mean": score.mean(),
                            "median": np.median(score),
                            "90 % quantile": np.quantile(score, 0.9),
                            "standard deviation": score.std(),
                            "r": bands.pearson.value,
                            "r_low": bands.pearson.low,
                            "r_high": bands.pearson.high,
                            "bands": bands.n_bands,
                            "tau to all": kendall(
                                score, self.score[name][self.held]
                            ),
                        }
                    )

    # -- section 3.4 ------------------------------------------------------

    def mitigation(self):
        """ERM and GroupDRO on fresh seeds, by band of confusion."""
        score = self.score["ResNet-8"]
        cut = np.quantile(score[self.train], 1 - HARD_SHARE)
        groups = (score >= cut).astype(int)
        wrong = {}
        for name, objective in (
            ("ERM", lambda: ERM(self.train)),
            ("GroupDRO", lambda: GroupDRO(self.train, groups)),
        ):
            ensemble = self.ensemble("resnet8", FRESH_SEEDS, objective)
            ensemble.fit(lambda n: None)
            for split, rows in (
                ("held out", self.held),
                ("train", self.train),
            ):
                found = ensemble.probabilities(rows)
                predicted = np.hstack([p.argmax(axis=2) for _, p in found])
                missed = predicted != self.labels[rows]
                wrong[name, split] = missed.mean(axis=0)
            if name == "GroupDRO":
                for member in ensemble.members:
                    weight = float(member.objective.weights[1])
                    self.note(f"hard group's weight, {member.seed}", weight)
        for split, rows in self.splits:
            s = score[rows]
            hardest = np.quantile(s, 1 - HARD_SHARE)
            middle = (s.min() + s.max()) / 2
            for band, inside in (
                ("all", np.full(len(s), True)),
                ("easier four fifths", s < hardest),
                ("hardest fifth", s >= hardest),
                ("below mid-range", s < middle),
                ("above mid-range", s >= middle),
            ):
                pair = [wrong[n, split][inside] for n in ("ERM", "GroupDRO")]
                row = {"images": split, "band": band, "n": int(inside.sum())}
                for kind, values in (
                    ("ERM", pair[0]),
                    ("GroupDRO", pair[1]),
                    ("difference", pair[1] - pair[0]),
                ):
                    found = clustered_mean(values)
                    row[kind] = found.value
                    row[f"{kind}_low"], row[f"{kind}_high"] = (
                        found.low,
                        found.high,
                    )
                self.groups.append(row)
        self.wrong = wrong
        self.add_bands(
            "ResNet-8",
            "ResNet-8 (fresh seeds)",
            "held out",
            self.held,
            wrong["ERM", "held out"],
        )
        self.add_bands(
            "ResNet-8",
            "ResNet-8, GroupDRO",
            "held out",
            self.held,
            wrong["GroupDRO", "held out"],
        )

    # -- beside other scores ----------------------------------------------

    def beside_other_scores(self):
        """AUC of scores that ask for no label of the image either."""
        rows = self.held[: self.args.zero_shot]
        if not len(rows):
            return
        name = "ResNet-8"
        scores = {
            "confusion": -self.score[name][rows],
            "entropy of the last epoch": -self.entropy[name][1, -1, rows],
            "Q_p of seed 0": self.sure[rows],
            **zero_shot(self.images[rows]),
        }
        models = {"seed 0": self.right[name][0, rows]}
        for model, right in self.others:
            models[model] = right[: len(rows)]
        for model, right in models.items():
            for score, values in scores.items():
                self.estimate(
                    f"AUC of {score} for {model}, {len(rows)} held out",
                    auc_interval(values, right),
                    len(rows),
                )

    def write(self):
        """Writes tables and plots."""
        out = self.args.out
        self.note("CPU cores", len(os.sched_getaffinity(0)))
        self.note("threads", torch.get_num_threads())
        columns = ["what", "value", "low", "high", "n"]
        summary = pd.DataFrame(self.rows, columns=columns)
        bands = pd.concat(self.bands, ignore_index=True)
        epochs, groups = pd.DataFrame(self.epochs), pd.DataFrame(self.groups)
        for name, table in (
            ("summary", summary),
            ("bands", bands),
            ("epochs", epochs),
            ("mitigation", groups),
        ):
            table.to_csv(out / f"{name}.csv", index=False, float_format="%.5g")
        plots.plot_bands(bands, out / "bands.png")
        plots.plot_transfer(
            [s[self.held] for s in self.score.values()],
            list(self.score),
            out / "transfer.png",
        )
        plots.plot_epochs(
            self.entropy["ResNet-8"][:, :, self.held],
            EPOCHS_SHOWN,
            out / "epochs.png",
        )
        plots.plot_mitigation(groups, out / "mitigation.png")
        plots.plot_easy_hard(
            self.images[self.held],
            self.labels[self.held],
            self.score["ResNet-8"][self.held],
            CLASSES,
            out / "easy_hard.png",
        )


if __name__ == "__main__":
    main()
