"""FGSM and PGD: budgets, closed forms, seeds, batches, real networks."""

import pytest

from fiftyone_iqa.robustness import attacks
from fiftyone_iqa.robustness.stages import pixels_of

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def linear():
    """Logits that are linear in the pixels: attacks are known exactly."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 3 * 8 * 8, generator=generator)
    return lambda x: x.flatten(1) @ weight.T, weight


@pytest.fixture(scope="module")
def pixels():
    return torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def truth():
    return torch.eye(3, dtype=torch.bool)[torch.tensor([0, 1, 2, 0, 1])]


def test_loss_is_the_cross_entropy(linear, pixels, truth):
    logits = linear[0](pixels)
    expected = torch.nn.functional.cross_entropy(
        logits, truth.int().argmax(dim=1), reduction="none"
    )
    assert torch.allclose(attacks.loss(logits, truth), expected, atol=1e-5)


def test_loss_of_several_right_classes():
    logits = torch.tensor([[0.0, 1.0, 2.0]])
    truth = torch.tensor([[True, True, False]])
    share = logits.softmax(1)[0, :2].sum()
    assert float(attacks.loss(logits, truth)) == pytest.approx(
        -float(share.log())
    )


def test_fgsm_is_the_sign_of_the_gradient(linear, pixels, truth):
    logits_of, weight = linear
    changed = attacks.fgsm(logits_of, pixels, truth, 0.05)
    # d loss / d x = W^T (softmax - one hot)
    slope = (logits_of(pixels).softmax(1) - truth.float()) @ weight
    expected = pixels + 0.05 * slope.view_as(pixels).sign()
    assert torch.allclose(changed, expected.clamp(0, 1), atol=1e-6)


@pytest.mark.parametrize("seeds", [None, [1, 2, 3, 4, 5]])
def test_pgd_keeps_its_budget_and_raises_the_loss(
    linear, pixels, truth, seeds
):
    logits_of, _ = linear
    kept = pixels.clone()
    changed = attacks.pgd(logits_of, pixels, truth, 0.03, seeds=seeds)
    assert torch.equal(pixels, kept)
    assert (changed - pixels).abs().max() <= 0.03 + 1e-6
    assert changed.min() >= 0 and changed.max() <= 1
    before = attacks.loss(logits_of(pixels), truth)
    after = attacks.loss(logits_of(changed), truth)
    assert (after > before).all()


def test_seeds_decide_and_batches_do_not(linear, pixels, truth):
    logits_of, _ = linear

    def attack(rows, seeds):
        # One step, so that the random start still shows
        return attacks.pgd(
            logits_of,
            pixels[rows],
            truth[rows],
            0.1,
            step_size=0.01,
            n_steps=1,
            seeds=seeds,
        )

    rows = [0, 1, 2, 3, 4]
    whole = attack(rows, rows)
    assert torch.equal(whole, attack(rows, rows))
    assert not torch.equal(whole, attack(rows, [9, 9, 9, 9, 9]))
    parts = torch.cat([attack([i], [i]) for i in rows])
    assert torch.allclose(whole, parts, atol=1e-6)


def test_through_a_networks_normalisation():
    from fiftyone_iqa.models import Normalisation, get_task_model
    from fiftyone_iqa.preprocessing import ResizeCrop

    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 4),
    )
    model = get_task_model(
        network,
        classes=list("abcd"),
        transform=ResizeCrop(16, 16),
        normalisation=Normalisation(
            (104, 117, 123), (50, 60, 70), scale=1.0, channels="bgr"
        ),
    )
    batch = torch.randint(
        0, 256, (6, 3, 16, 16), generator=torch.Generator().manual_seed(2)
    ).to(torch.uint8)
    pixels, logits_of = pixels_of(model, batch.numpy())
    assert pixels.min() >= 0 and pixels.max() <= 1
    logits = logits_of(pixels)
    assert torch.allclose(
        logits, torch.from_numpy(model.logits(batch)), atol=1e-4
    )
    truth = torch.eye(4, dtype=torch.bool)[logits.argmax(1)]
    small = attacks.pgd(logits_of, pixels, truth, 1 / 255, seeds=range(6))
    large = attacks.pgd(logits_of, pixels, truth, 32 / 255, seeds=range(6))
    losses = [
        float(attacks.loss(logits_of(x), truth).detach().mean())
        for x in (pixels, small, large)
    ]
    assert losses == sorted(losses) and losses[2] > losses[0] + 0.01
    # Weights have gathered no gradients meanwhile
    assert all(p.grad is None for p in network.parameters())


def test_a_transform_that_normalises_cannot_be_attacked():
    from fiftyone_iqa.models import get_task_model
    from fiftyone_iqa.robustness.stages import why_not_attackable

    network = torch.nn.Sequential(
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(3, 2),
    )

    def normalised(image):
        import numpy as np

        x = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        return (x.float() / 255 - 0.5) / 0.2

    def scaled(image):
        import numpy as np

        return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255

    for transform, attackable in ((normalised, False), (scaled, True)):
        model = get_task_model(
            network, classes=["a", "b"], transform=transform
        )
        why = why_not_attackable(model)
        assert (why is None) == attackable, why
