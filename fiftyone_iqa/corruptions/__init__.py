"""Image corruptions, with the parameters of ImageNet-C.

The conditions and their five severities are those of D. Hendrycks and
T. Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions
and Perturbations", ICLR 2019, for images of any size. Everything here works
on arrays.
"""

# Importing a family registers its corruptions; the order is the benchmark's
from . import noise, blur, digital  # noqa: F401, I001
from .registry import SEVERITIES, corrupt, list_corruptions

__all__ = ["SEVERITIES", "corrupt", "list_corruptions"]
