"""Conventional no-reference quality, computed by pyiqa.

``brisque``, ``clipiqa`` and ``arniqa``, the baselines of Drenkow & Unberath
2025, section 2.1, and ``pyiqa:<name>`` for any other no-reference metric that
pyiqa knows. Values equal those of pyiqa's own call on the image alone, within
1e-4; what makes that call slow is left out: batches of one, a text tower run
on the same prompts for every image, checks that wait for the device.
"""

from __future__ import annotations

import logging
import math
import re
from collections import defaultdict
from functools import partial

import numpy as np

from .pyiqa_loading import (
    LICENCE,
    check_runs,
    kind_of,
    load_network,
    named_arrays,
    pyiqa_table,
)
from .registry import (
    HIGHER,
    LOWER,
    Configuration,
    Metric,
    MetricSpec,
    Output,
    Scorer,
    register,
    register_family,
)

logger = logging.getLogger(__name__)

INPUT_KEY = "pixels: uint8 native size"
_SIZES = "native size, float32 RGB in [0, 1]"
_LICENCE = f"{LICENCE} (pyiqa); weights: their authors'"

# One forward pass sees at most this many pixels, unless a single image has
# more: about 22 ImageNet photographs, and 2 GB for a ResNet-50
PIXEL_BUDGET = 1 << 22
_CROP = 224 * 224

# Networks that give an image in a batch the value it has alone, as
# scripts/pyiqa_table.py measures; any other runs one image at a time. BRISQUE
# is not among them: it adds up 774 support vectors of weight up to 1,024 in
# float32, so that another order of summation moves it by up to 4e-3
BATCHED_KINDS = frozenset(
    {
        "ARNIQA",
        "CFANet",
        "CLIPIQA",
        "CNNIQA",
        "DBCNN",
        "Entropy",
        "FGResQ",
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


class PyiqaMetric(Metric):
    """A no-reference metric that pyiqa computes.

    Args:
        name: pyiqa's name for it
        spec: what it is
    """

    def __init__(self, name: str, spec: MetricSpec):
        self.name = name
        self.spec = spec

    def configure(self, request, frozen):
        """Loads the network: its weights are part of what a score means.

        Raises:
            WeightsUnavailableError: if weights are missing and out of reach
            IQAError: if pyiqa is missing or the metric does not run here
        """
        from importlib.metadata import version

        from ..encoders.base import digest_of_arrays
        from ..encoders.factory import resolve_device

        check_runs(self.name)
        device = resolve_device(request.device)
        # pyiqa knows CUDA and the CPU; much of it needs float64
        device = "cpu" if device.startswith("mps") else device
        network = load_network(self.name, device)
        arrays = list(named_arrays(network))
        (output,) = self.spec.outputs
        return Configuration(
            identity={
                "pyiqa": self.name,
                "weights": digest_of_arrays(arrays) if arrays else "none",
                "preprocessing": _SIZES,
            },
            directions={output.suffix: output.direction},
            provenance={"pyiqa_version": version("pyiqa")},
            resources={"network": network, "device": device},
        )

    def build(self, configuration, request):
        """Returns a scorer around the network."""
        return PyiqaScorer(
            kind_of(self.name),
            configuration.resources["network"],
            configuration.resources["device"],
        )


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

        batch = torch.from_numpy(np.stack(images)).to(self.device)
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


def parse_range(text: str) -> tuple[float, float]:
    """Returns a score range as pyiqa writes it (``"~0, ~100"``).

    ``~`` marks a rough bound; a bare ``~`` is infinity.

    Examples:
        >>> parse_range("~0, ~100"), parse_range("0, ~")
        ((0.0, 100.0), (0.0, inf))
    """
    low, high = (part.strip().lstrip("~") for part in text.split(","))
    return (
        float(low) if low else -math.inf,
        float(high) if high else math.inf,
    )


def slug(name: str) -> str:
    """Returns a field name for a pyiqa name.

    Examples:
        >>> slug("clipiqa+_vitL14_512")
        'pyiqa_clipiqa_plus_vitl14_512'
    """
    words = re.sub(r"[^a-z0-9]+", "_", name.lower().replace("+", "_plus_"))
    return f"pyiqa_{words.strip('_')}"


@register_family("pyiqa")
def pyiqa_metric(name: str) -> PyiqaMetric:
    """Returns the metric ``pyiqa:<name>``.

    Direction and range are pyiqa's own.

    Raises:
        IQAError: if pyiqa is missing, has no such metric, or a rule refuses
            it (:func:`fiftyone_iqa.metrics.pyiqa_loading.check_runs`)
    """
    check_runs(name)
    entry = pyiqa_table()[name]
    return PyiqaMetric(
        name,
        MetricSpec(
            name=slug(name),
            title=f"pyiqa: {name}",
            summary=f"No-reference quality metric {name!r} of pyiqa",
            guidance="none",
            outputs=(
                Output(
                    "",
                    LOWER if entry.get("lower_better") else HIGHER,
                    parse_range(entry["score_range"]),
                    f"{name} as computed by pyiqa; the range is pyiqa's "
                    "estimate",
                ),
            ),
            licence=_LICENCE,
            weights=f"pyiqa's for {name}",
            paper=f"see pyiqa's documentation of {name}",
        ),
    )


def _baseline(name, title, direction, bounds, description, weights, paper):
    # Directions and ranges are repeated here, so that metrics are listed
    # without pyiqa; a test holds them equal to pyiqa's
    return MetricSpec(
        name=name,
        title=title,
        summary=f"{title}, computed by pyiqa",
        guidance="none",
        outputs=(Output("", direction, bounds, description),),
        licence=_LICENCE,
        weights=weights,
        paper=paper,
    )


@register
class Brisque(PyiqaMetric):
    """Registers ``brisque``."""

    def __init__(self):
        spec = _baseline(
            "brisque",
            "BRISQUE",
            LOWER,
            (0.0, 150.0),
            "BRISQUE: distance from natural scene statistics; the range is "
            "pyiqa's estimate",
            "brisque_svm_weights.pth",
            "Mittal, Moorthy & Bovik 2012",
        )
        super().__init__("brisque", spec)


@register
class CLIPIQA(PyiqaMetric):
    """Registers ``clipiqa``."""

    def __init__(self):
        spec = _baseline(
            "clipiqa",
            "CLIP-IQA",
            HIGHER,
            (0.0, 1.0),
            "CLIP-IQA: whether CLIP finds 'good' or 'bad' image prompts "
            "nearer, mean of five pairs",
            "OpenAI CLIP RN50",
            "Wang, Chan & Loy 2023",
        )
        super().__init__("clipiqa", spec)


@register
class ARNIQA(PyiqaMetric):
    """Registers ``arniqa``."""

    def __init__(self):
        spec = _baseline(
            "arniqa",
            "ARNIQA",
            HIGHER,
            (0.0, 1.0),
            "ARNIQA: regression to opinion scores (KonIQ-10k) from an "
            "encoder of distortions",
            "ARNIQA.pth, regressor_koniq10k.pth, torchvision ResNet-50",
            "Agnolucci et al. 2024",
        )
        super().__init__("arniqa", spec)
