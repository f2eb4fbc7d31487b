"""The paper's generator: steps in the latent space of a VQGAN (section 3.2).

Needs the extra ``vqgan`` (diffusers) and a pretrained model. Nobody has run
it with pretrained weights here: tests run it at random ones.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from ...errors import IQAError
from .base import GuidedGenerator, State, to_pixels

BUDGET = 50
STEP_SIZE = 0.001
"""Both of section 4.1."""

STRENGTH = 36.36
"""λ of the ℓ1 penalty, appendix I."""


def load_vq_model(path, device="cpu"):
    """Loads a ``diffusers.VQModel`` from a folder.

    Args:
        path: of the folder, with ``config.json`` and safetensors weights
        device ("cpu"): a torch device name

    Returns:
        the module, in evaluation mode

    Raises:
        IQAError: if diffusers is not installed, or the folder has no model
    """
    VQModel = _vq_model_class()
    path = os.path.expanduser(path)
    if not os.path.isfile(os.path.join(path, "config.json")):
        raise IQAError(
            f"{path!r} is no folder with a VQModel: it lacks config.json"
        )
    try:
        model = VQModel.from_pretrained(
            path, use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError, TypeError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise IQAError(
            f"The VQModel in {path!r} cannot be loaded: {reason}"
        ) from None
    return model.eval().to(device)


def _vq_model_class():
    try:
        from diffusers import VQModel
    except ImportError:
        raise IQAError(
            "The generator vqgan needs diffusers: pip install "
            '"fiftyone-iqa[vqgan]"'
        ) from None
    return VQModel


class VQGANGenerator(GuidedGenerator):
    """Optimises the latents that a VQGAN's encoder makes of an image.

    Images after any step are the decoder's, quantised in between, so what
    the VQGAN cannot reconstruct is lost at the first step.

    Args:
        model: a ``diffusers.VQModel``
        budget (50): B, the most steps
        step_size (0.001): by which a latent dimension moves in a step
        dimensions (None): a :class:`StyleDimensions`: only these move, the
            sparse variant of section 3.2.1
    """

    name = "vqgan"

    def __init__(
        self,
        model,
        budget: int = BUDGET,
        step_size: float = STEP_SIZE,
        dimensions: StyleDimensions | None = None,
    ):
        super().__init__(budget, step_size)
        self._model = model
        self._mask = None
        if dimensions is not None:
            import torch

            mask = torch.from_numpy(dimensions.mask.astype(np.float32))
            self._mask = mask.to(next(model.parameters()).device)

    @property
    def settings(self):
        """See :attr:`Generator.settings`."""
        from ...encoders.base import digest_of_arrays

        sparse = self._mask is not None
        return {
            **super().settings,
            "weights": digest_of_arrays(self._model.state_dict().items()),
            "dimensions": digest_of_arrays([("mask", self._mask)])
            if sparse
            else None,
        }

    def begin(self, images, seeds):
        """See :meth:`Generator.begin`."""
        return State({"latents": self.encode(images)}, list(seeds))

    def encode(self, images: np.ndarray):
        """Returns ``(n, c, h, w)`` latents of ``(n, s, s, 3)`` uint8."""
        import torch

        device = next(self._model.parameters()).device
        pixels = to_pixels(images, device)
        with torch.no_grad():
            return self._model.encode(2 * pixels - 1).latents

    def quantise(self, latents):
        """Returns latents as the decoder gets them."""
        import torch

        with torch.no_grad():
            return self._model.quantize(latents)[0]

    def parameters(self, state):
        """See :meth:`GuidedGenerator.parameters`."""
        return ["latents"]

    def render(self, state):
        """See :meth:`GuidedGenerator.render`."""
        decoded = self._model.decode(state.tensors["latents"]).sample
        return ((decoded + 1) / 2).clamp(0, 1)

    def masked(self, step):
        """See :meth:`GuidedGenerator.masked`."""
        return step if self._mask is None else step * self._mask


@dataclass(frozen=True)
class StyleDimensions:
    """The latent dimensions that tell styled from original images.

    Attributes:
        mask: ``(c, h, w)`` bools
        test_score: accuracy on the fifth that was kept out of the fit
    """

    mask: np.ndarray
    test_score: float

    @property
    def sparsity(self) -> float:
        """Share of the dimensions that stay as they are, 0 to 1."""
        return 1 - float(self.mask.mean())


def style_dimensions(
    generator: VQGANGenerator,
    images: np.ndarray,
    loss,
    seeds: list[str],
    strength: float = STRENGTH,
    seed: int = 51,
) -> StyleDimensions:
    """Finds the dimensions of style by ℓ1 logistic regression (3.2.1).

    Originals (label 0) are the encoder's latents; styled images (label 1)
    are the latents after B steps, quantised. Both are flattened; a fifth is
    kept out to test the fit (appendix I).

    Args:
        generator: the dense generator
        images: ``(n, s, s, 3)`` uint8 RGB, n at least 10
        loss: of θ, as :meth:`Generator.step` takes it
        seeds: n texts
        strength (36.36): λ of Σ loss + λ‖w‖₁
        seed (51): of the split and the solver

    Raises:
        IQAError: for too few images, or if no dimension is left
    """
    if len(images) < 10:
        raise IQAError("Style dimensions need at least 10 images")

    state = generator.begin(images, seeds)
    plain = state.tensors["latents"].clone()
    for t in range(generator.budget):
        generator.step(state, t, loss)
    styled = generator.quantise(state.tensors["latents"])
    return fit_style_dimensions(
        plain.cpu().numpy(), styled.cpu().numpy(), strength, seed
    )


def fit_style_dimensions(
    plain: np.ndarray,
    styled: np.ndarray,
    strength: float = STRENGTH,
    seed: int = 51,
) -> StyleDimensions:
    """Fits the regression of :func:`style_dimensions`.

    Args:
        plain: ``(n, c, h, w)`` latents of originals
        styled: ``(n, c, h, w)`` latents of the same, styled
        strength (36.36): λ
        seed (51): of the split and the solver
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    n = len(plain)
    rows = np.concatenate([plain, styled]).reshape(2 * n, -1)
    labels = np.repeat([0, 1], n)
    fit, test, fit_labels, test_labels = train_test_split(
        rows, labels, test_size=0.2, stratify=labels, random_state=seed
    )
    # scikit-learn minimises C·Σ loss + ‖w‖₁
    model = LogisticRegression(
        C=1 / strength,
        l1_ratio=1,
        solver="saga",
        max_iter=1000,
        random_state=seed,
    ).fit(fit, fit_labels)
    mask = (model.coef_[0] != 0).reshape(plain.shape[1:])
    if not mask.any():
        raise IQAError(
            f"No dimension tells styled from original images at strength "
            f"{strength:g}; lower it, or style the images by more steps"
        )
    return StyleDimensions(mask, float(model.score(test, test_labels)))
