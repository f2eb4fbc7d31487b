"""Changes of style in pixel space: needs no weights, and runs on a CPU."""

from __future__ import annotations

from .base import GuidedGenerator, State, to_pixels, torch_generator

_GRID = 4  # cells of the colour field along a side
_OCTAVES = (2, 4, 8, 16)  # pixels per cell of the textures
_TEXTURE = 0.5  # a texture's largest change, in the units of the others
_DARKEST = 1 / 512  # the tone curve's slope has no end at 0


class StyleGenerator(GuidedGenerator):
    """Moves colours, contrast, tone and texture, and no edge.

    An image x in 0...1 becomes

        clip(x^exp(tone) · (1 + gain) + bias + field + Σ c·texture)

    with a gain and a bias per channel, a colour field of 4 x 4 cells,
    interpolated, and grey textures of 2 to 16 pixels, drawn from the seed.
    These 59 parameters begin at 0 and move by ``step_size`` a step: a step of
    0.01 moves a pixel by up to 2.5 grey levels for each of gain, bias and
    field, by up to 0.9 for tone and 1.3 for each of four textures.

    A substitute for the paper's VQGAN where no weights are to be had. Its
    numbers are not the paper's.

    Args:
        budget (20): B, the most steps
        step_size (0.01): see above
        device ("cpu"): a torch device name
    """

    name = "style"

    def __init__(
        self, budget: int = 20, step_size: float = 0.01, device="cpu"
    ):
        super().__init__(budget, step_size)
        self._device = device

    def begin(self, images, seeds):
        """See :meth:`Generator.begin`."""
        import torch

        n, side = len(images), images.shape[1]
        sizes = {
            "tone": (1, 1, 1),
            "gain": (3, 1, 1),
            "bias": (3, 1, 1),
            "field": (3, _GRID, _GRID),
            "texture": (len(_OCTAVES), 1, 1),
        }
        tensors = {
            name: torch.zeros(n, *size, device=self._device)
            for name, size in sizes.items()
        }
        tensors["image"] = to_pixels(images, self._device)
        tensors["patterns"] = torch.stack(
            [_patterns(seed, side) for seed in seeds]
        ).to(self._device)
        return State(tensors, list(seeds))

    def parameters(self, state):
        """See :meth:`GuidedGenerator.parameters`."""
        return ["tone", "gain", "bias", "field", "texture"]

    def render(self, state):
        """See :meth:`GuidedGenerator.render`."""
        import torch

        t = state.tensors
        image = t["image"]
        field = torch.nn.functional.interpolate(
            t["field"], size=image.shape[-2:], mode="bicubic"
        )
        texture = (t["texture"] * t["patterns"]).sum(1, keepdim=True)
        toned = image.clamp(min=_DARKEST) ** t["tone"].exp()
        # As it was where nothing moved yet
        toned = toned + (image - image.clamp(min=_DARKEST))
        styled = toned * (1 + t["gain"]) + t["bias"] + field
        return (styled + _TEXTURE * texture).clamp(0, 1)


def _patterns(seed, side):
    """Returns ``(4, side, side)`` noise in -1...1, one per octave."""
    import torch

    generator = torch_generator(seed, "texture")
    patterns = []
    for pixels in _OCTAVES:
        cells = max(2, side // pixels)
        noise = torch.randn(1, 1, cells, cells, generator=generator)
        noise = torch.nn.functional.interpolate(
            noise, size=(side, side), mode="bicubic"
        )
        patterns.append(noise[0, 0] / noise.abs().max())
    return torch.stack(patterns)
