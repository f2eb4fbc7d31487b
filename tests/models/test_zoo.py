"""FiftyOne's own classes as task models, at random weights."""

import numpy as np
import pytest
import torch

from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.models import ModelUnavailableError, get_task_model

CLASSES = [f"class {i}" for i in range(10)]


def make_zoo_model(classifies=True, **changes):
    import fiftyone.utils.torch as fout

    torch.manual_seed(0)
    config = {
        "entrypoint_fcn": "torchvision.models.shufflenet_v2_x0_5",
        "entrypoint_args": {"num_classes": 10},
        "classes": CLASSES,
        "image_size": [96, 96],
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "device": "cpu",
    }
    if classifies:
        config["output_processor_cls"] = (
            "fiftyone.utils.torch.ClassifierOutputProcessor"
        )
    return fout.TorchImageModel(
        fout.TorchImageModelConfig({**config, **changes})
    )


def test_logits_are_the_models_own(images):
    zoo_model = make_zoo_model()
    model = get_task_model(zoo_model)
    assert model.slug == "torchimagemodel"
    assert model.classes == tuple(CLASSES)
    assert "0x" not in str(model.preprocessing)
    logits = model.logits(
        np.stack([model.preprocessing(image) for image in images])
    )
    assert logits.dtype == np.float32
    assert zoo_model.preprocess and not zoo_model.store_logits

    zoo_model.store_logits = True
    with torch.inference_mode():
        labels = zoo_model.predict_all(images)
    expected = np.stack([label.logits for label in labels])
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert [model.classes[row.argmax()] for row in logits] == [
        label.label for label in labels
    ]


def test_id_and_labels_of_ones_own():
    ids = {get_task_model(make_zoo_model()).id for _ in range(2)}
    assert len(ids) == 1
    model = get_task_model(make_zoo_model(), classes=[*"abcdefghij"])
    assert model.classes == tuple("abcdefghij")
    short = get_task_model(make_zoo_model(), classes=["a", "b"])
    with pytest.raises(IQAError, match="10 logits for 2 classes"):
        short.logits(np.zeros((1, 3, 96, 96), np.float32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classifies": False}, "gives no logits"),
        ({"confidence_thresh": 0.5}, "leaves out some predictions"),
        ({"filter_classes": ["class 1"]}, "leaves out some predictions"),
    ],
)
def test_models_that_do_not_classify_everything(changes, message):
    with pytest.raises(IQAError, match=message) as raised:
        get_task_model(make_zoo_model(**changes))
    assert "\n" not in str(raised.value)


def test_a_detector_is_refused():
    processor = "fiftyone.utils.torch.DetectorOutputProcessor"
    detector = make_zoo_model(output_processor_cls=processor)
    with pytest.raises(IQAError, match="gives no logits"):
        get_task_model(detector)


def test_preprocessing_is_the_models_own():
    from fiftyone_iqa.preprocessing import ResizeCrop

    with pytest.raises(IQAError, match="prepares images itself"):
        get_task_model(make_zoo_model(), transform=ResizeCrop(64, 64))


def test_a_transformers_classifier(tmp_path, images):
    transformers = pytest.importorskip("transformers")
    import fiftyone.utils.transformers as fout

    torch.manual_seed(0)
    transformers.ViTForImageClassification(
        transformers.ViTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=32,
            num_labels=3,
        )
    ).save_pretrained(tmp_path)
    transformers.ViTImageProcessor(
        size={"height": 32, "width": 32}
    ).save_pretrained(tmp_path)
    kind = "FiftyOneTransformerForImageClassification"
    config = getattr(fout, f"{kind}Config")(
        {"name_or_path": str(tmp_path), "device": "cpu"}
    )
    zoo_model = getattr(fout, kind)(config)
    model = get_task_model(zoo_model)
    batch = np.stack([model.preprocessing(image) for image in images])
    assert batch.shape == (5, 3, 32, 32)
    logits = model.logits(batch)

    zoo_model.store_logits = True
    with torch.inference_mode():
        labels = zoo_model.predict_all(images)
    expected = np.stack([label.logits for label in labels])
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_unknown_names():
    with pytest.raises(IQAError, match="did you mean resnet50-imagenet"):
        get_task_model("zoo:resnet50-imagenet")


def test_missing_weights_say_where_and_how(torch_home):
    with pytest.raises(ModelUnavailableError) as raised:
        get_task_model("zoo:resnet18-imagenet-torch")
    assert "resnet18-5c106cde.pth does not exist" in str(raised.value)
    assert "https://download.pytorch.org/models/" in str(raised.value)
    with pytest.raises(ModelUnavailableError, match="swinv2-tiny.*no hub"):
        get_task_model("zoo:swin-v2-tiny-torch")
