"""ZSCLIP-IQA: quality as the confidence of zero-shot classification.

Drenkow & Unberath 2025, sections 2.4 and 4.4. With unit image embeddings z
and unit text embeddings W of the dataset's own classes, s = zW and
ŷ = softmax(t·s):

-   Q_p = max ŷ, the maximum probability
-   Q_h = −Σ ŷ log ŷ, the entropy in nats
-   Q_l = max s, the maximum logit (temperature plays no part)
-   Q_m = top 1 − top 2 of s, the margin: ours, not the paper's

The paper has t = 1; the default is the encoder's own scale, because at t = 1
over cosines the softmax is nearly flat, and whether its entropy then rises or
falls with correctness depends on the encoder.
"""

from __future__ import annotations

import logging
import math

import numpy as np

from ..errors import IQAError
from .confidence import confidence_scores
from .registry import (
    BY_CONFIGURATION,
    HIGHER,
    LOWER,
    NONE,
    Configuration,
    Metric,
    MetricSpec,
    Output,
    Scorer,
    register,
)

logger = logging.getLogger(__name__)

# 4 M float64 similarities at a time: 32 MB
_MAX_SIMILARITIES = 1 << 22


def zsclip_scores(
    embeddings: np.ndarray, texts: np.ndarray, temperature: float
) -> dict[str, np.ndarray]:
    """Computes ZSCLIP-IQA from embeddings (section 4.4).

    Similarities are float32; the softmax is float64, so that ranks survive
    the nearly flat softmax of ``temperature=1``.

    Args:
        embeddings: ``(n, d)`` float32 unit rows, one per image
        texts: ``(k, d)`` float32 unit rows, one per class, k >= 2
        temperature: factor on the similarities in the softmax, > 0

    Returns:
        dict of ``(n,)`` float64: ``qp`` in [1/k, 1], ``qh`` in [0, ln k]
        nats, ``ql`` in [-1, 1], ``qm`` in [0, 2]

    Examples:
        >>> scores = zsclip_scores(np.eye(2, dtype="f4"), np.eye(2), 1.0)
        >>> round(float(scores["qp"][0]), 6), float(scores["qm"][0])
        (0.731059, 1.0)
    """
    embeddings = np.asarray(embeddings, dtype=np.float32)
    texts = np.asarray(texts, dtype=np.float32)
    n, k = len(embeddings), len(texts)
    if k < 2:
        raise IQAError("ZSCLIP-IQA needs at least two classes")

    step = max(1, _MAX_SIMILARITIES // k)
    parts = [
        confidence_scores(
            embeddings[start : start + step] @ texts.T, temperature
        )
        for start in range(0, max(n, 1), step)
    ]
    return {
        name: np.concatenate([part[name] for part in parts])
        for name in ("qp", "qh", "ql", "qm")
    }


def average_templates(encode_texts, names, templates) -> np.ndarray:
    """Embeds classes as the renormalised mean over prompt templates.

    Args:
        encode_texts: callable, list of k strings to ``(k, d)`` unit rows
        names: k class names
        templates: prompt templates, each with one ``{}``

    Returns:
        ``(k, d)`` float32 unit rows
    """
    from ..encoders.base import unit_rows

    total = 0.0
    for template in templates:
        prompts = [template.replace("{}", name) for name in names]
        total = total + unit_rows(encode_texts(prompts)).astype(np.float64)

    return unit_rows(total)


@register
class ZSCLIP(Metric):
    """Registers ``zsclip``."""

    spec = MetricSpec(
        name="zsclip",
        title="ZSCLIP-IQA",
        summary="Confidence of zero-shot classification over the dataset's "
        "own label set",
        guidance="weak",
        outputs=(
            Output(
                "qp",
                HIGHER,
                (0.0, 1.0),
                "ZSCLIP-IQA Q_p: largest zero-shot class probability",
            ),
            Output(
                "qh",
                BY_CONFIGURATION,
                (0.0, math.inf),
                "ZSCLIP-IQA Q_h: entropy of the zero-shot class "
                "probabilities, nats",
            ),
            Output(
                "ql",
                HIGHER,
                (-1.0, 1.0),
                "ZSCLIP-IQA Q_l: largest similarity to any class",
            ),
            Output(
                "qm",
                HIGHER,
                (0.0, 2.0),
                "Zero-shot margin: largest minus second-largest similarity "
                "(not in the paper)",
            ),
        ),
        licence="Apache-2.0",
        weights="image-text encoder",
        paper="Drenkow & Unberath 2025, section 4.4",
        weights_licence="the encoder's (OpenAI CLIP: MIT)",
        input_size="the encoder's crop",
        verified="with lite; open_clip at random weights",
        needs_labels=True,
    )

    def configure(self, request, frozen):
        """Resolves encoder, label set, templates and temperature."""
        frozen = frozen or {}
        # Cheap checks first: loading an encoder takes seconds
        templates = _checked_templates(request.templates)
        temperature = _checked_temperature(request.temperature)
        labels = request.label_set(frozen)
        encoder = request.encoder(frozen)

        identity = frozen.get("identity", {})
        templates = (
            templates or identity.get("templates") or list(encoder.templates)
        )
        if temperature is None:
            own = float(encoder.logit_scale)
            temperature = identity.get("temperature", own)
            if temperature != own:
                logger.warning(
                    "Continuing with temperature %g, which is frozen with "
                    "the field; the encoder's own is %g",
                    temperature,
                    own,
                )

        return Configuration(
            identity={
                "encoder": encoder.id,
                "precision": encoder.precision,
                "preprocessing": str(encoder.preprocessing),
                "classes": labels.hash,
                "templates": list(templates),
                "temperature": temperature,
            },
            directions={
                "qp": HIGHER,
                "qh": entropy_direction(temperature, encoder.logit_scale),
                "ql": HIGHER,
                "qm": HIGHER,
            },
            provenance={
                "encoder_name": encoder.name,
                **_parity(encoder),
                "n_classes": len(labels),
                "classes_from": labels.source,
            },
            resources={"encoder": encoder, "labels": labels},
        )

    def build(self, configuration, request):
        """Embeds the classes and returns the scorer."""
        encoder = configuration.resources["encoder"]
        texts = average_templates(
            lambda prompts: request.encode_texts(encoder, prompts),
            configuration.resources["labels"].names,
            configuration.identity["templates"],
        )
        return ZSCLIPScorer(
            encoder, texts, configuration.identity["temperature"]
        )


def entropy_direction(temperature: float, logit_scale: float) -> str:
    """Returns which way Q_h points at a temperature.

    Near the encoder's own scale entropy means lack of confidence: lower is
    better. Far below it the softmax is nearly flat, entropy measures the
    spread of all similarities, and its sign depends on encoder and data; it
    is then left without direction rather than guessed.
    """
    return LOWER if temperature >= 0.5 * logit_scale else NONE


def _parity(encoder):
    if encoder.parity is None:
        return {}
    return {"precision_parity": encoder.parity.to_dict()}


class ZSCLIPScorer(Scorer):
    """Scores images against embedded classes.

    Args:
        encoder: an :class:`fiftyone_iqa.encoders.Encoder`
        texts: ``(k, d)`` unit rows, one per class
        temperature: factor on the similarities in the softmax
    """

    def __init__(self, encoder, texts, temperature):
        self._encoder = encoder
        self._texts = texts
        self._temperature = temperature
        self.prepare = encoder.preprocessing
        self.input_key = f"{encoder.name}: {encoder.preprocessing}"
        self.cache_space = (
            f"{encoder.id} {encoder.precision} {encoder.preprocessing}"
        )
        self.device = str(encoder.device)

    def features(self, inputs):
        """Returns ``(n, d)`` embeddings of prepared images."""
        return self._encoder.encode_images(np.stack(inputs))

    def score(self, features):
        """See :func:`zsclip_scores`."""
        return zsclip_scores(features, self._texts, self._temperature)


def _checked_templates(templates):
    if templates is None:
        return None

    if isinstance(templates, str):
        templates = [templates]
    templates = list(templates)
    bad = [
        t for t in templates if not isinstance(t, str) or t.count("{}") != 1
    ]
    if bad or not templates:
        raise IQAError(
            "templates must be strings with one '{}' for the class name, "
            f'such as "a photo of a {{}}."; got {bad[0] if bad else "none"!r}'
        )
    return templates


def _checked_temperature(temperature):
    if temperature == "model":
        return None

    try:
        value = float(temperature)
    except (TypeError, ValueError):
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise IQAError(
            "temperature must be a positive number (1.0 is the paper's) or "
            f'"model", the encoder\'s own scale; got {temperature!r}'
        )
    return value
