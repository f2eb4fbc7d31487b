"""Runs pyiqa's networks over images of any sizes, in batches."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from functools import partial

import numpy as np

from ..encoders.base import to_device
from .registry import Scorer

logger = logging.getLogger(__name__)

INPUT_KEY = "pixels: uint8 native size"

# One forward pass sees at most this many pixels, unless a single image has
# more: about 22 ImageNet photographs, and 2 GB for a ResNet-50
PIXEL_BUDGET = 1 << 22
_CROP = 224 * 224

# Networks that give an image in a batch the value it has alone, as
# scripts/pyiqa_table.py measures; any other runs one image at a time. BRISQUE
# is not among them: it adds up 774 support vectors of weight up to 1,024 in
# float32, so that another order of summation moves it by up to 1e-2, and a
# batch of 24 saved a quarter of its time on one core
BATCHED_KINDS = frozenset(
    {
        "ARNIQA",
        "CFANet",
        "CLIPIQA",
        "CNNIQA",
        "DBCNN",
        "Entropy",
        "HyperNet",
        "ILNIQE",
        "LAIONAes",
        "LIQE",
        "MANIQA",
        "MUSIQ",
        "MetaIQA",
        "NIMA",
        "NIQE",
        "NRQM",
        "PAQ2PIQ",
        "PI",
        "PIQE",
        "QualiCLIP",
        "TReS",
        "UNIQUE",
        "URanker",
        "WaDIQaM",
    }
)
# How many crops of 224 x 224 a network makes of an image of any size, where
# that is more than one: what its batches cost
_CROPS = {
    "CFANet": 5,
    "HyperNet": 25,
    "ILNIQE": 6,
    "LIQE": 15,
    "MANIQA": 20,
    "MUSIQ": 4,
    "NIMA": 2,
    "TReS": 50,
}


def native_pixels(image: np.ndarray) -> np.ndarray:
    """Returns the image itself, ``(h, w, 3)`` uint8 RGB, contiguous."""
    return np.ascontiguousarray(image)


class PyiqaScorer(Scorer):
    """Runs one of pyiqa's networks over images of any sizes.

    Args:
        kind: the name of the network's class in pyiqa
        network: ``(n, 3, h, w)`` float32 RGB in [0, 1] to ``n`` scores
        device: where it is
        pixel_budget: pixels per forward pass

    Attributes:
        batched: whether images of one size share forward passes
    """

    input_key = INPUT_KEY
    prepare = staticmethod(native_pixels)

    def __init__(
        self, kind, network, device, pixel_budget: int = PIXEL_BUDGET
    ):
        import torch

        self.device = device
        self._network = network
        # A face is looked for in one image at a time
        self.batched = kind in BATCHED_KINDS and not hasattr(
            network, "face_helper"
        )
        self._least_pixels = _CROPS.get(kind, 1) * _CROP
        self._pixel_budget = pixel_budget
        with torch.inference_mode():
            _leave_out_repeated_work(kind, network, device)

    def features(self, inputs):
        """Returns ``(n, 1)`` float64 scores of ``(h, w, 3)`` uint8 images.

        Images of one size share forward passes, as many as the pixel budget
        allows; one that is larger than the budget has its own.
        """
        scores = np.empty((len(inputs), 1))
        for rows in self._chunks(inputs):
            scores[rows, 0] = self._run([inputs[row] for row in rows])
        return scores

    def score(self, features):
        """Returns the one column under the empty suffix."""
        return {"": features[:, 0]}

    def _chunks(self, inputs):
        """Yields lists of rows: of one size, within the budget."""
        by_size = defaultdict(list)
        for row, image in enumerate(inputs):
            by_size[image.shape].append(row)

        for (height, width, _), rows in by_size.items():
            pixels = max(height * width, self._least_pixels)
            n = max(1, self._pixel_budget // pixels) if self.batched else 1
            for start in range(0, len(rows), n):
                yield rows[start : start + n]

    def _run(self, images):
        """Returns the scores of images of one size.

        A pass for which memory runs out is repeated in two halves, once.
        """
        try:
            return self._forward(images)
        except (RuntimeError, MemoryError) as e:
            if len(images) == 1 or not _is_out_of_memory(e):
                raise
            logger.warning(
                "Memory ran out for %d images of %s pixels at once; trying "
                "them in two halves",
                len(images),
                " x ".join(map(str, images[0].shape[:2])),
            )

        # Outside the handler, whose traceback keeps the tensors alive
        self._free_memory()
        half = math.ceil(len(images) / 2)
        return np.concatenate(
            [self._forward(images[:half]), self._forward(images[half:])]
        )

    def _forward(self, images):
        import torch

        batch = to_device(np.stack(images), torch.device(self.device))
        with torch.inference_mode():
            batch = batch.permute(0, 3, 1, 2).contiguous().float().div_(255)
            scores = self._network(batch)
            return scores.double().reshape(len(images)).cpu().numpy()

    def _free_memory(self):
        import torch

        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()


def _is_out_of_memory(error):
    import torch

    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        said in str(error)
        for said in ("out of memory", "can't allocate memory")
    )


def _leave_out_repeated_work(kind, network, device):
    """Replaces what a network does over again, where values stay equal."""
    if kind in ("CLIPIQA", "QualiCLIP"):
        # The prompts are the same for every image
        clip = network.clip_model[0].to(device)
        learner = getattr(network, "prompt_learner", None)
        if learner is not None:
            texts = learner(clip)
            learner.forward = lambda _: texts
        elif kind == "CLIPIQA":
            texts = clip.encode_text(network.prompt_pairs.to(device))
            clip.encode_text = lambda _: texts
    elif kind == "Entropy":
        # A histogram by one-hot rows takes 2 KB per pixel
        network.forward = partial(_entropy, **network.kwargs)


def _entropy(x, data_range=255.0, eps=1e-8, color_space="yiq"):
    """Computes pyiqa's entropy, its histogram counted and not one-hot."""
    import torch
    from pyiqa.utils.color_util import to_y_channel

    luma = to_y_channel(x, data_range, color_space).long()
    histogram = torch.stack(
        [row.flatten().bincount(minlength=256) for row in luma]
    )
    p = histogram / histogram.sum(dim=1, keepdim=True)
    return -torch.sum(p * torch.log2(p + eps), dim=1)
