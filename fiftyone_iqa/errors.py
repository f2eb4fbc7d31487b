"""Errors a caller can act on. Every message says what to do next."""


class IQAError(ValueError):
    """A call that cannot be carried out.

    Raised before any work starts, unless what it works on goes away.
    """


class ConfigurationMismatchError(IQAError):
    """A field holds scores made under another configuration.

    What a score means is frozen with its field. The two ways out are another
    ``field_prefix=`` and overwriting the whole field.
    """


class DatabaseUnreachableError(IQAError):
    """The database went away during a call, which can be made again."""


class DatasetDeletedError(IQAError):
    """The dataset was deleted during a call, by whatever process."""


class ImageFailureError(RuntimeError):
    """An image could not be scored and ``skip_failures=False``."""


class WeightsUnavailableError(IQAError):
    """A metric's weights are neither here nor to be had; says what to do."""
