"""Training in lockstep: determinism, checkpoints, and being killed."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import fiftyone_iqa as fiqa
from fiftyone_iqa.confusion.ensemble import (
    Ensemble,
    Member,
    Recipe,
    read_checkpoint,
)
from fiftyone_iqa.confusion.inputs import Features, Pixels
from fiftyone_iqa.confusion.networks import network_builder
from fiftyone_iqa.confusion.objectives import ERM
from fiftyone_iqa.confusion.score import confusion_scores
from fiftyone_iqa.errors import IQAError

from .conftest import stripes

IMAGES, LABELS, CONTRAST = stripes(96)
TRAIN, HELD = np.arange(48), np.arange(48, 96)


def step(n):
    """Stands for a progress bar."""


def make(seeds=(0, 1), epochs=3, directory=None, model="resnet8", **kwargs):
    inputs = Pixels(IMAGES)
    return Ensemble(
        network_builder(model, 2, inputs.shape),
        seeds,
        inputs,
        LABELS,
        Recipe(epochs=epochs, batch_size=16),
        lambda: ERM(TRAIN),
        directory=directory,
        **kwargs,
    )


def test_the_score_is_that_of_its_probabilities():
    ensemble = make()
    kept = []
    expected = make().score(HELD, step)
    for epoch in range(1, 4):
        ensemble.train_epoch(epoch, step)
        parts = [p for _, p in ensemble.probabilities(HELD)]
        kept.append(np.concatenate(parts, axis=1))
    scores = confusion_scores(np.stack(kept))
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_seeds_settle_everything():
    import torch

    one = make().score(HELD, step)
    torch.manual_seed(123)
    state = torch.random.get_rng_state()
    np.testing.assert_array_equal(make().score(HELD, step), one)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (make(seeds=(2, 3)).score(HELD, step) != one).any()
    # A member does not depend on which others there are
    alone, both = make((1,)), make((0, 1))
    for ensemble in (alone, both):
        ensemble.fit(step)
    (_, p), (_, q) = (next(e.probabilities(HELD)) for e in (alone, both))
    np.testing.assert_array_equal(p[0], q[1])


def test_it_learns_and_is_confused_by_faint_stripes():
    ensemble = make(epochs=8)
    scores = ensemble.score(HELD, step)
    (_, p), *_ = ensemble.probabilities(HELD)
    right = p.mean(axis=0).argmax(axis=1) == LABELS[HELD]
    clear = CONTRAST[HELD] > 0.3
    assert right[clear].mean() > 0.9
    assert scores[~clear].mean() > scores[clear].mean()


def test_a_run_that_stops_anywhere_goes_on(tmp_path):
    expected = make().score(HELD, step)
    n_total = 2 * 3 * (len(TRAIN) + len(HELD))

    class Stop(Exception):
        pass

    done = 0
    for stop_after in (20, 60, 130, 230, 300, 420, 500):
        seen = 0

        def stopping(n, limit=stop_after):
            nonlocal seen
            seen += n
            if seen > limit:
                raise Stop

        with pytest.raises(Stop):
            make(directory=tmp_path).score(HELD, stopping)
        state = read_checkpoint(tmp_path / "scores.pt")
        done = max(done, state["n_epochs"] if state else 0)
    assert done >= 1
    counted = []
    scores = make(directory=tmp_path).score(HELD, counted.append)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert sum(counted) == n_total


def test_heads_on_features():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 8))
    labels = np.arange(90) % 3
    features = (centres[labels] + rng.normal(size=(90, 8)) * 0.5) / 50
    inputs = Features(features.astype(np.float32))
    for model in ("linear", "mlp"):
        ensemble = Ensemble(
            network_builder(model, 3, inputs.shape),
            [0, 1],
            inputs,
            labels,
            Recipe(epochs=20, batch_size=8, learning_rate=1e-2),
            lambda: ERM(np.arange(60)),
        )
        ensemble.fit(step)
        (rows, p), *_ = ensemble.probabilities(np.arange(60, 90))
        assert (p.mean(axis=0).argmax(axis=1) == labels[rows]).mean() > 0.8


def test_divergence_is_said():
    ensemble = make(seeds=(0,))
    ensemble.members[0].module[0].weight.data.fill_(float("nan"))
    with pytest.raises(IQAError, match="Training diverged"):
        ensemble.train_epoch(1, step)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("resnet9", "did you mean"),
        ("timm:no-such", "Unknown network"),
        ("vgg11//x", "Unknown network"),
        (3, "must be the name"),
        (lambda n: "no module", "takes no input"),
        ("linear", "takes no input|returns shape"),
    ],
)
def test_networks_that_do_not_fit(model, said):
    with pytest.raises(IQAError, match=said):
        network_builder(model, 2, (3, 16, 16))


def test_networks_of_libraries():
    import torch

    for model in ("squeezenet1_1", "timm:resnet10t", "vit_b_32"):
        build = network_builder(model, 3, (3, 64, 64))
        assert build().eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


_SCRIPT = """
import sys
import fiftyone as fo
import fiftyone_iqa as fiqa
fiqa.confusion_score(
    fo.load_dataset(sys.argv[1]), "truth", model="resnet8", seeds=2,
    epochs=16, image_size=16, batch_size=16, folds=2, device="cpu",
    progress=False,
)
"""


def test_killed_and_resumed(striped, own_cache):
    dataset = striped(30)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, dataset.name], env=env
    )
    deadline = time.monotonic() + 120
    pattern = "confusion/*/fold-0/scores.pt"
    while not list(own_cache.glob(pattern)):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    dataset.reload()
    assert not dataset.has_field("confusion")
    (path,) = own_cache.glob(pattern)
    n_done = read_checkpoint(path)["n_epochs"]
    assert 1 <= n_done < 16

    trained = []
    train_epoch = Member.train_epoch

    def counting(member, *args):
        trained.append(member.epoch)
        train_epoch(member, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Member, "train_epoch", counting)
        call = {
            "model": "resnet8",
            "seeds": 2,
            "epochs": 16,
            "image_size": 16,
            "batch_size": 16,
            "folds": 2,
            "device": "cpu",
            "progress": False,
        }
        fiqa.confusion_score(dataset, "truth", **call)
        assert len(trained) <= 2 * 2 * 16 - 2 * n_done
        assert not list(own_cache.glob("confusion/*"))
        fiqa.confusion_score(dataset, "truth", field_prefix="b", **call)
    np.testing.assert_allclose(
        dataset.values("confusion"), dataset.values("b_confusion"), atol=1e-6
    )


def test_what_is_left_of_a_run_is_cleared(own_cache):
    folder = own_cache / "confusion" / "run" / "fold-0"
    make(directory=folder).train_epoch(1, step)
    assert list(folder.glob("*.pt"))
    assert fiqa.clear_cache() > 10_000
    assert not (own_cache / "confusion").exists()


def test_training_outlasts_a_failing_database(striped, own_cache, monkeypatch):
    dataset = striped(24)
    call = {"model": "resnet8", "seeds": 1, "epochs": 2, "image_size": 16}
    call |= {"folds": 2, "device": "cpu", "progress": False}

    def fail(*args):
        raise OSError("the database is gone")

    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr("fiftyone_iqa.confusion_field.freeze", fail)
        fiqa.confusion_score(dataset, "truth", **call)
    assert not dataset.has_field("confusion")
    with monkeypatch.context() as patch:
        patch.setattr(Member, "train_epoch", fail)
        fiqa.confusion_score(dataset, "truth", **call)
    assert dataset.count("confusion") == 24
    assert not list(own_cache.glob("confusion/*"))
