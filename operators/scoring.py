"""What operators that score images have in common."""

from .sdk_call import SDKOperator, call_config


def scoring_config(name, label, description, icon):
    """Returns the configuration of an operator that scores images."""
    # Adds fields; replaces scores only when told to
    return call_config(
        name, label, description, icon, allow_distributed_execution=True
    )


class ScoringOperator(SDKOperator):
    """An SDK call that scores the target view.

    Subclasses say which in :meth:`score`, and from Python in :meth:`sdk`;
    both return a ``QualityReport``.
    """

    doing = "Scoring"

    def score(self, ctx, progress):
        """Scores the target view; returns a ``QualityReport``."""
        raise NotImplementedError

    def call(self, ctx, progress):
        """Scores, and makes the new fields easy to find."""
        from fiftyone_iqa.sidebar import index_fields, show_in_sidebar

        report = self.score(ctx, progress)
        fields = [field for m in report.metrics for field in m.fields]
        if report.field_root:
            return report
        if ctx.params.get("sidebar_group", True):
            show_in_sidebar(ctx.dataset, fields)
        if ctx.params.get("create_index", False):
            index_fields(ctx.dataset, fields)
        return report

    def done(self, ctx, result):
        """Returns a sentence about a report, and its counts."""
        failed = f", {result.n_failed:,} failed" if result.n_failed else ""
        message = (
            f"Image quality: {result.n - result.n_failed:,} of {result.n:,} "
            f"scored{failed} ({result.seconds['total']:.0f} s on "
            f"{result.device})"
        )
        return message, result.to_dict()

    def variant(self, result):
        """Returns a warning where images failed."""
        return "warning" if result.n_failed else "success"


def run_arguments(params):
    """Returns the arguments that all scoring calls of the SDK take."""
    arguments = {}
    for name in ("temperature", "templates", "field_prefix"):
        if params.get(name) not in (None, ""):
            arguments[name] = params[name]
    for name in ("batch_size", "num_workers", "device"):
        if params.get(name) is not None:
            arguments[name] = params[name]
    for name in ("overwrite", "skip_failures", "cache"):
        if name in params:
            arguments[name] = params[name]
    return arguments
