"""The open_clip path with a small architecture at random, seeded weights."""

import json

import numpy as np
import pytest

from fiftyone_iqa.encoders import EncoderUnavailableError, get_encoder
from fiftyone_iqa.errors import IQAError

open_clip = pytest.importorskip("open_clip")
torch = pytest.importorskip("torch")


@pytest.fixture
def tiny(tiny_clip):
    """The path of seeded weights."""
    return tiny_clip / "0.pt"


@pytest.fixture(scope="module")
def encoder(encoder_names):
    return get_encoder(encoder_names[0], device="cpu")


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    sizes = [(64, 64), (90, 130), (200, 71), (65, 64), (33, 40)]
    return [rng.integers(0, 256, (*s, 3), dtype=np.uint8) for s in sizes]


def test_preprocessing_equals_open_clips_own(tiny, encoder, images):
    from PIL import Image

    model, _, transform = open_clip.create_model_and_transforms(
        "iqa-tiny", pretrained=str(tiny)
    )
    ours = encoder.encode_images(
        np.stack([encoder.preprocess(image).numpy() for image in images])
    )
    with torch.inference_mode():
        batch = torch.stack([transform(Image.fromarray(i)) for i in images])
        theirs = model.eval().encode_image(batch, normalize=True).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_preprocess_returns_uint8_chw(encoder, images):
    prepared = encoder.preprocess(images[1])
    assert prepared.dtype == torch.uint8
    assert tuple(prepared.shape) == (3, 64, 64)


def test_texts_equal_open_clips_own(tiny, encoder):
    texts = [f"a photo of a {name}." for name in ("cat", "dog", "red car")]
    model = open_clip.create_model("iqa-tiny", pretrained=str(tiny))
    tokenizer = open_clip.get_tokenizer("iqa-tiny")
    with torch.inference_mode():
        theirs = model.eval().encode_text(tokenizer(texts), normalize=True)
    ours = encoder.encode_texts(texts)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-6)


def test_embeddings_do_not_depend_on_the_batch(encoder, images):
    batch = np.stack([encoder.preprocessing(image) for image in images])
    together = encoder.encode_images(batch)
    alone = np.concatenate([encoder.encode_images(b[None]) for b in batch])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_scale_is_the_models_own(encoder):
    assert encoder.logit_scale == pytest.approx(1 / 0.07, rel=1e-5)


def test_id_changes_with_the_weights_and_only_with_them(
    encoder, encoder_names
):
    again, changed = (get_encoder(n, device="cpu") for n in encoder_names)
    assert again.id == encoder.id
    digests = [e.id.rpartition("@")[2] for e in (encoder, changed)]
    assert digests[0] != digests[1]


def test_bf16_is_close_and_runs_in_bf16(tiny, encoder, images):
    half = get_encoder(f"iqa-tiny/{tiny}", device="cpu", precision="bf16")
    batch = np.stack([encoder.preprocessing(image) for image in images])
    full, reduced = encoder.encode_images(batch), half.encode_images(batch)
    assert reduced.dtype == np.float32
    cosines = (full * reduced).sum(axis=1)
    assert cosines.min() > 0.999
    assert np.abs(full - reduced).max() > 1e-6


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="NOT RUN: no CUDA device"
)
def test_cuda_equals_cpu(tiny, encoder, images):
    cuda = get_encoder(f"iqa-tiny/{tiny}", device="cuda")
    batch = np.stack([encoder.preprocessing(image) for image in images])
    np.testing.assert_allclose(
        cuda.encode_images(batch), encoder.encode_images(batch), atol=1e-4
    )


def test_folder_with_a_config_is_a_checkpoint(tiny, tmp_path, images):
    (tmp_path / "open_clip_config.json").write_text(
        json.dumps(
            {
                "model_cfg": json.loads(
                    tiny.with_name("iqa-tiny.json").read_text()
                ),
                "preprocess_cfg": {
                    "mean": [0.5, 0.5, 0.5],
                    "std": [0.5, 0.5, 0.5],
                    "resize_mode": "squash",
                    "interpolation": "bicubic",
                },
            }
        )
    )
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(tiny.read_bytes())
    encoder = get_encoder(str(tmp_path), device="cpu")
    assert str(encoder.preprocessing) == "squash 64 bicubic"
    _, _, transform = open_clip.create_model_and_transforms(
        f"local-dir:{tmp_path}"
    )
    from PIL import Image

    theirs = transform(Image.fromarray(images[1])).numpy()
    ours = encoder.preprocess(images[1]).numpy() / 255 * 2 - 1
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_pickled_code_in_weights_is_not_run(tmp_path, tiny):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(EncoderUnavailableError):
        get_encoder(f"iqa-tiny/{tmp_path / 'evil.pt'}", device="cpu")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("no-such-model", IQAError, "Unknown encoder"),
        ("ViT-B-32/no-such-tag", IQAError, "laion2b_s34b_b79k"),
        ("ViT-B-32/openai", EncoderUnavailableError, "encoder='lite'"),
        ("hf-hub:nobody/nothing", EncoderUnavailableError, "no hub"),
        ("zoo:no-such-model", IQAError, "list_zoo_models"),
        (3, IQAError, "no image-text encoder"),
    ],
)
def test_what_cannot_be_had_says_what_to_do(name, error, says):
    with pytest.raises(error, match=says):
        get_encoder(name, device="cpu")


def test_a_bare_checkpoint_asks_for_its_architecture(tiny):
    with pytest.raises(IQAError, match="Which architecture"):
        get_encoder(str(tiny), device="cpu")


def test_unknown_device_and_precision():
    with pytest.raises(IQAError, match="cannot be used here"):
        get_encoder("lite", device="cuda:77")
    with pytest.raises(IQAError, match="precision must be one of"):
        get_encoder("lite", device="cpu", precision="int4")


def test_cached_openai_weights_load_with_quick_gelu(tmp_path, monkeypatch):
    """A tag's weights, already in the hub's cache, need no hub.

    Loads ViT-B-32's real class at random weights from a fake cache entry.
    """
    from fiftyone_iqa.encoders import open_clip as module

    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32", force_quick_gelu=True)
    path = tmp_path / "open_clip_pytorch_model.bin"
    torch.save(model.state_dict(), path)
    monkeypatch.setattr(module, "cached_weights", lambda *_: str(path))
    encoder = get_encoder("ViT-B-32", device="cpu")
    assert encoder.name == "ViT-B-32/openai"
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 224, 224), "u1")
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)
    std = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)
    with torch.inference_mode():
        theirs = model.eval().encode_image(
            (torch.tensor(image) / 255 - mean) / std, normalize=True
        )
    np.testing.assert_allclose(
        encoder.encode_images(image), theirs.numpy(), atol=1e-5
    )


def test_a_convolutional_tower_equals_open_clips_own(
    tiny_clip, images, tmp_path
):
    """It is laid out channels-last."""
    config = json.loads((tiny_clip / "iqa-tiny.json").read_text())
    config["vision_cfg"] = {"image_size": 64, "layers": [1, 1, 1, 1]}
    config["vision_cfg"] |= {"width": 16, "patch_size": None}
    (tmp_path / "iqa-tiny-rn.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path)
    torch.manual_seed(51)
    model = open_clip.create_model("iqa-tiny-rn").eval()
    torch.save(model.state_dict(), tmp_path / "0.pt")

    encoder = get_encoder(f"iqa-tiny-rn/{tmp_path}/0.pt", device="cpu")
    batch = np.stack([encoder.preprocess(i).numpy() for i in images])
    pixels = (torch.from_numpy(batch).float() - encoder._mean) / encoder._std
    with torch.inference_mode():
        theirs = model.encode_image(pixels, normalize=True).numpy()
    np.testing.assert_allclose(encoder.encode_images(batch), theirs, atol=1e-5)
