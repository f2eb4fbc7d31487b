"""Data and models of ``confusion_paper.py``."""

from __future__ import annotations

import gzip

import numpy as np

from fiftyone_iqa.preprocessing import ResizeCrop

CLASSES = (
    *("T-shirt", "trousers", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
SIDE = 20


def read(folder, part):
    """Returns ``(n, 28, 28)`` uint8 images and ``(n,)`` labels."""
    arrays = []
    for kind, offset in (("images-idx3", 16), ("labels-idx1", 8)):
        path = folder / f"{part}-{kind}-ubyte.gz"
        with gzip.open(path) as file:
            data = file.read()
        arrays.append(np.frombuffer(data, np.uint8, offset=offset))
    return arrays[0].reshape(-1, 28, 28), arrays[1].astype(np.int64)


def other_models(images, labels, train, test):
    """Yields models trained otherwise, on other images.

    Args:
        images: ``(n, 28, 28)`` uint8
        labels: ``(n,)`` ints
        train: rows to train on
        test: rows to judge

    Yields:
        name, and ``(m,)`` bools: whether each of ``test`` is right
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def linear():
        return make_pipeline(
            StandardScaler(), LogisticRegression(C=0.01, max_iter=500)
        )

    pixels = images.reshape(len(images), -1) / 255
    used = np.concatenate([train, test])
    lite = np.zeros((len(images), 1280), np.float32)
    lite[used] = lite_features(images[used])
    for name, model, x in (
        (
            "random forest on pixels",
            RandomForestClassifier(300, n_jobs=2, random_state=0),
            pixels,
        ),
        ("logistic regression on pixels", linear(), pixels),
        ("linear probe of EfficientNet-Lite0 (ImageNet)", linear(), lite),
    ):
        model.fit(x[train], labels[train])
        yield name, model.predict(x[test]) == labels[test]


def lite_features(images, side=96, batch=100):
    """Returns ``(n, 1280)`` features of ImageNet's EfficientNet-Lite0."""
    import torch

    from fiftyone_iqa.models.efficientnet_lite import (
        load_efficientnet_lite,
        normalize,
    )

    network = load_efficientnet_lite("lite0")
    grow = ResizeCrop(side, side, "bilinear")
    found = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch, ..., None].repeat(3, axis=3)
        part = torch.from_numpy(np.stack([grow(image) for image in part]))
        with torch.inference_mode():
            features = network.forward_features(normalize(part))
            found.append(features.mean((2, 3)).numpy())
    return np.concatenate(found)


def zero_shot(images):
    """Returns Q_p and Q_l of ZSCLIP-IQA (lite, ridge), and total variation."""
    from fiftyone_iqa.encoders import get_encoder
    from fiftyone_iqa.metrics.tv import total_variation
    from fiftyone_iqa.metrics.zsclip import zsclip_scores

    encoder = get_encoder("lite:ridge")
    rgb = images[..., None].repeat(3, axis=3)
    found = []
    for start in range(0, len(rgb), 50):
        part = [encoder.preprocessing(i) for i in rgb[start : start + 50]]
        found.append(encoder.encode_images(np.stack(part)))
    texts = encoder.encode_texts([f"a photo of a {c}." for c in CLASSES])
    scores = zsclip_scores(
        np.concatenate(found), texts, float(encoder.logit_scale)
    )
    return {
        "ZSCLIP-IQA Q_p (lite:ridge)": scores["qp"],
        "ZSCLIP-IQA Q_l (lite:ridge)": scores["ql"],
        "total variation (higher is better)": np.array(
            [total_variation(image) for image in rgb]
        ),
    }


def small_vit(n_classes):
    """A vision transformer of 25 tokens, for 20 x 20 pixels."""
    from timm.models import VisionTransformer

    return VisionTransformer(
        img_size=20,
        patch_size=4,
        embed_dim=48,
        depth=3,
        num_heads=3,
        mlp_ratio=2,
        num_classes=n_classes,
    )
