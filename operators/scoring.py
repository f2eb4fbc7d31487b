"""What operators that score images have in common."""

import fiftyone.operators as foo
from fiftyone.operators import types

from .progress import delegated, stream

_LABEL = "Scoring"


def scoring_config(name, label, description, icon):
    """Returns the configuration of an operator that scores images."""
    return foo.OperatorConfig(
        name=name,
        label=label,
        description=description,
        icon=icon,
        dynamic=True,
        execute_as_generator=True,
        allow_immediate_execution=True,
        allow_delegated_execution=True,
        allow_distributed_execution=True,
        # Adds fields; replaces scores only when told to
        risk_level=types.RiskLevel.MEDIUM,
    )


class ScoringOperator(foo.Operator):
    """Live progress, delegation and a refresh around one SDK call.

    Subclasses say which in :meth:`score`, and from Python in :meth:`sdk`.
    """

    def score(self, ctx, progress):
        """Scores the target view; returns a ``QualityReport``."""
        raise NotImplementedError

    @staticmethod
    def sdk(sample_collection, **kwargs):
        """Does the same from Python; returns a ``QualityReport``."""
        raise NotImplementedError

    def execute(self, ctx):
        """Scores the target view.

        Returns:
            a generator of messages for the App; in a delegated operation the
            report as a dict
        """
        if ctx.delegated:
            return delegated(
                ctx, lambda progress: self._run(ctx, progress), _LABEL
            ).to_dict()
        return self._execute_live(ctx)

    def __call__(
        self,
        sample_collection,
        delegate=False,
        delegation_target=None,
        **kwargs,
    ):
        """Scores a collection from Python.

        Args:
            sample_collection: a dataset or view
            delegate (False): whether to schedule the operation instead
            delegation_target (None): where to schedule it
            **kwargs: as for the SDK's function of this name

        Returns:
            a ``QualityReport``, or with ``delegate`` FiftyOne's
            ``ExecutionResult``
        """
        if not delegate:
            return self.sdk(sample_collection, **kwargs)

        return foo.execute_operator(
            self.uri,
            {"view": sample_collection.view()},
            params=kwargs,
            request_delegation=True,
            delegation_target=delegation_target,
        )

    def _execute_live(self, ctx):
        try:
            report = yield from stream(
                ctx, lambda progress: self._run(ctx, progress), _LABEL
            )
        except Exception as e:
            yield ctx.ops.set_progress(label=f"{_LABEL}: stopped", progress=0)
            yield ctx.ops.notify(str(e), variant="error")
            raise

        yield ctx.ops.reload_dataset()
        failed = f", {report.n_failed:,} failed" if report.n_failed else ""
        yield ctx.ops.notify(
            f"Image quality: {report.n - report.n_failed:,} of {report.n:,} "
            f"scored{failed} ({report.seconds['total']:.0f} s on "
            f"{report.device})",
            variant="warning" if report.n_failed else "success",
        )

    def _run(self, ctx, progress):
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
