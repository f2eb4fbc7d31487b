"""What to measure models on: labelled images, their variants, and settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..corruptions import SEVERITIES, list_corruptions
from ..errors import IQAError
from ..matching import LabelMatcher
from .stages import PROTOCOL_ATTACKS


@dataclass(frozen=True)
class Images:
    """Labelled images.

    Attributes:
        paths: n files
        labels: the L true labels, distinct
        label: ``(n,)`` ints, the place of each image's label among them
        source: ``(n,)`` ids of originals, or None
        texture: ``(n,)`` ints, the label that the texture has, or None
    """

    paths: tuple[str, ...]
    labels: tuple[str, ...]
    label: np.ndarray
    source: np.ndarray | None = None
    texture: np.ndarray | None = None

    def __len__(self):
        return len(self.paths)

    def take(self, rows) -> Images:
        """Returns some of the images."""
        rows = np.asarray(rows)
        paths = np.array(self.paths, object)[rows]
        columns = (self.label, self.source, self.texture)
        label, source, texture = (
            None if column is None else column[rows] for column in columns
        )
        return Images(tuple(paths), self.labels, label, source, texture)

    def drawn(self, n: int | None, seed: int) -> np.ndarray:
        """Returns the rows of n images, as many of each class as possible."""
        if n is None or n >= len(self):
            return np.arange(len(self))
        order = np.random.RandomState(seed).permutation(len(self))
        label = self.label[order]
        by_label = np.argsort(label, kind="stable")
        counts = np.bincount(label)
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        place = np.empty(len(self), np.int64)
        place[by_label] = np.arange(len(self)) - starts
        return np.sort(order[np.argsort(place, kind="stable")[:n]])

    def __str__(self):
        n, k = len(self), len(np.unique(self.label))
        images = "image" if n == 1 else "images"
        return f"{n:,} {images} of {k:,} {'class' if k == 1 else 'classes'}"


@dataclass(frozen=True)
class Plan:
    """What to measure, and on what.

    Attributes:
        images: labelled images as models are meant for them
        ood: variants of them by name
        backgrounds: ``mixed_same`` and ``mixed_rand``, or empty
        cue_conflict: images whose shape and texture say different classes
        attacks: several :class:`fiftyone_iqa.robustness.stages.Attack`
        conditions: several ``(corruption, severity)``
        max_attacked: how many images to attack, None for all
        max_corrupted: how many to corrupt, None for all
        mappings: by ``"samples"`` or dimension, from model's class to label
        seed: of draws, random starts and corruptions
    """

    images: Images
    ood: dict[str, Images] = field(default_factory=dict)
    backgrounds: dict[str, Images] = field(default_factory=dict)
    cue_conflict: Images | None = None
    attacks: tuple = PROTOCOL_ATTACKS
    conditions: tuple = tuple(
        (name, s) for name in list_corruptions() for s in SEVERITIES
    )
    max_attacked: int | None = None
    max_corrupted: int | None = None
    mappings: Mapping = field(default_factory=dict)
    seed: int = 51

    def collections(self):
        """Yields ``(what, kind, Images)`` of every collection."""
        yield "samples", "samples", self.images
        for name, images in self.ood.items():
            yield ood_name(name), "ood_robustness", images
        for name, images in self.backgrounds.items():
            yield background_name(name), "object_focus", images
        if self.cue_conflict is not None:
            yield "cue_conflict", "shape_bias", self.cue_conflict

    @property
    def n_passes(self) -> int:
        """How many images each model sees."""
        n = sum(len(images) for _, _, images in self.collections())
        n += len(self.attacked_rows)
        return n + len(self.corrupted_rows)

    @property
    def attacked_rows(self) -> np.ndarray:
        """Which images are attacked."""
        return self.images.drawn(self.max_attacked, self.seed)

    @property
    def corrupted_rows(self) -> np.ndarray:
        """Which images are corrupted."""
        return self.images.drawn(self.max_corrupted, self.seed + 1)


def ood_name(name: str) -> str:
    """Returns what messages call a variant."""
    return f"OOD variant {name!r}"


def background_name(name: str) -> str:
    """Returns what messages call a collection of other backgrounds."""
    return f"backgrounds {name!r}"


def true_classes(plan: Plan, models) -> dict:
    """Finds the classes that are right for the labels of every collection.

    Returns:
        ``{(slug, what): (L, K) bools}``

    Raises:
        IQAError: if a label is none of a model's classes
    """
    found = {}
    for what, kind, images in plan.collections():
        matcher = LabelMatcher([], images.labels, plan.mappings.get(kind))
        for model in models:
            table = matcher.true_classes(model.classes, images.labels)
            used = np.zeros(len(images.labels), bool)
            used[images.label] = True
            lost = np.flatnonzero(used & ~table.any(axis=1))
            if len(lost):
                example = images.labels[lost[0]]
                raise IQAError(
                    f"{len(lost):,} of {used.sum():,} true labels of {what}, "
                    f"such as {example!r}, are none of the classes of "
                    f"{model.slug!r} (such as {model.classes[0]!r}): leave "
                    f"those images out, or pass mappings={{{kind!r}: "
                    "{class: label, …}}"
                )
            found[model.slug, what] = table
    return found
