"""ImageNet's 1,000 classes: synset ids, names, and what else they are called.

Sources, all of which other packages ship: the order and the synset ids are
timm's (``ImageNetInfo``), as are WordNet's lemmas; the names are torchvision's
categories (``weights.meta["categories"]``), which are WordNet's first lemmas
but for "crane bird" and "maillot tank suit"; OpenAI's curated names, which the
zero-shot prompts use, are open_clip's.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache

N_CLASSES = 1000


@cache
def imagenet_synsets() -> tuple[str, ...]:
    """Returns the 1,000 synset ids, ``"n01440764"`` first (timm's list)."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo("imagenet-1k").label_names())


@cache
def imagenet_names() -> tuple[str, ...]:
    """Returns 1,000 distinct names in the synsets' order (torchvision's).

    The labels of every ImageNet task model, whatever library it is from.
    Two of them differ only in case: "Cardigan", a dog, and "cardigan".
    """
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


@cache
def imagenet_aliases() -> dict[str, int]:
    """Returns the class index of everything an ImageNet class is called.

    The aliases of a class are its synset id ("n01440764"), its names in
    :func:`imagenet_names` and in OpenAI's curated list ("tench"), each of its
    WordNet lemmas ("Tinca tinca") and all of them ("tench, Tinca tinca"); in
    lower case, with spaces for underscores. A name of :func:`imagenet_names`
    goes to its class even where it is a lemma of another one ("harp", also a
    mouth organ); otherwise what names two classes ("cardigan") is left out.

    Returns:
        dict of alias to class index, 0...999; do not change it
    """
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
    from timm.data import ImageNetInfo

    names, lemmas = defaultdict(set), defaultdict(set)
    for index, name in enumerate(imagenet_names()):
        names[_normalised(name)].add(index)
    columns = (
        imagenet_synsets(),
        IMAGENET_CLASSNAMES,
        ImageNetInfo("imagenet-1k").label_descriptions(),
    )
    for index, row in enumerate(zip(*columns)):
        for alias in (*row, *row[-1].split(",")):
            lemmas[_normalised(alias)].add(index)
    return {
        alias: min(indices)
        for alias, indices in {**lemmas, **names}.items()
        if len(indices) == 1
    }


def _normalised(name):
    return " ".join(name.replace("_", " ").lower().split())
