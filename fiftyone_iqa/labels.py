"""Label sets: which classes an image is asked to be one of.

Names are what an image-text encoder reads: ImageNet synset ids and
underscores become words ("n02123045" and "tabby_cat" are both readable after
this). Pure functions, except :func:`label_set_of`, which reads a collection.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from .errors import IQAError

_SYNSET = re.compile(r"n\d{8}$")
_SYNSET_AND_NAME = re.compile(r"n\d{8}[_\s-]+(?=\S)")


@dataclass(frozen=True)
class LabelSet:
    """The classes of a zero-shot classification.

    Attributes:
        names: readable names, distinct, in the order given
        source: where they came from, e.g. ``"ground_truth"``
    """

    names: tuple[str, ...]
    source: str

    @property
    def hash(self) -> str:
        """12 hexadecimal digits; independent of the order of the names."""
        text = "\n".join(sorted(self.names))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __len__(self):
        return len(self.names)


def make_label_set(labels: Iterable[str], source: str) -> LabelSet:
    """Makes a label set out of class labels.

    Args:
        labels: at least two distinct class labels
        source: where they come from, for messages and provenance

    Returns:
        a :class:`LabelSet` of readable names

    Raises:
        IQAError: if there are fewer than two labels, a label is not a
            non-empty string, or two labels read the same
    """
    if isinstance(labels, str):
        raise IQAError(
            f"Classes from {source} must be a list of names, not the single "
            f"string {labels!r}"
        )

    labels = list(labels)
    if len(labels) < 2:
        found = f"only {labels[0]!r}" if labels else "none"
        raise IQAError(
            f"A label set needs at least two classes; {source} has {found}. "
            "Pass classes=[...] with the names of your task's classes"
        )

    for label in labels:
        if not isinstance(label, str) or not label.strip():
            raise IQAError(
                f"Classes must be non-empty strings; {source} has {label!r}"
            )

    names = readable_names(labels)
    repeated = [name for name, n in Counter(names).items() if n > 1]
    if repeated:
        name = repeated[0]
        same = [raw for raw, read in zip(labels, names) if read == name]
        raise IQAError(
            f"Classes must be distinct; {source} has {len(repeated)} "
            f"repeated, e.g. {', '.join(map(repr, same))} all read {name!r}"
        )

    return LabelSet(tuple(names), source)


def readable_names(labels) -> list[str]:
    """Turns class labels into words a text encoder can read.

    Synset ids become ImageNet names (OpenAI's curated names for the 1,000
    classes, WordNet's first lemma otherwise; the whole lemma where two ids
    would read the same), ``n01440764_tench`` becomes ``tench``, underscores
    become spaces.

    Args:
        labels: list of strings

    Returns:
        list of strings, in the same order
    """
    labels = [label.strip() for label in labels]
    names = [_readable(label) for label in labels]
    counts = Counter(names)
    lemmas = _synset_lemmas() if any(map(_SYNSET.match, labels)) else {}
    return [
        lemmas[label] if counts[name] > 1 and label in lemmas else name
        for label, name in zip(labels, names)
    ]


def _readable(label):
    if _SYNSET.match(label):
        name = _synset_names().get(label)
        if name is None:
            raise IQAError(
                f"{label!r} looks like a WordNet synset id but is not one of "
                "ImageNet's; pass classes=[...] with readable names"
            )
        return name

    label = _SYNSET_AND_NAME.sub("", label)
    return re.sub(r"[_\s]+", " ", label).strip() or label


@cache
def _synset_lemmas() -> dict[str, str]:
    """WordNet lemmas by synset id, of ImageNet's 21,843 classes (timm)."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-21k-goog")
    return info.label_descriptions(as_dict=True)


@cache
def _synset_names() -> dict[str, str]:
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
    from timm.data import ImageNetInfo

    names = {
        synset: lemma.split(",")[0]
        for synset, lemma in _synset_lemmas().items()
    }
    synsets = ImageNetInfo("imagenet-1k").label_names()
    names.update(zip(synsets, IMAGENET_CLASSNAMES))
    return names


def label_set_of(dataset, classes=None) -> LabelSet:
    """Finds the label set of a dataset.

    Args:
        dataset: the root ``fiftyone.core.dataset.Dataset``, so that views
            and shards of it agree
        classes (None): a list of names, or the name of a label field, or
            None: the dataset's ``default_classes``, else its only entry in
            ``classes``, else the labels of its only classification field

    Returns:
        a :class:`LabelSet`

    Raises:
        IQAError: if there is no such field, it holds no labels, or None
            leaves more than one choice
    """
    if classes is None:
        if dataset.default_classes:
            return make_label_set(
                dataset.default_classes, "dataset.default_classes"
            )
        classes = _only_label_source(dataset)

    if not isinstance(classes, str):
        return make_label_set(classes, "classes=")

    return make_label_set(_labels_of_field(dataset, classes), f"{classes!r}")


def classification_fields(dataset) -> list[str]:
    """Returns the names of a dataset's single-label classification fields."""
    import fiftyone as fo

    schema = dataset.get_field_schema(
        ftype=fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification
    )
    return list(schema)


def _only_label_source(dataset):
    choices = [name for name, names in dataset.classes.items() if names]
    if len(choices) != 1:
        choices = choices or classification_fields(dataset)
    if len(choices) == 1:
        return choices[0]

    if not choices:
        raise IQAError(
            f"Dataset {dataset.name!r} has no label set: it has neither "
            "default_classes nor a classification field. Pass classes= the "
            "name of a label field, or a list of your task's class names"
        )

    raise IQAError(
        "Which label set? Pass classes= one of the fields "
        f"{', '.join(map(repr, sorted(choices)))} or a list of names"
    )


def _labels_of_field(dataset, field):
    if dataset.classes.get(field):
        return dataset.classes[field]

    if not dataset.has_field(field):
        fields = classification_fields(dataset)
        raise IQAError(
            f"Dataset {dataset.name!r} has no field {field!r} to take classes "
            f"from; its classification fields are {fields}. A list of names "
            "works too"
        )

    path = _label_path(dataset, field)
    labels = [label for label in dataset.distinct(path) if label]
    if not labels:
        raise IQAError(f"Field {field!r} holds no labels to use as classes")
    return labels


def _label_path(dataset, field):
    import fiftyone as fo

    field_type = dataset.get_field(field)
    if isinstance(field_type, fo.StringField):
        return field

    doc_type = getattr(field_type, "document_type", None)
    if doc_type is None or not issubclass(doc_type, fo.Label):
        raise IQAError(
            f"Field {field!r} is no label field; pass a classification "
            "field, or classes=[...] with names"
        )

    root = getattr(doc_type, "_LABEL_LIST_FIELD", None)
    return f"{field}.{root}.label" if root else f"{field}.label"
