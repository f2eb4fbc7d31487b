"""Task models that are torch modules, wherever the module comes from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..encoders.base import autocast, digest_of_arrays
from ..errors import IQAError
from ..preprocessing import ResizeCrop, TorchTransform
from .base import TaskModel
from .efficientnet_lite import (
    MEAN,
    STD,
    efficientnet_lite_preprocessing,
    load_efficientnet_lite,
)
from .imagenet import N_CLASSES, imagenet_names
from .preparation import Normalisation, Preparation


@dataclass(frozen=True)
class Options:
    """What a caller wants to differ from a model's own.

    See :func:`fiftyone_iqa.models.get_task_model`.
    """

    classes: tuple[str, ...] | None = None
    transform: Any = None
    normalisation: Normalisation | None = None


@dataclass(frozen=True)
class Network:
    """A classifier as its library delivers it.

    Attributes:
        name: the task model's name
        module: a ``torch.nn.Module``
        classes: its class labels
        preparation: what its images go through
        channels_last: whether it may be laid out so: a fifth faster for
            convolutions on a CPU, SqueezeNet twice as fast; no different
            for Swin and EfficientNet-V2 (two cores, torch 2.14)
    """

    name: str
    module: Any
    classes: tuple[str, ...]
    preparation: Preparation
    channels_last: bool = True


class TorchTaskModel(TaskModel):
    """A task model that is a torch module.

    Args:
        network: the module and what belongs to it; the module is moved to
            the device and put into evaluation mode
        device: a torch device name
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``
        slug: the stem of its fields
    """

    def __init__(
        self, network: Network, device: str, precision: str, slug: str
    ):
        import torch

        self.name = network.name
        self.slug = slug
        self.classes = network.classes
        self.precision = precision
        self.device = torch.device(device)
        self.preprocessing = network.preparation
        self._module = network.module.eval().to(self.device)
        self._format = torch.contiguous_format
        if network.channels_last:
            self._format = torch.channels_last
            self._module.to(memory_format=self._format)

    def logits(self, batch) -> np.ndarray:
        """See :meth:`TaskModel.logits`.

        Raises:
            IQAError: if the module returns anything but one logit per class
        """
        import torch

        with torch.inference_mode():
            batch = torch.as_tensor(batch).to(self.device)
            return self.differentiable_logits(batch).cpu().numpy()

    def differentiable_logits(self, batch):
        """See :meth:`TaskModel.differentiable_logits`."""
        import torch

        normalise = self.preprocessing.normalisation or torch.Tensor.float
        batch = normalise(batch).contiguous(memory_format=self._format)
        with autocast(self.device, self.precision):
            output = self._module(batch)
        return self._logits_of(output, len(batch)).float()

    @property
    def network(self):
        """See :attr:`TaskModel.network`."""
        return self._module

    def _logits_of(self, output, n):
        import torch

        # The transformers library's classifiers return an object
        logits = getattr(output, "logits", output)
        if isinstance(logits, dict):
            logits = logits.get("logits")
        if not isinstance(logits, torch.Tensor):
            raise IQAError(
                f"Task model {self.name!r} returns "
                f"{type(output).__name__}, not a tensor of logits"
            )
        if logits.shape != (n, len(self.classes)):
            raise IQAError(
                f"Task model {self.name!r} returns logits of shape "
                f"{tuple(logits.shape)} for {n} images and "
                f"{len(self.classes)} classes"
            )
        return logits

    def _weights_digest(self):
        return digest_of_arrays(self._module.state_dict().items())


def lite_network(name: str, options: Options) -> Network:
    """Returns ``"efficientnet_lite0"``, ``1`` or ``2``.

    Raises:
        ModelUnavailableError: if the package of its weights is missing
    """
    variant = name.removeprefix("efficientnet_")
    own = Preparation(
        efficientnet_lite_preprocessing(variant),
        Normalisation((MEAN,) * 3, (STD,) * 3, scale=1.0),
    )
    return Network(
        name,
        load_efficientnet_lite(variant),
        classes_of(name, N_CLASSES, options, imagenet_names()),
        preparation_of(own, options),
    )


def module_network(module, options: Options) -> Network:
    """Returns a caller's module with its transform and classes.

    Raises:
        IQAError: if either is missing
    """
    kind = type(module).__name__
    if options.classes is None or options.transform is None:
        raise IQAError(
            f"A module of your own ({kind}) needs classes=[...] in the order "
            "of its logits, and transform="
        )
    if options.normalisation is None and isinstance(
        options.transform, ResizeCrop
    ):
        raise IQAError(
            "A ResizeCrop leaves pixels at 0...255: pass normalisation= too"
        )
    return Network(
        f"module:{kind}",
        module,
        options.classes,
        preparation_of(None, options),
        # A forward of the caller's may rely on the usual layout (view)
        channels_last=False,
    )


def classes_of(name, n, options: Options, own=None) -> tuple[str, ...]:
    """Returns the labels of ``n`` classes: the caller's, else the model's own.

    Raises:
        IQAError: if there are none, or not ``n``
    """
    classes = own if options.classes is None else options.classes
    if classes is None:
        raise IQAError(
            f"Task model {name!r} has {n} classes without names: pass "
            "classes=[...] in the order of its logits"
        )
    if len(classes) != n:
        raise IQAError(
            f"Task model {name!r} has {n} classes; got {len(classes)} names"
        )
    return tuple(classes)


def preparation_of(own: Preparation | None, options: Options) -> Preparation:
    """Returns the model's own preparation with the caller's changes.

    A transform that is not a ``ResizeCrop`` is taken to be the whole of it:
    the model's own normalisation then no longer applies.
    """
    transform, normalisation = options.transform, options.normalisation
    if transform is None:
        return Preparation(own.transform, normalisation or own.normalisation)
    if isinstance(transform, ResizeCrop):
        if normalisation is None:
            normalisation = own.normalisation
    elif not isinstance(transform, TorchTransform):
        transform = TorchTransform(transform, described(transform))
    return Preparation(transform, normalisation)


def described(transform) -> str:
    """Returns what a transform is, the same in every process."""
    text = repr(transform)
    if hasattr(transform, "__qualname__"):
        text = f"{transform.__module__}.{transform.__qualname__}"
    # Addresses change from one process to the next
    text = re.sub(r" at 0x[0-9a-f]+", "", text)
    return re.sub(r"\s+", " ", text)
