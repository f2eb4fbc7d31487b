"""The VQGAN generator, end to end at random weights."""

import builtins

import numpy as np
import pytest
import torch

from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.robustness.foundation import perturb
from fiftyone_iqa.robustness.generators import get_generator
from fiftyone_iqa.robustness.generators.vqgan import (
    VQGANGenerator,
    fit_style_dimensions,
    load_vq_model,
    style_dimensions,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    diffusers = pytest.importorskip(
        "diffusers", reason="NOT RUN: the extra vqgan is not installed"
    )
    torch.manual_seed(0)
    model = diffusers.VQModel(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        latent_channels=4,
        num_vq_embeddings=64,
        norm_num_groups=4,
        vq_embed_dim=4,
    )
    # At its initialisation the codebook hardly differs between its entries
    torch.nn.init.normal_(model.quantize.embedding.weight)
    path = tmp_path_factory.mktemp("vq")
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)


def loss(pixels, rows=None):
    # Of a linear model: brighter reds, darker blues
    weights = torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1)
    return (weights * pixels).sum((1, 2, 3))


def test_it_runs_end_to_end(folder, images):
    generator = get_generator(f"vqgan//{folder}", budget=4, step_size=0.3)
    assert generator.settings["step_size"] == 0.3
    assert get_generator(f"vqgan//{folder}").settings["budget"] == 50

    def accepts(x, rows):
        # The oracle objects to every third image after two steps
        accepts.calls += 1
        return (rows % 3 > 0) | (accepts.calls <= 3), np.full(len(x), 0.5)

    accepts.calls = 0
    seeds = [str(i) for i in range(12)]
    found = perturb(images, generator, accepts, loss, seeds)
    assert found.steps.tolist() == [2, 4, 4] * 4
    assert found.accepted.all()
    with torch.no_grad():
        state = generator.begin(images, seeds)
        start = loss(generator.render(state))
        ends = torch.from_numpy(found.images).permute(0, 3, 1, 2) / 255
    assert (loss(ends) > start).float().mean() > 0.8

    accepts.calls = 0
    again = perturb(images, generator, accepts, loss, seeds)
    np.testing.assert_array_equal(again.images, found.images)
    assert perturb(images[:0], generator, accepts, loss, []).images.size == 0


def test_the_sparse_variant_moves_the_dimensions_of_style(folder, images):
    model = load_vq_model(folder)
    dense = VQGANGenerator(model, budget=3, step_size=0.3)
    seeds = ["s"] * len(images)
    found = style_dimensions(dense, images, loss, seeds, strength=0.5)
    assert 0 < found.mask.sum() < found.mask.size
    assert found.sparsity == pytest.approx(1 - found.mask.mean())
    assert 0.5 < found.test_score <= 1

    sparse = VQGANGenerator(model, 3, 0.3, found)
    assert sparse.settings != dense.settings
    state = sparse.begin(images, seeds)
    before = state.tensors["latents"].clone()
    sparse.step(state, 0, loss)
    moved = (state.tensors["latents"] != before).any(0).numpy()
    assert moved.any() and not (moved & ~found.mask).any()
    with pytest.raises(IQAError, match="strength"):
        style_dimensions(dense, images, loss, seeds, strength=1e6)
    with pytest.raises(IQAError, match="10 images"):
        style_dimensions(dense, images[:9], loss, seeds[:9])


def test_the_fit_finds_the_dimensions_that_were_moved():
    rng = np.random.default_rng(1)
    plain = rng.normal(size=(200, 2, 3, 3)).astype("f4")
    styled = plain.copy()
    styled[:, 0, 1, 1] += 2
    styled[:, 1, 0, 2] -= 2
    found = fit_style_dimensions(plain, styled, strength=20)
    expected = np.zeros((2, 3, 3), bool)
    expected[0, 1, 1] = expected[1, 0, 2] = True
    np.testing.assert_array_equal(found.mask, expected)
    assert found.test_score > 0.85


def test_mistakes(folder, tmp_path, monkeypatch):
    with pytest.raises(IQAError, match=r"config\.json"):
        load_vq_model(tmp_path)
    (tmp_path / "config.json").write_bytes(
        (folder / "config.json").read_bytes()
    )
    with pytest.raises(IQAError, match="cannot be loaded"):
        load_vq_model(tmp_path)

    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "diffusers":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(IQAError, match=r"fiftyone-iqa\[vqgan\]"):
        load_vq_model(folder)
