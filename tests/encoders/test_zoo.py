"""FiftyOne's own CLIP class as an encoder, at random weights."""

import numpy as np
import pytest

from fiftyone_iqa.encoders import get_encoder
from fiftyone_iqa.errors import IQAError

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def zoo_model(tiny_clip):
    import fiftyone.utils.open_clip as fouo

    return fouo.TorchOpenClipModel(
        fouo.TorchOpenClipModelConfig(
            {
                "clip_model": "iqa-tiny",
                "pretrained": str(tiny_clip / "0.pt"),
                "text_prompt": "",
                "classes": ["image"],
                "embeddings_layer": "visual",
                "output_processor_cls": (
                    "fiftyone.utils.torch.ClassifierOutputProcessor"
                ),
            }
        )
    )


def test_embeds_as_the_model_does(zoo_model):
    encoder = get_encoder(zoo_model)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 70, 90, 3), dtype=np.uint8)
    batch = np.stack([encoder.preprocessing(image) for image in images])
    ours = encoder.encode_images(batch)

    theirs = zoo_model.embed_all(list(images))
    theirs = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert zoo_model.preprocess, "the model's own setting is restored"


def test_texts_are_unit_rows_and_the_scale_is_the_models(zoo_model):
    encoder = get_encoder(zoo_model)
    rows = encoder.encode_texts(["a photo of a cat.", "a photo of a dog."])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert encoder.logit_scale == pytest.approx(1 / 0.07, rel=1e-5)
    assert encoder.id == get_encoder(zoo_model).id
    assert "0x" not in str(encoder.preprocessing)


def test_a_model_without_prompts_is_refused():
    import fiftyone.core.models as fom

    class Plain(fom.Model):
        pass

    with pytest.raises(IQAError, match="cannot embed prompts"):
        get_encoder(Plain.__new__(Plain))
