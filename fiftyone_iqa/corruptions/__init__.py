"""Image corruptions, with the parameters of ImageNet-C.

The conditions and their five severities are those of D. Hendrycks and
T. Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions
and Perturbations", ICLR 2019, for images of any size. At 224 pixels and with
equal random draws, pixels are those of the authors' code to a grey level or
two, except of frost, whose ice is procedural. Parameters are in pixels: what
is strong at 224 pixels is milder on a large photograph. Everything here works
on arrays.
"""

# Importing a family registers its corruptions; the order is the benchmark's
from . import noise, blur, weather, digital  # noqa: F401, I001
from .protocols import CLEAN, PROTOCOLS, prepare_image
from .registry import (
    SEVERITIES,
    corrupt,
    get_corruption,
    list_corruptions,
    seed_of,
)

__all__ = [
    "CLEAN",
    "PROTOCOLS",
    "SEVERITIES",
    "corrupt",
    "get_corruption",
    "list_corruptions",
    "prepare_image",
    "seed_of",
]
