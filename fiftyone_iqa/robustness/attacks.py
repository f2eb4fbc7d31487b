"""Adversarial examples: FGSM and PGD in the maximum norm.

Goodfellow et al. 2015 and Madry et al. 2018, untargeted. Pure torch: pixels
in [0, 1], any function from pixels to logits. An image's example depends on
the image, its seed and the settings, not on the batch it is in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

EPSILON = 8 / 255
N_STEPS = 10


def loss(logits, truth):
    """Computes minus the log-probability of the true class, image by image.

    With one true class it is the cross-entropy.

    Args:
        logits: ``(n, K)`` tensor
        truth: ``(n, K)`` bool tensor, True at the classes that are right

    Returns:
        ``(n,)`` tensor, at least 0
    """
    right = logits.masked_fill(~truth, -float("inf"))
    return logits.logsumexp(dim=1) - right.logsumexp(dim=1)


def fgsm(logits_of: Callable, pixels, truth, epsilon: float = EPSILON):
    """Takes one step along the sign of the loss's gradient.

    Args:
        logits_of: ``(n, 3, h, w)`` pixels to ``(n, K)`` logits, with
            gradients
        pixels: ``(n, 3, h, w)`` float tensor in [0, 1]
        truth: ``(n, K)`` bool tensor, True at the classes that are right
        epsilon (8/255): the largest change of a pixel

    Returns:
        ``(n, 3, h, w)`` tensor in [0, 1]
    """
    step = _gradient(logits_of, pixels, truth).sign_()
    return pixels.add(step, alpha=epsilon).clamp_(0, 1)


def pgd(
    logits_of: Callable,
    pixels,
    truth,
    epsilon: float = EPSILON,
    step_size: float | None = None,
    n_steps: int = N_STEPS,
    seeds: Sequence[int] | None = None,
):
    """Takes projected gradient steps from a random start.

    Args:
        logits_of: ``(n, 3, h, w)`` pixels to ``(n, K)`` logits, with
            gradients
        pixels: ``(n, 3, h, w)`` float tensor in [0, 1]
        truth: ``(n, K)`` bool tensor, True at the classes that are right
        epsilon (8/255): the largest change of a pixel
        step_size (None): of one step, by default a quarter of ``epsilon``
        n_steps (10): steps
        seeds (None): one int for each image's random start; by default it
            starts at the image itself

    Returns:
        ``(n, 3, h, w)`` tensor in [0, 1], of the last step
    """
    step_size = epsilon / 4 if step_size is None else step_size
    found = pixels
    if seeds is not None:
        found = (pixels + _starts(pixels, epsilon, seeds)).clamp_(0, 1)
    low, high = pixels - epsilon, pixels + epsilon
    for _ in range(n_steps):
        step = _gradient(logits_of, found, truth).sign_()
        found = found.add(step, alpha=step_size)
        found = found.maximum(low).minimum(high).clamp_(0, 1)
    return found


def _gradient(logits_of, pixels, truth):
    import torch

    pixels = pixels.detach().requires_grad_()
    with torch.enable_grad():
        # A sum, so that no image's gradient depends on its neighbours
        total = loss(logits_of(pixels), truth).sum()
        (gradient,) = torch.autograd.grad(total, pixels)
    return gradient


def _starts(pixels, epsilon, seeds):
    """Returns noise drawn on the CPU: the same on every device."""
    import torch

    drawn = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(int(seed))
        drawn.append(torch.rand(pixels.shape[1:], generator=generator))
    noise = torch.stack(drawn).to(pixels.device, pixels.dtype)
    return (2 * noise - 1) * epsilon
