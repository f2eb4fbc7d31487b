"""What a network is fed: batches of pixels or of frozen features."""

from __future__ import annotations

import numpy as np

from ..models.preparation import IMAGENET

# Random shifts reach an eighth of the side, as 4 of CIFAR's 32 pixels
_PAD_SHARE = 8


class Pixels:
    """Images of one size.

    Args:
        images: ``(n, 3, s, s)`` uint8, also memory-mapped
        augment (True): whether training flips images at random (left to
            right) and shifts them by up to an eighth of their side
    """

    def __init__(self, images, augment: bool = True):
        self.array = images
        self.shape = tuple(images.shape[1:])
        self._augment = augment

    def batch(self, rows, device, generator=None):
        """Returns a batch on a device.

        Args:
            rows: ints
            device: a ``torch.device``
            generator (None): of the augmentation; None leaves images as
                they are

        Returns:
            ``(b, 3, s, s)`` float32 tensor
        """
        import torch

        batch = torch.from_numpy(np.ascontiguousarray(self.array[rows]))
        batch = IMAGENET(batch.to(device))
        if generator is None or not self._augment:
            return batch
        return _shifted(_flipped(batch, generator), generator)


class Features:
    """Frozen features of an encoder.

    Args:
        features: ``(n, d)`` float32
    """

    def __init__(self, features):
        self.array = features
        self.shape = tuple(features.shape[1:])

    def batch(self, rows, device, generator=None):
        """Returns a ``(b, d)`` float32 tensor; see :meth:`Pixels.batch`."""
        import torch

        rows = np.ascontiguousarray(self.array[rows], dtype=np.float32)
        return torch.from_numpy(rows).to(device)


def _flipped(batch, generator):
    import torch

    flip = torch.rand(len(batch), generator=generator) < 0.5
    flip = flip.to(batch.device)[:, None, None, None]
    return torch.where(flip, batch.flip(3), batch)


def _shifted(batch, generator):
    import torch
    from torch.nn import functional as F

    n, channels, side, _ = batch.shape
    pad = side // _PAD_SHARE
    if not pad:
        return batch
    padded = F.pad(batch, (pad,) * 4, mode="reflect")
    top, left = torch.randint(2 * pad + 1, (2, n, 1), generator=generator)
    rows = (top + torch.arange(side)).to(batch.device)[:, None, :, None]
    columns = (left + torch.arange(side)).to(batch.device)[:, None, None]
    index = torch.arange(n, device=batch.device)[:, None, None, None]
    channel = torch.arange(channels, device=batch.device)[:, None, None]
    return padded[index, channel, rows, columns]
