"""Names to encoders."""

from __future__ import annotations

import logging

from ..arguments import checked
from ..errors import IQAError
from .base import PRECISIONS, Encoder, EncoderUnavailableError

logger = logging.getLogger(__name__)

DEFAULT = "ViT-B-32/openai"
_AUTO = "auto"


@checked
def get_encoder(
    encoder=None, device: str | None = None, precision: str = "fp32"
) -> Encoder:
    """Returns an image-text encoder.

    Args:
        encoder (None): one of

            -   ``"ViT-B-32"`` or ``"ViT-B-32/openai"``: an open_clip
                architecture, with a pretrained tag (the default tag is
                OpenAI's, else the architecture's first)
            -   ``"ViT-B-32//path/to/checkpoint.pt"``: an architecture with
                local weights
            -   ``"/path/to/folder"`` with an ``open_clip_config.json``
            -   ``"hf-hub:org/model"``
            -   ``"lite"``, ``"lite:ridge"``, ``"lite:conse"``: the offline
                encoder
            -   ``"zoo:clip-vit-base32-torch"``: a FiftyOne zoo model that
                embeds prompts, or such a model itself
            -   an :class:`Encoder`, returned as it is
            -   None: :func:`default_encoder`, with a warning if that is not
                CLIP

        device (None): ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``; by
            default a GPU where there is one
        precision ("fp32"): ``"fp32"``, ``"bf16"`` or ``"fp16"``, of the
            image tower; or ``"auto"``, which measures whether bf16 pays here
            and keeps Q as it is, see
            :func:`fiftyone_iqa.encoders.precision.choose_precision`

    Returns:
        an :class:`Encoder`

    Raises:
        EncoderUnavailableError: if its weights or packages are not to be had
        IQAError: if the name, device or precision is unknown
    """
    if isinstance(encoder, Encoder):
        return encoder

    if precision not in (*PRECISIONS, _AUTO):
        raise IQAError(
            f"precision must be one of {', '.join((*PRECISIONS, _AUTO))}; "
            f"got {precision!r}"
        )

    device = resolve_device(device)
    if precision != _AUTO:
        return _make(encoder, device, precision)

    from .precision import choose_precision

    made = _make(encoder, device, "fp32")
    if made.precision != "fp32":  # a zoo model chooses its own
        return made
    parity = choose_precision(made)
    logger.info(
        "Encoder %s runs in %s: bf16 is %.1f times as fast here, moves Q_l "
        "by up to %.4f and keeps its order to %.4f",
        made.name,
        parity.precision,
        parity.speed_up,
        parity.max_difference,
        parity.rank_correlation,
    )
    return made


def _make(encoder, device, precision):
    if encoder is None:
        encoder, reason = default_encoder(device, precision)
        if encoder.caveat:
            logger.warning(
                "Using encoder %s: %s. %s",
                encoder.name,
                reason,
                encoder.caveat,
            )
        return encoder

    if not isinstance(encoder, str):
        from .zoo import ZooEncoder

        return ZooEncoder(encoder)

    if encoder == "lite" or encoder.startswith("lite:"):
        from .lite import DEFAULT_JOIN, LiteEncoder

        _, _, join = encoder.partition(":")
        return LiteEncoder(join or DEFAULT_JOIN, device, precision)

    if encoder.startswith("zoo:"):
        from .zoo import load_zoo_encoder

        return load_zoo_encoder(encoder, device)

    from .open_clip import OpenCLIPEncoder

    return OpenCLIPEncoder(encoder, device, precision)


def default_encoder(
    device: str | None = None, precision: str = "fp32"
) -> tuple[Encoder, str]:
    """Returns the encoder that ``None`` stands for, and why, in a clause.

    OpenAI's ViT-B-32 through open_clip where its weights are cached or can
    be fetched, else ``"lite"``.

    Args:
        device (None): see :func:`get_encoder`
        precision ("fp32"): see :func:`get_encoder`

    Raises:
        EncoderUnavailableError: if ``lite``'s packages are missing too
    """
    from .hub import cached_weights

    cached = cached_weights(*DEFAULT.split("/"))
    try:
        encoder = get_encoder(DEFAULT, device, precision)
    except EncoderUnavailableError:
        reason = (
            f"the weights of {DEFAULT} are neither cached nor can be fetched"
        )
        return get_encoder("lite", device, precision), reason

    return encoder, "its weights are cached" if cached else "it was fetched"


def resolve_device(device: str | None) -> str:
    """Returns a device name that works here.

    Args:
        device (None): a torch device name; None takes CUDA, else MPS, else
            the CPU

    Raises:
        IQAError: if there is no such device
    """
    import torch

    if device is None:
        if torch.cuda.is_available():
            return "cuda"
        if torch.backends.mps.is_available():
            return "mps"
        return "cpu"

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as e:
        reason = str(e).splitlines()[0].split(". ")[0]
        raise IQAError(
            f"Device {device!r} cannot be used here ({reason}); leave "
            "device=None to take what there is"
        ) from None
    return str(device)


__all__ = [
    "DEFAULT",
    "EncoderUnavailableError",
    "default_encoder",
    "get_encoder",
    "resolve_device",
]
