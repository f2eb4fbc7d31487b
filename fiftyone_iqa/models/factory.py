"""Names to task models."""

from __future__ import annotations

import difflib
import os
import re

from ..arguments import checked
from ..encoders.base import PRECISIONS
from ..encoders.factory import resolve_device
from ..errors import IQAError
from .base import TaskModel

LITE_NAMES = tuple(f"efficientnet_lite{i}" for i in range(3))

_SLUG = re.compile(r"[a-z0-9][a-z0-9_]*")


@checked
def get_task_model(
    model,
    device: str | None = None,
    precision: str = "fp32",
    *,
    classes=None,
    transform=None,
    normalisation=None,
    slug: str | None = None,
) -> TaskModel:
    """Returns a trained classifier.

    Args:
        model: one of

            -   ``"resnet34"``: any of torchvision's classifiers, with its
                default weights; ``"resnet50/IMAGENET1K_V1"``: with others
            -   ``"resnet34//path/to/checkpoint"``: an architecture with
                local weights, a ``.safetensors`` file or a state dict that
                ``torch.save`` wrote; nothing in the file is executed
            -   ``"timm:convnext_tiny.fb_in1k"``: any of timm's, also as
                ``"timm:<name>//path/to/checkpoint"``
            -   ``"efficientnet_lite0"``, ``…1``, ``…2``: ImageNet models out
                of pip packages, without a download
            -   ``"zoo:resnet50-imagenet-torch"``: a FiftyOne zoo model that
                classifies with logits, or such a model itself
            -   a ``torch.nn.Module``, ``(n, 3, h, w)`` to ``(n, K)`` logits,
                with ``classes`` and ``transform``; it is put into evaluation
                mode and moved to the device
            -   a :class:`TaskModel`, returned as it is

        device (None): ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``; by
            default a GPU where there is one; a zoo model that is passed
            itself stays where it is
        precision ("fp32"): ``"fp32"``, ``"bf16"`` or ``"fp16"``; logits are
            returned in float32; FiftyOne's models choose their own
        classes (None): the K labels in the order of the logits, for models
            that do not bring them; 1,000 classes are ImageNet's unless told
            otherwise
        transform (None): what prepares an image in a worker, if not as the
            weights were evaluated: a
            :class:`fiftyone_iqa.preprocessing.ResizeCrop`, to be followed by
            ``normalisation``; or any picklable callable, PIL image to
            ``(c, h, w)`` tensor, which is then all that happens unless
            ``normalisation`` is given too
        normalisation (None): a
            :class:`fiftyone_iqa.models.Normalisation`, on the device; by
            default the weights' own
        slug (None): the stem of its fields, by default :func:`slug_of` it

    Returns:
        a :class:`TaskModel`

    Raises:
        ModelUnavailableError: if its weights or packages are not to be had;
            within seconds
        IQAError: if a name, a checkpoint or an argument is unusable

    Examples:
        SqueezeNet 1.1 as Caffe trained it::

            get_task_model(
                "squeezenet1_1//squeezenet1_1.safetensors",
                normalisation=Normalisation(
                    (104, 117, 123), (1, 1, 1), scale=1.0, channels="bgr"
                ),
            )
    """
    if isinstance(model, TaskModel):
        return model

    if precision not in PRECISIONS:
        raise IQAError(
            f"precision must be one of {', '.join(PRECISIONS)}; "
            f"got {precision!r}"
        )
    from .torch_models import Options, TorchTaskModel

    slug = _checked_slug(slug_of(model) if slug is None else slug)
    options = Options(_checked_classes(classes), transform, normalisation)
    device = resolve_device(device)
    if _is_fiftyone(model):
        return _zoo_model(model, device, options, slug)
    network = _network(model, options)
    return TorchTaskModel(network, device, precision, slug)


def slug_of(model) -> str:
    """Returns the default stem of a task model's fields.

    Args:
        model: see :func:`get_task_model`

    Returns:
        ``[a-z0-9_]``: ``"timm:a.b"`` gives ``timm_a_b``,
        ``"resnet34//path/to/my-run.pt"`` gives ``resnet34_my_run``, anything
        but a name its class
    """
    if isinstance(model, TaskModel):
        return model.slug
    name = model if isinstance(model, str) else type(model).__name__
    name, _, path = name.partition("//")
    if path:
        name = f"{name} {os.path.splitext(os.path.basename(path))[0]}"
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _is_fiftyone(model):
    if isinstance(model, str):
        return model.startswith("zoo:")

    import torch

    return not isinstance(model, torch.nn.Module)


def _zoo_model(model, device, options, slug):
    import fiftyone.core.models as fom

    from .zoo import ZooTaskModel, load_zoo_model

    if not isinstance(model, (str, fom.Model)):
        raise IQAError(
            "model must be a name, a torch.nn.Module, a FiftyOne model or a "
            f"TaskModel; got {type(model).__name__}"
        )
    if options.transform is not None or options.normalisation is not None:
        raise IQAError(
            "A FiftyOne model prepares images itself: transform= and "
            "normalisation= do not apply"
        )
    name = None
    if isinstance(model, str):
        name, model = model, load_zoo_model(model, device, options.classes)
    return ZooTaskModel(model, slug, name, options.classes)


def _network(model, options):
    from .torch_models import lite_network, module_network

    if not isinstance(model, str):
        return module_network(model, options)
    if model in LITE_NAMES:
        return lite_network(model, options)

    name, is_checkpoint, path = model.partition("//")
    if is_checkpoint and not path:
        raise IQAError(f"{model!r} lacks the path after '//'")
    if name.startswith("timm:"):
        from .timm_models import timm_names, timm_network

        name = name.removeprefix("timm:")
        _check_known(name, timm_names(), model, "timm:")
        return timm_network(name, path or None, options)

    from .torchvision_models import (
        checkpoint_network,
        pretrained_network,
        torchvision_names,
    )

    name, _, tag = name.partition("/")
    known = torchvision_names()
    _check_known(
        name, known if is_checkpoint else (*known, *LITE_NAMES), model
    )
    if is_checkpoint:
        return checkpoint_network(name, path, options)
    return pretrained_network(name, tag, options)


def _check_known(name, known, model, prefix=""):
    if name in known:
        return

    close = [prefix + n for n in difflib.get_close_matches(name, known, 3)]
    hint = (
        f"did you mean {' or '.join(map(repr, close))}?"
        if close
        else "it is no torchvision classifier, and neither 'timm:…', 'zoo:…' "
        "nor 'efficientnet_lite…'"
    )
    raise IQAError(f"Unknown task model {model!r}: {hint}")


def _checked_classes(classes):
    if classes is None:
        return None

    classes = classes if isinstance(classes, str) else tuple(classes)
    bad = isinstance(classes, str) or not all(
        isinstance(label, str) and label for label in classes
    )
    if bad or len(classes) < 2:
        raise IQAError(
            "classes must be at least two labels in the order of the "
            f"model's logits; got {classes!r}"
        )
    return classes


def _checked_slug(slug):
    if not isinstance(slug, str) or not _SLUG.fullmatch(slug):
        raise IQAError(
            "slug must be lower-case letters, digits and underscores; got "
            f"{slug!r}"
        )
    return slug
