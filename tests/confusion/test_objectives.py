"""GroupDRO against algorithm 1 of Sagawa et al., written out."""

import numpy as np
import pytest
import torch

from fiftyone_iqa.confusion.objectives import ERM, GroupDRO
from fiftyone_iqa.errors import IQAError

GROUPS = np.array([0] * 12 + [1] * 3 + [2] * 5 + [-1] * 4)
ROWS = np.arange(20)


def test_its_loss_and_weights_are_the_algorithms():
    rng = np.random.default_rng(0)
    objective = GroupDRO(ROWS, GROUPS, step_size=0.3, adjustment=2.0)
    q = np.full(3, 1 / 3)
    n = np.array([12, 3, 5])
    for _ in range(20):
        rows = rng.choice(ROWS[:15], 6)  # group 2 is never in a batch
        losses = rng.exponential(size=6)
        tensor = torch.tensor(losses, requires_grad=True)
        loss = objective.loss(tensor, rows)
        loss.backward()

        mean, rise = np.zeros(3), np.zeros(3)
        for g in set(GROUPS[rows]):
            mean[g] = losses[GROUPS[rows] == g].mean()
            rise[g] = mean[g] + 2.0 / np.sqrt(n[g])
        q = q * np.exp(0.3 * rise)
        q /= q.sum()
        assert loss.item() == pytest.approx(q @ mean, rel=1e-5)
        np.testing.assert_allclose(objective.weights, q, rtol=1e-5)
        count = np.bincount(GROUPS[rows], minlength=3)
        slope = [q[g] / count[g] for g in GROUPS[rows]]
        np.testing.assert_allclose(tensor.grad, slope, rtol=1e-5)
    assert objective.image_weights() @ n == pytest.approx(20, rel=1e-5)


def test_groups_are_drawn_alike():
    objective = GroupDRO(ROWS, GROUPS)
    generator = torch.Generator().manual_seed(0)
    drawn = np.concatenate([objective.order(generator) for _ in range(300)])
    share = np.bincount(GROUPS[drawn]) / len(drawn)
    np.testing.assert_allclose(share, 1 / 3, atol=0.03)
    assert len(objective.order(generator)) == 20


def test_what_a_checkpoint_keeps():
    objective = GroupDRO(ROWS, GROUPS)
    objective.loss(torch.ones(20), ROWS)
    other = GroupDRO(ROWS, GROUPS)
    other.load_state_dict(objective.state_dict())
    assert torch.equal(other.weights, objective.weights)


def test_erm_is_the_mean_over_every_image_once():
    objective = ERM(ROWS)
    order = objective.order(torch.Generator().manual_seed(0))
    assert sorted(order) == ROWS.tolist()
    assert objective.loss(torch.tensor([1.0, 3.0]), None).item() == 2


@pytest.mark.parametrize("groups", [GROUPS * 0, GROUPS * 2, GROUPS[::-1]])
def test_groups_that_are_none(groups):
    with pytest.raises(IQAError, match="at least two groups"):
        GroupDRO(ROWS, groups)
