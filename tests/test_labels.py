import pytest

from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.labels import label_set_of, make_label_set, readable_names


def test_names_become_words():
    assert readable_names(["tabby_cat", " red  fox ", "n01440764_tench"]) == [
        "tabby cat",
        "red fox",
        "tench",
    ]


def test_synsets_become_names():
    # 1,000-class names are OpenAI's; the last is only in ImageNet-21k
    assert readable_names(
        ["n01440764", "n02123045", "n03773504", "n00007846"]
    ) == ["tench", "tabby cat", "missile", "person"]


def test_synsets_that_read_the_same_keep_their_lemmas():
    names = readable_names(["n03773504", "n04008634"])
    assert names == ["missile", "projectile, missile"]


def test_all_thousand_imagenet_synsets_are_distinct():
    from timm.data import ImageNetInfo

    synsets = ImageNetInfo("imagenet-1k").label_names()
    assert len(set(make_label_set(synsets, "x").names)) == 1000


def test_unknown_synset():
    with pytest.raises(IQAError, match="n99999999"):
        readable_names(["n99999999"])


def test_hash_ignores_order_and_knows_content():
    a = make_label_set(["cat", "dog"], "x")
    assert a.hash == make_label_set(["dog", "cat"], "y").hash
    assert a.hash != make_label_set(["dog", "cats"], "y").hash


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([], "at least two"),
        (["cat"], "only 'cat'"),
        (["cat", "dog", "cat"], "distinct"),
        (["red_fox", "red fox"], "both|all read 'red fox'"),
        (["cat", ""], "non-empty"),
        (["cat", None], "non-empty"),
        ("cat", "list of names"),
    ],
)
def test_unusable_label_sets(labels, says):
    with pytest.raises(IQAError, match=says):
        make_label_set(labels, "classes=")


def test_label_set_of_a_dataset(make_dataset):
    dataset = make_dataset(4, labels=["dog", "cat"])
    assert label_set_of(dataset).names == ("cat", "dog")
    assert label_set_of(dataset, "ground_truth").source == "'ground_truth'"

    dataset.classes = {"ground_truth": ["cat", "dog", "owl"]}
    assert len(label_set_of(dataset)) == 3
    dataset.default_classes = ["ant", "bee"]
    assert label_set_of(dataset).names == ("ant", "bee")
    assert label_set_of(dataset, ["x", "y"]).names == ("x", "y")


def test_no_or_several_label_sources(make_dataset):
    dataset = make_dataset(2)
    with pytest.raises(IQAError, match="no label set"):
        label_set_of(dataset)

    dataset = make_dataset(2, labels=["cat", "dog"])
    dataset.clone_sample_field("ground_truth", "other")
    with pytest.raises(IQAError, match="'ground_truth', 'other'"):
        label_set_of(dataset)


def test_wrong_fields(make_dataset):
    dataset = make_dataset(2, labels=["cat", "dog"])
    with pytest.raises(IQAError, match=r"\['ground_truth'\]"):
        label_set_of(dataset, "groundtruth")
    with pytest.raises(IQAError, match="no label field"):
        label_set_of(dataset, "metadata")


def test_detection_labels_and_strings(make_dataset):
    import fiftyone as fo

    dataset = make_dataset(2)
    for sample, label in zip(dataset, ("car", "bus")):
        sample["boxes"] = fo.Detections(
            detections=[fo.Detection(label=label, bounding_box=[0, 0, 1, 1])]
        )
        sample["kind"] = label
        sample.save()
    assert label_set_of(dataset, "boxes").names == ("bus", "car")
    assert label_set_of(dataset, "kind").names == ("bus", "car")
