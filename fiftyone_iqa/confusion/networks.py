"""Networks an ensemble is made of, at random weights.

Small ones for small images and for frozen features are here; larger ones are
torchvision's and timm's. torch is imported when one is built.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from ..errors import IQAError

HEADS = ("linear", "mlp")
SMALL_RESNETS = ("resnet8", "resnet14", "resnet20")
_HIDDEN = 256
_DROPOUT = 0.2


def is_head(model) -> bool:
    """Whether a model is a head on frozen features."""
    return isinstance(model, str) and model in HEADS


def network_name(model) -> str:
    """Returns what a score's configuration says of a model."""
    if isinstance(model, str):
        return model
    return f"{model.__module__}.{model.__qualname__}"


def network_builder(model, n_classes: int, shape) -> Callable:
    """Returns a function that builds a network at random weights.

    Args:
        model: ``"linear"`` or ``"mlp"`` for features; ``"resnet8"``, ``14``
            or ``20`` (He et al. 2016, section 4.2, for small images); any of
            torchvision's classifiers; ``"timm:…"``; or a function of the
            number of classes that returns a ``torch.nn.Module``
        n_classes: C
        shape: of one input, ``(3, s, s)`` or ``(d,)``

    Raises:
        IQAError: if the name is unknown, or the network does not turn such
            an input into C logits
    """
    import torch

    build = _builder(model, n_classes, tuple(shape))
    if len(shape) == 3 and isinstance(model, str):
        # Twice as fast for small convolutions on a CPU; a caller's own
        # forward may rely on the usual layout
        plain = build

        def build():
            return plain().to(memory_format=torch.channels_last)

    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            logits = build().eval()(torch.zeros(2, *shape))
            given = tuple(logits.shape)
    except IQAError:
        raise
    except Exception as e:  # whatever a network raises on a wrong size
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise IQAError(
            f"Network {network_name(model)!r} takes no input of shape "
            f"{tuple(shape)}: {reason}"
        ) from None
    if given != (2, n_classes):
        raise IQAError(
            f"Network {network_name(model)!r} returns shape {given} for two "
            f"images and {n_classes} classes"
        )
    return build


def check_model(model) -> None:
    """Raises an IQAError unless a network can be made of it."""
    if not isinstance(model, str):
        if callable(model) and hasattr(model, "__qualname__"):
            return
        raise IQAError(
            "model must be the name of a network, or a function of the "
            "number of classes that returns one, not "
            f"{type(model).__name__}"
        )
    if model in (*HEADS, *SMALL_RESNETS):
        return
    if model.startswith("timm:"):
        import timm

        known = [f"timm:{name}" for name in timm.list_models()]
    else:
        from ..models.torchvision_models import torchvision_names

        known = [*HEADS, *SMALL_RESNETS, *torchvision_names()]
    if model not in known:
        close = difflib.get_close_matches(model, known, 3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise IQAError(
            f"Unknown network {model!r}{hint} It is a torchvision "
            f"classifier, timm:…, or one of {', '.join(known[:5])}"
        )


def _builder(model, n_classes, shape):
    check_model(model)
    if callable(model):
        return lambda: model(n_classes)
    if model in HEADS:
        return lambda: _head(model, shape[0], n_classes)
    if model in SMALL_RESNETS:
        depth = int(model.removeprefix("resnet"))
        return lambda: small_resnet(depth, n_classes)
    if model.startswith("timm:"):
        return lambda: _timm(model.removeprefix("timm:"), n_classes, shape)

    from torchvision.models import get_model

    # Its position embedding is of one size
    options = {"image_size": shape[-1]} if model.startswith("vit_") else {}
    if model == "googlenet" or model == "inception_v3":
        options = {"aux_logits": False, "init_weights": True}
    return lambda: get_model(model, num_classes=n_classes, **options)


def _timm(name, n_classes, shape):
    import timm

    try:
        return timm.create_model(
            name, num_classes=n_classes, img_size=shape[-1]
        )
    except TypeError:  # convolutions take any size, and no such argument
        return timm.create_model(name, num_classes=n_classes)


def _head(kind, width, n_classes):
    from torch import nn

    # Features of encoders are unit rows: numbers far below 1
    scale = nn.BatchNorm1d(width, affine=False)
    if kind == "linear":
        return nn.Sequential(scale, nn.Linear(width, n_classes))
    return nn.Sequential(
        scale,
        nn.Linear(width, _HIDDEN),
        nn.ReLU(),
        nn.Dropout(_DROPOUT),
        nn.Linear(_HIDDEN, n_classes),
    )


def small_resnet(depth: int, n_classes: int):
    """Returns He et al.'s (2016, section 4.2) ResNet for 32 x 32 pixels.

    Args:
        depth: 6k + 2 layers: three stages of k blocks, of 16, 32 and 64
            channels
        n_classes: C

    Returns:
        a ``torch.nn.Module``, ``(n, 3, h, w)`` to ``(n, C)`` logits
    """
    from torch import nn
    from torchvision.models.resnet import BasicBlock

    layers = [
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(inplace=True),
    ]
    width = 16
    for stage, planes in enumerate((16, 32, 64)):
        for block in range((depth - 2) // 6):
            stride = 2 if stage and not block else 1
            shortcut = None
            if stride != 1:
                shortcut = nn.Sequential(
                    nn.Conv2d(width, planes, 1, stride, bias=False),
                    nn.BatchNorm2d(planes),
                )
            layers.append(BasicBlock(width, planes, stride, shortcut))
            width = planes
    return nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, n_classes),
    )
