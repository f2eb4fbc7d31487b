"""Equations 1 to 3, against their plain transcription."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiftyone_iqa.confusion.score import (
    RunningConfusion,
    confusion_scores,
    mean_entropy,
)
from fiftyone_iqa.errors import IQAError


def make(shape, seed=0, sharpness=1.0):
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=shape)
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def transcribed(p):
    """s(x), term by term as the paper writes it."""
    n_epochs, n_members, n, n_classes = p.shape
    scores = []
    for x in range(n):
        total = 0.0
        for t in range(n_epochs):
            entropy = 0.0
            for j in range(n_classes):
                mean = sum(p[t, i, x, j] for i in range(n_members))
                mean /= n_members
                if mean > 0:
                    entropy -= mean * math.log(mean)
            total += entropy
        scores.append(total / n_epochs)
    return np.array(scores)


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 30.0])
def test_streaming_is_the_direct_formula(sharpness):
    p = make((7, 3, 11, 5), sharpness=sharpness)
    expected = transcribed(p)
    np.testing.assert_allclose(confusion_scores(p), expected, atol=1e-12)
    single = (epoch.astype(np.float32) for epoch in p)
    np.testing.assert_allclose(confusion_scores(single), expected, atol=1e-6)

    running = RunningConfusion(11)
    for epoch in p[:4]:
        running.add(mean_entropy(epoch))
    resumed = RunningConfusion(11, running.total, running.n_epochs)
    for epoch in p[4:]:
        resumed.add(mean_entropy(epoch))
    np.testing.assert_allclose(resumed.scores(), expected, atol=1e-12)


def test_its_ends():
    one_hot = np.eye(4)[None, None]
    assert confusion_scores(one_hot).tolist() == [0.0] * 4
    uniform = np.full((2, 3, 5, 4), 0.25)
    np.testing.assert_allclose(confusion_scores(uniform), math.log(4))
    # Each member is sure, and they disagree: only their mean is confused
    apart = np.eye(2)[:, None, :]
    np.testing.assert_allclose(mean_entropy(apart), math.log(2))


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 10**6), st.sampled_from(["f2", "f4", "f8"]))
def test_bounds_and_symmetries(seed, dtype):
    p = make((3, 2, 6, 4), seed, sharpness=10.0).astype(dtype)
    scores = confusion_scores(p)
    assert ((scores >= 0) & (scores <= math.log(4))).all()
    shuffled = p[::-1, ::-1, :, [2, 0, 3, 1]]
    np.testing.assert_allclose(confusion_scores(shuffled), scores, atol=1e-9)
    # Entropy is concave: a mean is never less confused than its members
    alone = [confusion_scores(p[:, [i]]) for i in range(2)]
    assert (scores >= np.mean(alone, axis=0) - 1e-3).all()


def test_memory_does_not_grow_with_epochs():
    import tracemalloc

    def epochs(n):
        for seed in range(n):
            yield make((2, 2000, 10), seed)

    peaks = []
    for n in (2, 20):
        tracemalloc.start()
        confusion_scores(epochs(n))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((1, 1, 3, 4)),
        np.full((1, 1, 3, 4), 0.3),
        np.full((1, 1, 3, 2), np.nan),
        np.array([[[[1.5, -0.5]]]]),
        np.ones((1, 1, 3, 1)),
        np.ones((3, 4)),
        np.ones((1, 1, 2, 2), int),
        [],
        [np.array(["a"])],
        [None],
        [np.full((1, 3, 2), 0.5), np.full((1, 4, 2), 0.5)],
        [np.full((1, 3, 2), 0.5), np.full((1, 3, 4), 0.25)],
    ],
)
def test_what_is_no_probability_is_refused(bad):
    with pytest.raises(IQAError):
        confusion_scores(bad)


def test_no_epoch_no_score():
    with pytest.raises(IQAError, match="at least one epoch"):
        RunningConfusion(3).scores()
    with pytest.raises(IQAError, match="one an image"):
        RunningConfusion(3).add(np.zeros(2))
