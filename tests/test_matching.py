import pytest

from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.matching import LabelMatcher, normalised

IMAGENET = ["n01440764", "n02123045", "n02102040"]


def test_writing_does_not_matter():
    assert normalised("  Red_Fox ") == "red fox"
    matcher = LabelMatcher(["Red_Fox"], ["red fox", "owl"])
    assert matcher.match("Red_Fox", "red fox") is True
    assert matcher.match("owl", "red fox") is False


@pytest.mark.parametrize(
    "prediction", ["n01440764", "tench", "tench, Tinca tinca", "Tinca_tinca"]
)
@pytest.mark.parametrize("truth", ["n01440764", "tench", "tench, Tinca tinca"])
def test_imagenet_names_and_synsets_are_one(prediction, truth):
    matcher = LabelMatcher([prediction], [truth, *IMAGENET])
    assert matcher.match(prediction, truth) is True
    assert matcher.match("tabby cat", truth) is False


def test_other_vocabularies_are_left_alone():
    """In a dataset of birds a crane is a crane."""
    truths = ["crane", "heron", "wren", "blackcap", "dunnock"]
    matcher = LabelMatcher(["crane"], truths)
    assert matcher.match("crane", "crane") is True
    assert matcher.match("n02012849", "crane") is False


def test_a_mapping_settles_the_rest():
    matcher = LabelMatcher(
        ["automobile"], ["car", "dog"], {"automobile": "car"}
    )
    assert matcher.match("automobile", "car") is True


def test_a_missing_label_is_neither_right_nor_wrong():
    matcher = LabelMatcher(["a", None], ["a", "b"])
    assert matcher.match(None, "a") is None
    assert matcher.match("a", None) is None


def test_vocabularies_that_do_not_meet_are_an_error():
    with pytest.raises(IQAError, match=r"Only 1 of 40 .*mapping="):
        LabelMatcher(["x"] * 39 + ["car"], ["car", "dog"])
    # A bad model on the right vocabulary is none
    LabelMatcher(["dog"] * 40, ["car", "dog"])


def test_case_tells_the_dog_from_the_garment():
    matcher = LabelMatcher(["Cardigan"], ["n02113186", "n02963159"])
    assert matcher.match("Cardigan", "n02113186") is True
    assert matcher.match("cardigan", "n02113186") is False
    assert matcher.match("cardigan", "n02963159") is True
