"""Image generators for foundation-model-oriented robustness."""

from ...errors import IQAError
from .base import Generator, GuidedGenerator, State
from .corruption import CorruptionGenerator
from .style import StyleGenerator

GENERATORS = ("style", "corruption", "vqgan//PATH")

__all__ = [
    "GENERATORS",
    "CorruptionGenerator",
    "Generator",
    "GuidedGenerator",
    "State",
    "StyleGenerator",
    "get_generator",
]


def get_generator(generator, budget=None, step_size=None, device="cpu"):
    """Returns an image generator.

    Args:
        generator: ``"style"``, ``"corruption"``, ``"vqgan//PATH"`` (a folder
            that diffusers' ``VQModel`` was saved to), or a
            :class:`Generator`, returned as it is
        budget (None): B, the most steps; by default the generator's own
        step_size (None): by default the generator's own; ``corruption`` has
            none
        device ("cpu"): a torch device name

    Raises:
        IQAError: if there is no such generator, or its package is missing
    """
    if isinstance(generator, Generator):
        return generator
    if not isinstance(generator, str):
        raise IQAError(
            f"generator must be one of {', '.join(GENERATORS)}, or a "
            f"Generator; got {type(generator).__name__}"
        )
    options = {"budget": budget, "step_size": step_size}
    options = {k: v for k, v in options.items() if v is not None}
    if generator == "corruption":
        options.pop("step_size", None)
        return CorruptionGenerator(**options)
    if generator == "style":
        return StyleGenerator(**options, device=device)
    name, _, path = generator.partition("//")
    if name == "vqgan" and path:
        from .vqgan import VQGANGenerator, load_vq_model

        return VQGANGenerator(load_vq_model(path, device), **options)
    raise IQAError(
        f"Unknown generator {generator!r}; there are {', '.join(GENERATORS)}"
    )
