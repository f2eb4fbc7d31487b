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
from .compare_quality import CompareQuality
from .compute_confusion import ComputeConfusion
from .compute_correctness import ComputeCorrectness, QualityFromPredictions
from .compute_predictions import ComputePredictions
from .compute_quality import ComputeQuality
from .corrupt_dataset import CorruptDataset
from .delete_iqa import DeleteIQA
from .export_low_quality import ExportLowQuality
from .find_low_quality import FindLowQuality
from .foundation_robustness import FoundationRobustness
from .image_quality_panel import ImageQualityPanel
from .list_quality_metrics import ListQualityMetrics
from .manage_quality_runs import ManageQualityRuns
from .model_quality import ModelQuality
from .model_quality_panel import ModelQualityPanel
from .open_workspace import OpenWorkspace


def register(plugin):
    """Registers everything that fiftyone.yml lists."""
    plugin.register(ComputeQuality)
    plugin.register(ComputePredictions)
    plugin.register(ComputeConfusion)
    plugin.register(ComputeCorrectness)
    plugin.register(QualityFromPredictions)
    plugin.register(ListQualityMetrics)
    plugin.register(BuildQualityPrior)
    plugin.register(FindLowQuality)
    plugin.register(CompareQuality)
    plugin.register(CorruptDataset)
    plugin.register(FoundationRobustness)
    plugin.register(ExportLowQuality)
    plugin.register(ManageQualityRuns)
    plugin.register(DeleteIQA)
    plugin.register(OpenWorkspace)
    plugin.register(ImageQualityPanel)
    plugin.register(ModelQuality)
    plugin.register(ModelQualityPanel)
