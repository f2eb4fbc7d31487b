"""Batches by size within a pixel budget, on networks that only record."""

import numpy as np
import pytest

from fiftyone_iqa.metrics.pyiqa_scorer import PyiqaScorer

pytest.importorskip("pyiqa")


class Network:
    """Gives an image its first pixel, and records its batches."""

    def __init__(self, most=1000, error=None):
        self.batches = []
        self.most = most
        self.error = error

    def __call__(self, batch):
        self.batches.append(tuple(batch.shape))
        if len(batch) > self.most:
            raise self.error
        return batch[:, 0, 0, 0] * 255


def numbered(*shapes):
    return [
        np.full((*shape, 3), i, dtype=np.uint8)
        for i, shape in enumerate(shapes)
    ]


def test_sizes_share_passes_within_the_pixel_budget():
    network = Network()
    scorer = PyiqaScorer("NIQE", network, "cpu", pixel_budget=3 * 300 * 400)
    shapes = [(300, 400), (400, 300), (3000, 4000)] * 2 + [(300, 400)] * 3
    values = scorer.features(numbered(*shapes))[:, 0]
    np.testing.assert_allclose(values, range(9), atol=1e-5)
    assert sorted(network.batches) == [
        (1, 3, 3000, 4000),
        (1, 3, 3000, 4000),
        (2, 3, 300, 400),
        (2, 3, 400, 300),
        (3, 3, 300, 400),
    ]


def test_many_crops_count_as_many_pixels():
    network = Network()
    scorer = PyiqaScorer("TReS", network, "cpu", 100 * 224 * 224)
    scorer.features(numbered(*[(64, 64)] * 5))
    assert [n for n, *_ in network.batches] == [2, 2, 1]


def test_unmeasured_networks_run_one_image_at_a_time():
    network, faces = Network(), Network()
    faces.face_helper = None
    for kind, one in (("AddedLater", network), ("CFANet", faces)):
        PyiqaScorer(kind, one, "cpu").features(numbered((9, 9), (9, 9)))
        assert [n for n, *_ in one.batches] == [1, 1]


def test_memory_that_runs_out_halves_a_batch_once():
    import torch

    images = numbered(*[(8, 8)] * 5)
    for error in (
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ):
        network = Network(3, error)
        values = PyiqaScorer("NIQE", network, "cpu").features(images)[:, 0]
        np.testing.assert_allclose(values, range(5), atol=1e-5)
        assert [n for n, *_ in network.batches] == [5, 3, 2]

    for error, batches in (
        (torch.OutOfMemoryError("CUDA out of memory"), [5, 3]),
        (RuntimeError("sizes differ"), [5]),
    ):
        network = Network(2, error)
        with pytest.raises(RuntimeError, match=str(error)):
            PyiqaScorer("NIQE", network, "cpu").features(images)
        assert [n for n, *_ in network.batches] == batches
