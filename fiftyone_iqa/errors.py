"""Errors a caller can act on. Every message says what to do next."""


class IQAError(ValueError):
    """A call that cannot be carried out; raised before any work starts."""


class ConfigurationMismatchError(IQAError):
    """A field holds scores made under another configuration.

    What a score means is frozen with its field. The two ways out are another
    ``field_prefix=`` and overwriting the whole field.
    """


class ImageFailureError(RuntimeError):
    """An image could not be scored and ``skip_failures=False``."""


class WeightsUnavailableError(IQAError):
    """A metric's weights are neither here nor to be had; says what to do."""
