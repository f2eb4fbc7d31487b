"""Measures the nine dimensions of several models, on files and arrays."""

from __future__ import annotations

import numpy as np

from ..errors import IQAError
from . import dimensions as d
from .dimensions import MIN_PER_CLASS, Measured, not_measured
from .plan import Plan, background_name, ood_name, true_classes
from .runner import Runner
from .stages import (
    PROTOCOL_ATTACKS,
    Attacked,
    Clean,
    Corrupted,
    Predicted,
    why_not_attackable,
)

SAME, RANDOM = "mixed_same", "mixed_rand"

# How many images the paper's collections have
_IMAGENET_VAL = 50_000
_OOD = {
    "edge": 160,
    "silhouette": 160,
    "sketch": 800,
    "stylized": 800,
    "imagenet-r": 30_000,
}
_BACKGROUNDS = 4050
_CUE_CONFLICT = 1280


def measure(plan: Plan, models, runner: Runner) -> dict:
    """Measures models.

    Args:
        plan: what on
        models: task models of different slugs
        runner: what takes them over images

    Returns:
        ``{slug: {dimension: Measured}}``

    Raises:
        IQAError: if a label is none of a model's classes; before any work
        IQAError: if no image could be read
    """
    truth = true_classes(plan, models)
    reasons = {model.slug: why_not_attackable(model) for model in models}
    found: dict = {model.slug: {} for model in models}
    images, kept, logits = _readable(plan.images, models, runner)
    right = {
        model.slug: truth[model.slug, "samples"][
            images.label, logits[model.slug].argmax(axis=1)
        ]
        for model in models
    }
    everything = len(images) == _IMAGENET_VAL and len(images.labels) == 1000
    for model in models:
        slug = model.slug
        found[slug].update(
            _of_probabilities(
                _softmax(logits.pop(slug)),
                truth[slug, "samples"],
                images,
                right[slug],
                everything,
                plan.seed,
            )
        )
        found[slug]["parameters"] = _parameters(model)

    whole = _Whole(plan, models, runner, truth, images, kept, right)
    for key, measured in (
        (
            "adversarial_robustness",
            whole.adversarial(reasons, everything),
        ),
        ("corruption_robustness", whole.corruption()),
        ("ood_robustness", whole.ood(everything)),
        ("object_focus", whole.focus(everything)),
        ("shape_bias", whole.shape()),
    ):
        for slug, one in measured.items():
            found[slug][key] = one
    return found


class _Whole:
    """The dimensions that need more than logits of the images."""

    def __init__(self, plan, models, runner, truth, images, kept, right):
        self.plan, self.models, self.runner = plan, models, runner
        self.truth, self.images, self.right = truth, images, right
        # Rows of the readable images among the plan's
        self.place = np.full(len(plan.images), -1)
        self.place[kept] = np.arange(len(kept))

    def adversarial(self, reasons, everything):
        found = {
            slug: not_measured(why) for slug, why in reasons.items() if why
        }
        models = [m for m in self.models if not reasons[m.slug]]
        rows = self._rows(self.plan.attacked_rows)
        if not len(rows):
            return self._lacks("images to attack (max_attacked=)")
        if not models:
            return found
        chosen = self.images.take(rows)
        masks = {
            m.slug: self.truth[m.slug, "samples"][chosen.label] for m in models
        }
        attacks = self.plan.attacks
        predicted = self.runner.run(
            Attacked(attacks, masks, self.plan.seed), models, chosen.paths
        )
        for model in models:
            slug = model.slug
            columns = predicted[slug].astype(np.int64)
            n = np.arange(len(rows))
            hits = {
                attack.name: masks[slug][n, columns[:, i]]
                for i, attack in enumerate(attacks)
            }
            counted = {a.name: hits[a.name] for a in PROTOCOL_ATTACKS}
            clean = self.right[slug][rows]
            estimate, _ = d.adversarial_robustness(
                clean, counted, chosen.source, self.plan.seed
            )
            parts = {"clean": float(clean.mean())}
            parts |= {name: float(hit.mean()) for name, hit in hits.items()}
            found[slug] = _or_none(
                estimate,
                f"{chosen}, PGD (10 steps) and FGSM of 8/255 at the model's "
                "input size",
                parts,
                everything and len(rows) == len(self.images),
            )
        return found

    def corruption(self):
        rows = self._rows(self.plan.corrupted_rows)
        if not len(rows):
            return self._lacks("images to corrupt (max_corrupted=)")
        chosen = self.images.take(rows)
        conditions = self.plan.conditions
        predicted = self.runner.run(
            Corrupted(conditions, self.plan.seed), self.models, chosen.paths
        )
        names = sorted({name for name, _ in conditions})
        levels = sorted({severity for _, severity in conditions})
        found = {}
        for model in self.models:
            slug = model.slug
            table = predicted[slug].astype(np.int64)
            hits = self.truth[slug, "samples"][chosen.label[:, None], table]
            clean = self.right[slug][rows]
            parts = {"clean": float(clean.mean())}
            for name in names:
                columns = [c[0] == name for c in conditions]
                parts[name] = float(hits[:, columns].mean())
            found[slug] = _or_none(
                d.corruption_robustness(
                    clean, hits, chosen.source, self.plan.seed
                ),
                f"{chosen} × {len(names)} corruptions of severity "
                f"{', '.join(map(str, levels))}, made here at 224 pixels",
                parts,
            )
        return found

    def ood(self, everything):
        if not self.plan.ood:
            return self._lacks(
                "variants of these images: pass ood={name: dataset}, such as "
                "sketches, or a field that names them"
            )
        hits: dict = {model.slug: {} for model in self.models}
        for name in self.plan.ood:
            what = ood_name(name)
            decided, images = self._decisions(what, self.plan.ood[name])
            for slug, decision in decided.items():
                hits[slug][name] = decision == images.label
        sizes = {name: len(images) for name, images in self.plan.ood.items()}
        found = {}
        for slug, columns in hits.items():
            estimate, _ = d.ood_robustness(self.right[slug], columns)
            parts = {name: float(np.mean(c)) for name, c in columns.items()}
            said = ", ".join(f"{k} ({len(c):,})" for k, c in columns.items())
            found[slug] = _or_none(
                estimate, said, parts, everything and sizes == _OOD
            )
        return found

    def focus(self, everything):
        if not self.plan.backgrounds:
            return self._lacks(
                "objects before other backgrounds: pass backgrounds="
                "{'mixed_same': dataset, 'mixed_rand': dataset} of the "
                "Backgrounds Challenge"
            )
        hits: dict = {model.slug: {} for model in self.models}
        for name, images in self.plan.backgrounds.items():
            images, _, predicted = _readable(
                images, self.models, self.runner, Predicted()
            )
            for slug, column in predicted.items():
                table = self.truth[slug, background_name(name)]
                best = column[:, 0].astype(np.int64)
                hits[slug][name] = table[images.label, best]
        found = {}
        for slug, columns in hits.items():
            same, other = columns[SAME], columns[RANDOM]
            estimate, parts = d.object_focus(self.right[slug], same, other)
            found[slug] = _or_none(
                estimate,
                f"{len(same):,} {SAME} and {len(other):,} {RANDOM} images",
                parts,
                everything and len(same) == len(other) == _BACKGROUNDS,
            )
        return found

    def shape(self):
        images = self.plan.cue_conflict
        if images is None:
            return self._lacks(
                "images of one class's shape and another's texture: pass "
                "cue_conflict=dataset (Geirhos et al. 2019)"
            )
        n = len(images)
        decided, images = self._decisions("cue_conflict", images)
        conflict = images.label != images.texture
        found = {}
        for slug, decision in decided.items():
            estimate, parts = d.shape_bias(
                (decision == images.label)[conflict],
                (decision == images.texture)[conflict],
            )
            found[slug] = _or_none(
                estimate,
                f"{conflict.sum():,} images whose shape and texture differ",
                parts,
                n == _CUE_CONFLICT,
                "a decision for shape or texture: there was none",
            )
        return found

    def _decisions(self, what, images):
        """Returns decisions among a collection's labels.

        A label's probability is the mean of its classes', as in Geirhos et
        al. 2019; where each has one class, it is the choice among those.
        """
        images, _, logits = _readable(images, self.models, self.runner)
        found = {}
        for slug, table in logits.items():
            classes = self.truth[slug, what].astype(float)
            share = classes / np.maximum(classes.sum(1, keepdims=True), 1)
            found[slug] = (_softmax(table) @ share.T).argmax(axis=1)
        return found, images

    def _rows(self, rows):
        place = self.place[rows]
        return place[place >= 0]

    def _lacks(self, needs):
        return {model.slug: not_measured(needs) for model in self.models}


def _readable(images, models, runner, stage=None):
    """Returns the images that every model saw, their rows, and its vectors."""
    found = runner.run(stage or Clean(), models, images.paths)
    seen = [
        np.isfinite(table).all(axis=1) & bool(table.shape[1])
        for table in found.values()
    ]
    kept = np.flatnonzero(np.logical_and.reduce(seen))
    if not len(kept):
        path, why = next(iter(runner.failures.items()), (images.paths[0], ""))
        raise IQAError(
            f"None of {len(images):,} images gave predictions; of {path}: "
            f"{why or 'no finite logits'}"
        )
    return (
        images.take(kept),
        kept,
        {slug: table[kept] for slug, table in found.items()},
    )


def _of_probabilities(probability, truth, images, right, everything, seed):
    """Returns accuracy, calibration and balance."""
    source, said = images.source, str(images)
    found = {
        "accuracy": Measured(
            d.accuracy(right, source), said, by_protocol=everything
        )
    }
    counts = np.bincount(images.label, minlength=len(images.labels))
    enough = counts >= MIN_PER_CLASS
    rows = enough[images.label]
    if enough.sum() < 2:
        best = probability.max(axis=1)
        ece = d.expected_calibration_error(best, right)
        needs = (
            f"at least {MIN_PER_CLASS} images each of two classes or more; "
            f"here no more than {counts.max():,} are of one class"
            if not enough.any()
            else f"a second class of at least {MIN_PER_CLASS} images"
        )
        found["calibration_error"] = not_measured(needs, {"ECE": ece})
        found["class_balance"] = not_measured(needs)
        return found

    if not rows.all():
        said = (
            f"{rows.sum():,} images of the {enough.sum():,} classes that have "
            f"{MIN_PER_CLASS} or more"
        )
    some = probability[rows], truth, images.label[rows]
    source = None if source is None else source[rows]
    for key, function in (
        ("calibration_error", d.calibration),
        ("class_balance", d.class_balance),
    ):
        estimate, parts = function(*some, source, seed)
        found[key] = Measured(
            estimate, said, parts=parts, by_protocol=everything
        )
    return found


def _parameters(model):
    network = model.network
    if network is None:
        return not_measured("a model that shows its parameters")
    n = sum(p.numel() for p in network.parameters()) / 1e6
    return Measured(d.Estimate(n), "its weights, millions", by_protocol=True)


def _or_none(estimate, said, parts, by_protocol=False, needs=None):
    if estimate.value is None:
        needs = needs or "images that the model gets right: there was none"
        return not_measured(needs, parts)
    return Measured(estimate, said, None, parts, bool(by_protocol))


def _softmax(logits):
    from scipy.special import softmax

    return softmax(np.asarray(logits, np.float64), axis=1)
