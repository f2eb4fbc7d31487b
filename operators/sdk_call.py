"""What operators around one call of the SDK have in common."""

import fiftyone.operators as foo
from fiftyone.operators import types

from .progress import delegated, stream


def call_config(name, label, description, icon, **kwargs):
    """Returns the configuration of an operator around a long SDK call."""
    return foo.OperatorConfig(
        **{
            "name": name,
            "label": label,
            "description": description,
            "icon": icon,
            "dynamic": True,
            "execute_as_generator": True,
            "allow_immediate_execution": True,
            "allow_delegated_execution": True,
            "risk_level": types.RiskLevel.MEDIUM,
            **kwargs,
        }
    )


class SDKOperator(foo.Operator):
    """Live progress, delegation and a refresh around one SDK call.

    Subclasses say which in :meth:`call`, what became of it in :meth:`done`,
    and what it is from Python in :meth:`sdk`.
    """

    doing = "Working"

    def call(self, ctx, progress):
        """Makes the call; returns its result."""
        raise NotImplementedError

    def done(self, ctx, result):
        """Returns a sentence about a result, and JSON-able values."""
        raise NotImplementedError

    def variant(self, result):
        """Returns how the App shows the sentence."""
        return "success"

    @staticmethod
    def sdk(sample_collection, **kwargs):
        """Does the same from Python."""
        raise NotImplementedError

    def execute(self, ctx):
        """Makes the call.

        Returns:
            a generator of messages for the App; in a delegated operation the
            result as a dict
        """
        if ctx.delegated:
            result = delegated(
                ctx, lambda progress: self.call(ctx, progress), self.doing
            )
            return self.done(ctx, result)[1]
        return self._execute_live(ctx)

    def __call__(
        self,
        sample_collection,
        delegate=False,
        delegation_target=None,
        **kwargs,
    ):
        """Makes the call from Python.

        Args:
            sample_collection: a dataset or view
            delegate (False): whether to schedule the operation instead
            delegation_target (None): where to schedule it
            **kwargs: as for the SDK's function

        Returns:
            what that function returns, or with ``delegate`` FiftyOne's
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
            result = yield from stream(
                ctx, lambda progress: self.call(ctx, progress), self.doing
            )
        except Exception as e:
            yield ctx.ops.set_progress(
                label=f"{self.doing}: stopped", progress=0
            )
            yield ctx.ops.notify(str(e), variant="error")
            raise

        message, _ = self.done(ctx, result)
        yield ctx.ops.reload_dataset()
        yield ctx.ops.notify(message, variant=self.variant(result))


def invalid(inputs, name, message):
    """Adds a sentence to a form and keeps it from being executed."""
    prop = inputs.view(name, types.Error(label=message))
    prop.invalid = True
    prop.error_message = message
    return prop


def dropdown(inputs, name, values, label, description=None, **kwargs):
    """Adds a choice of one value; ``values`` are texts or (value, label)."""
    choices = types.DropdownView()
    for value in values:
        value, said = (value, value) if isinstance(value, str) else value
        choices.add_choice(value, label=said)
    return inputs.enum(
        name,
        choices.values(),
        label=label,
        description=description,
        view=choices,
        **kwargs,
    )


def several(inputs, name, values, label, description=None, **kwargs):
    """Adds a choice of several texts."""
    choices = types.DropdownView(multiple=True)
    for value in values:
        choices.add_choice(value, label=value)
    return inputs.list(
        name,
        types.String(),
        label=label,
        description=description,
        view=choices,
        **kwargs,
    )
