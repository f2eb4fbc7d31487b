"""The App layer of fiftyone_iqa: operators, registered by FiftyOne.

FiftyOne executes this file on every request, so it only imports and
registers.
"""

try:
    import fiftyone_iqa  # noqa: F401
except ImportError:
    # Downloaded as a plugin: the package lies beside this folder
    import sys
    from pathlib import Path

    sys.path.append(str(Path(__file__).resolve().parents[1]))

from .build_quality_prior import BuildQualityPrior
from .compute_correctness import ComputeCorrectness, QualityFromPredictions
from .compute_predictions import ComputePredictions
from .compute_quality import ComputeQuality
from .image_quality_panel import ImageQualityPanel
from .list_quality_metrics import ListQualityMetrics


def register(plugin):
    """Registers everything that fiftyone.yml lists."""
    plugin.register(ComputeQuality)
    plugin.register(ComputePredictions)
    plugin.register(ComputeCorrectness)
    plugin.register(QualityFromPredictions)
    plugin.register(ListQualityMetrics)
    plugin.register(BuildQualityPrior)
    plugin.register(ImageQualityPanel)
