"""Whether a predicted label and a true one name the same class.

"n01440764", "tench" and "tench, Tinca tinca" do. Labels are compared without
case, with underscores as spaces; where the true labels are ImageNet's, any of
a class's names and its synset id stand for the class; a mapping settles what
remains. Pure functions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

from .errors import IQAError

# Below this, it is the vocabularies that differ, not the model that errs
_MIN_MATCHABLE = 0.05
# Above this share of the true labels, they are taken to be ImageNet's
_IMAGENET_SHARE = 0.5


class LabelMatcher:
    """Compares predicted with true labels of one dataset.

    Args:
        predictions: the predicted labels, None where there is none
        truths: the true labels, None where there is none
        mapping (None): from predicted label to true label, for those that
            differ by more than their writing

    Raises:
        IQAError: if under 5 % of the predictions could match any true label
    """

    def __init__(
        self,
        predictions: Iterable[str | None],
        truths: Iterable[str | None],
        mapping: Mapping[str, str] | None = None,
    ):
        self._mapping = dict(mapping or {})
        predicted = [p for p in predictions if p is not None]
        true = {t for t in truths if t is not None}
        self._aliases = _imagenet_aliases_for(true)

        known = {self._canonical(label) for label in true}
        canonical = {p: self._predicted(p) for p in set(predicted)}
        matchable = sum(canonical[p] in known for p in predicted)
        if predicted and true and matchable < _MIN_MATCHABLE * len(predicted):
            raise IQAError(
                f"Only {matchable:,} of {len(predicted):,} predictions name "
                "a class of the ground truth: predictions are like "
                f"{_examples(predicted)}, true labels like "
                f"{_examples(true)}. Pass mapping={{predicted: true, …}}"
            )

    def match(self, prediction: str | None, truth: str | None) -> bool | None:
        """Returns whether two labels name one class; None if one is None."""
        if prediction is None or truth is None:
            return None
        return self._predicted(prediction) == self._canonical(truth)

    def true_classes(self, classes, labels) -> np.ndarray:
        """Returns which of a model's classes are right for each label.

        Args:
            classes: the model's K classes
            labels: L true labels

        Returns:
            ``(L, K)`` bools; a row is empty where no class names its label
        """
        columns = defaultdict(list)
        for i, name in enumerate(classes):
            columns[self._predicted(name)].append(i)
        found = np.zeros((len(labels), len(classes)), bool)
        for row, label in zip(found, labels):
            row[columns.get(self._canonical(label), [])] = True
        return found

    def _predicted(self, label):
        return self._canonical(self._mapping.get(label, label))

    def _canonical(self, label):
        # ImageNet has a Cardigan, the dog, and a cardigan
        if label in self._aliases:
            return self._aliases[label]
        name = normalised(label)
        return self._aliases.get(name, name)


def normalised(label: str) -> str:
    """Returns a label without case, underscores and double spaces."""
    return " ".join(label.replace("_", " ").lower().split())


def _imagenet_aliases_for(labels) -> dict:
    if not labels:
        return {}

    from .models.imagenet import imagenet_aliases, imagenet_names

    aliases = imagenet_aliases()
    known = sum(normalised(label) in aliases for label in labels)
    if known < _IMAGENET_SHARE * len(labels):
        return {}
    exact = {name: index for index, name in enumerate(imagenet_names())}
    return {**aliases, **exact}


def _examples(labels):
    return ", ".join(map(repr, sorted(set(labels))[:3]))
