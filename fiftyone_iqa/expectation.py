"""The accuracy to expect of a collection, by a quality prior."""

from __future__ import annotations

from collections.abc import Sequence

from .analysis.expected import ExpectedAccuracy
from .analysis.expected import expected_accuracy as _expected_accuracy
from .analysis.prior import QualityPrior
from .arguments import checked
from .quality_columns import QualityColumns, metric_fields


@checked
def expected_accuracy(
    samples,
    prior: QualityPrior,
    by: Sequence[str] | str | None = None,
    source: str | None = None,
) -> ExpectedAccuracy:
    """Estimates the accuracy on images without labels, by a prior.

    Args:
        samples: a dataset or view that has the prior's quality fields
        prior: from a run, or from :func:`fiftyone_iqa.load_prior`
        by (None): a field (or several) whose values are slices to give apart
        source (None): field that names the original image of each sample;
            by default ``source_id`` where the dataset has it

    Raises:
        ConfigurationMismatchError: if a field was computed under another
            configuration than the prior's
        IQAError: if a field is missing
    """
    fields = metric_fields(samples, list(prior.metrics))
    slices = () if by is None else [by] if isinstance(by, str) else list(by)
    columns = QualityColumns(samples, fields, source, also=slices)
    return _expected_accuracy(
        prior,
        columns.quality,
        source=columns.source,
        slices=None if by is None else columns.names(by),
        identities=[field.identity for field in fields],
    )
