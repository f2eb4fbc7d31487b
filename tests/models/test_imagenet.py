"""ImageNet's classes against the lists of the libraries that ship them."""

import timm.data
import torchvision

from fiftyone_iqa.labels import readable_names
from fiftyone_iqa.models.imagenet import (
    imagenet_aliases,
    imagenet_names,
    imagenet_synsets,
)

LEMMAS = timm.data.ImageNetInfo("imagenet-1k").label_descriptions()


def test_synsets_and_names_are_in_one_order():
    synsets, names = imagenet_synsets(), imagenet_names()
    assert len(set(synsets)) == len(set(names)) == 1000
    assert list(synsets) == sorted(synsets)
    assert (synsets[0], names[0]) == ("n01440764", "tench")
    # Two lists of different origin: torchvision's and WordNet's
    renamed = [
        (name, lemmas)
        for name, lemmas in zip(names, LEMMAS)
        if name not in lemmas.split(", ")
    ]
    assert renamed == [
        ("crane bird", "crane"),
        ("maillot tank suit", "maillot, tank suit"),
    ]


def test_names_are_those_of_all_of_torchvisions_classifiers():
    for name in ("resnet34", "swin_b", "vit_l_16", "squeezenet1_1"):
        weights = torchvision.models.get_model_weights(name).DEFAULT
        assert tuple(weights.meta["categories"]) == imagenet_names()


def test_everything_a_class_is_called_leads_to_it():
    aliases = imagenet_aliases()
    for alias in ("n01440764", "tench", "tinca tinca", "tench, tinca tinca"):
        assert aliases[alias] == 0
    # OpenAI's name of it, torchvision's is "cock"
    assert aliases["rooster"] == aliases["cock"] == 7
    assert all(a == " ".join(a.lower().split()) for a in aliases)


def test_every_synset_and_nearly_every_name_is_an_alias():
    aliases = imagenet_aliases()
    assert [aliases[s] for s in imagenet_synsets()] == list(range(1000))
    lost = {
        name
        for index, name in enumerate(imagenet_names())
        if aliases.get(name.lower()) != index
    }
    assert lost == {"Cardigan", "cardigan"}


def test_a_prompts_names_are_aliases_too():
    aliases = imagenet_aliases()
    names = readable_names(imagenet_synsets())
    wrong = [
        (name, index)
        for index, name in enumerate(names)
        if aliases.get(name.lower(), index) != index
    ]
    assert wrong == []


def test_what_names_two_classes_is_no_alias():
    aliases = imagenet_aliases()
    assert "cardigan" not in aliases
    # A lemma of two classes and the name of one
    assert aliases["crane"] == imagenet_names().index("crane")
    assert aliases["crane bird"] == 134
