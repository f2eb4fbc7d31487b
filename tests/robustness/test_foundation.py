"""Algorithm 1, against itself written out image by image."""

import numpy as np
import pytest
import torch

from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.models import Normalisation, get_task_model
from fiftyone_iqa.preprocessing import ResizeCrop
from fiftyone_iqa.robustness.foundation import (
    canonical_image,
    model_loss,
    perturb,
    predict,
)
from fiftyone_iqa.robustness.generators import (
    CorruptionGenerator,
    StyleGenerator,
    get_generator,
)
from fiftyone_iqa.robustness.generators.base import Generator, State, to_pixels


class Brighter(Generator):
    """A toy: adds as many grey levels as the image's seed says."""

    name, guided, settings = "brighter", True, {}

    def __init__(self, budget):
        self.budget = budget

    def begin(self, images, seeds):
        return State({"image": images.copy()}, list(seeds))

    def step(self, state, t, loss):
        self.asked = loss(state.tensors["image"])
        added = np.array([int(seed) for seed in state.seeds], np.uint8)
        state.tensors["image"] += added[:, None, None, None]
        return state.tensors["image"].copy()


def published(image, seed, h, budget):
    """Algorithm 1 as printed, one image; and the steps it took."""
    x0 = image + np.uint8(seed)  # g(x, b0)
    if not h(x0):
        return image, 0
    x_hat, x, steps = x0, x0, 1
    while steps < budget:
        x = x + np.uint8(seed)
        if not h(x):
            break
        x_hat, steps = x, steps + 1
    return x_hat, steps


@pytest.mark.parametrize("budget", [1, 3, 8])
def test_it_is_the_published_algorithm(budget):
    rng = np.random.default_rng(budget)
    images = rng.integers(0, 100, (40, 4, 4, 3), dtype=np.uint8)
    seeds = rng.integers(1, 30, 40)
    limits = rng.integers(40, 200, 40)
    calls = []

    def accepts(x, rows):
        level = x.mean(axis=(1, 2, 3))
        return level <= limits[rows], level

    def loss(x, rows):
        calls.append(len(rows))
        assert len(x) == len(rows)
        return len(x)

    found = perturb(
        images, Brighter(budget), accepts, loss, [str(s) for s in seeds]
    )
    for i, image in enumerate(images):
        h = lambda x, limit=limits[i]: x.mean() <= limit  # noqa: E731
        expected, steps = published(image, seeds[i], h, budget)
        np.testing.assert_array_equal(found.images[i], expected)
        assert found.steps[i] == steps
        assert found.recognised[i] == h(image)
        assert found.score[i] == pytest.approx(expected.mean())
    assert (found.accepted == (found.steps > 0)).all()
    assert 0 < found.accepted.sum() < 40
    assert calls == sorted(calls, reverse=True), "the rejected go on"


def test_an_image_the_oracle_does_not_know_is_left_alone():
    images = np.zeros((3, 4, 4, 3), np.uint8)

    def accepts(x, rows):
        # Would take the first step of any of them
        good = (rows != 1) | (x.max(axis=(1, 2, 3)) > 0)
        return good, good.astype(float)

    found = perturb(
        images, Brighter(2), accepts, lambda x, r: x, ["1", "1", "1"]
    )
    assert found.steps.tolist() == [2, 0, 2]
    assert (found.images[1] == images[1]).all()


# Gradients ------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 5, 2),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(4),
        torch.nn.Flatten(),
        torch.nn.Linear(128, 3),
    )
    return get_task_model(
        net,
        "cpu",
        classes=["a", "b", "c"],
        transform=ResizeCrop(48, 56),
        normalisation=Normalisation((0.5,) * 3, (0.1,) * 3),
        slug="small",
    )


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("side", [64, 300])
def test_the_differentiable_resize_is_pillows(
    photographs, interpolation, side
):
    transform = ResizeCrop(56, 64, interpolation)
    for _, photo in photographs[:4]:
        image = np.ascontiguousarray(photo[:side, : side + 20])
        pixels = 255 * to_pixels(image[None])
        ours = transform.differentiably(pixels)[0].numpy()
        # Pillow rounds to 8 bits after rows and again after columns
        difference = np.abs(ours - transform(image))
        assert difference.max() <= 4
        assert difference.mean() <= 0.5


def test_logits_from_pixels_are_the_models(model, photographs):
    images = np.stack([canonical_image(p) for _, p in photographs[:4]])
    with torch.no_grad():
        ours = model.pixel_logits(255 * to_pixels(images)).numpy()
    real = model.logits(np.stack([model.preprocessing(i) for i in images]))
    np.testing.assert_allclose(ours, real, atol=0.02)
    classes, confidences = predict(model, images)
    np.testing.assert_array_equal(classes, real.argmax(axis=1))
    assert ((confidences > 1 / 3) & (confidences <= 1)).all()


def test_gradients_are_finite_differences(model):
    rng = np.random.default_rng(1)
    pixels = torch.from_numpy(rng.uniform(0.2, 0.8, (1, 3, 64, 64))).float()
    pixels.requires_grad_()
    (gradient,) = torch.autograd.grad(
        model_loss(model, pixels, [1])[0], pixels
    )
    direction = gradient.sign()
    for step in (1e-3, 3e-3):
        with torch.no_grad():
            up, down = (
                model_loss(model, pixels + s * step * direction, [1])[0]
                for s in (1, -1)
            )
        slope = float(up - down) / (2 * step)
        assert slope == pytest.approx(float(gradient.abs().sum()), rel=0.05)


def test_models_without_gradients_say_so():
    net = torch.nn.Flatten()
    model = get_task_model(
        net, "cpu", classes=["a", "b"], transform=lambda image: image
    )
    with pytest.raises(IQAError, match="ResizeCrop"):
        model.pixel_logits(torch.zeros(1, 3, 8, 8))


# Generators -----------------------------------------------------------------


@pytest.fixture(scope="module")
def images(photographs):
    return np.stack([canonical_image(p)[::4, ::4] for _, p in photographs[:4]])


def always(x, rows):
    return np.ones(len(x), bool), np.ones(len(x))


def test_style_begins_at_the_image_and_raises_the_loss(model, images):
    generator = StyleGenerator(6, 0.01)
    seeds = list("abcd")
    state = generator.begin(images, seeds)
    same = (255 * generator.render(state)).round().permute(0, 2, 3, 1)
    np.testing.assert_array_equal(same.numpy(), images)

    truths = predict(model, images)[0]
    losses = []
    for budget in (1, 3, 6):
        found = perturb(
            images,
            StyleGenerator(budget, 0.01),
            always,
            lambda x, at: model_loss(model, x, truths[at]),
            seeds,
        )
        with torch.no_grad():
            pixels = to_pixels(found.images)
            losses.append(model_loss(model, pixels, truths).numpy())
        changed = np.abs(found.images.astype(int) - images)
        # gain, bias, field (cubic: a little beyond 1), tone, four textures
        assert 0 < changed.max() <= 255 * 0.01 * budget * 6.5
    with torch.no_grad():
        before = model_loss(model, to_pixels(images), truths).numpy()
    losses = np.stack([before, *losses])
    assert (np.diff(losses, axis=0) > 0).mean() > 0.9
    assert (losses[-1] > losses[0]).all()


def test_style_depends_on_the_seed_and_not_on_the_batch(model, images):
    def run(images, seeds):
        return perturb(
            images,
            StyleGenerator(3, 0.02),
            always,
            lambda x, at: model_loss(model, x, np.zeros(len(at), int)),
            seeds,
        ).images

    first = run(images, list("abcd"))
    np.testing.assert_array_equal(first, run(images, list("abcd")))
    assert (first != run(images, list("efgh"))).any(axis=(1, 2, 3)).all()
    alone = np.concatenate(
        [run(images[i : i + 1], "abcd"[i]) for i in range(4)]
    )
    # A gradient's last bits can turn the sign of what hardly matters
    assert np.abs(alone.astype(int) - first).mean() < 0.5


def test_corruptions_are_one_set_of_rising_severity(images):
    from fiftyone_iqa.corruptions import corrupt

    generator = CorruptionGenerator(["gaussian_noise", "contrast"], 9)
    assert (generator.budget, generator.guided) == (5, False)
    seeds = list("abcd")
    found = perturb(images, generator, always, None, seeds)
    names = [generator.condition(seed) for seed in seeds]
    for image, made, name, seed in zip(images, found.images, names, seeds):
        np.testing.assert_array_equal(made, corrupt(image, name, 5, seed))
    drawn = {generator.condition(str(i)) for i in range(50)}
    assert drawn == {"gaussian_noise", "contrast"}


@pytest.mark.parametrize("name", ["stile", "vqgan", "vqgan//", 3, None])
def test_unknown_generators(name):
    with pytest.raises(IQAError, match="style"):
        get_generator(name)


def test_the_interface_admits_others():
    own = Brighter(2)
    assert get_generator(own, budget=9) is own
