"""What training minimises: the mean error, or the worst group's.

GroupDRO: Sagawa et al. 2020, "Distributionally Robust Neural Networks",
algorithm 1.
"""

from __future__ import annotations

import numpy as np

from ..errors import IQAError


class ERM:
    """Empirical risk minimisation: every image counts the same.

    Args:
        rows: ``(n,)`` rows to train on
    """

    def __init__(self, rows):
        self.rows = np.asarray(rows)

    def order(self, generator) -> np.ndarray:
        """Returns an epoch's rows in the order of training."""
        import torch

        order = torch.randperm(len(self.rows), generator=generator)
        return self.rows[order.numpy()]

    def loss(self, losses, rows):
        """Returns the loss of a batch.

        Args:
            losses: ``(b,)`` tensor of cross-entropies
            rows: ``(b,)`` rows they belong to
        """
        return losses.mean()

    def state_dict(self) -> dict:
        """Returns what a checkpoint has to keep."""
        return {}

    def load_state_dict(self, state) -> None:
        """Takes up what a checkpoint kept."""


class GroupDRO(ERM):
    """Group distributionally robust optimisation.

    Groups are drawn with equal chances, and images within them; each group's
    weight grows with its loss.

    Args:
        rows: ``(n,)`` rows to train on
        groups: ``(N,)`` ints from 0 of all rows of the inputs, one a row
        step_size (0.01): η, how fast the weights follow the losses
        adjustment (0.0): C of section 3.3: C/√n_g is added to a group's loss
            before its weight is updated

    Attributes:
        counts: ``(k,)`` training images in each group
        weights: ``(k,)`` tensor, q: sums to 1

    Raises:
        IQAError: if there are fewer than two groups, or one is empty
    """

    def __init__(self, rows, groups, step_size=0.01, adjustment=0.0):
        import torch

        super().__init__(rows)
        self._groups = np.asarray(groups)
        own = self._groups[self.rows]
        n_groups = int(self._groups.max()) + 1
        self.counts = np.bincount(own[own >= 0], minlength=n_groups)
        if own.min() < 0 or n_groups < 2 or not self.counts.all():
            raise IQAError(
                "GroupDRO needs at least two groups and training images in "
                f"each; they have {', '.join(map(str, self.counts))}"
            )
        self.weights = torch.full((n_groups,), 1 / n_groups)
        self._step_size = step_size
        self._adjustment = torch.as_tensor(
            adjustment / np.sqrt(self.counts), dtype=torch.float32
        )
        self._chance = torch.as_tensor(1 / self.counts[own])

    def order(self, generator):
        """See :meth:`ERM.order`; with replacement, as many as there are."""
        import torch

        drawn = torch.multinomial(
            self._chance, len(self.rows), replacement=True, generator=generator
        )
        return self.rows[drawn.numpy()]

    def loss(self, losses, rows):
        """See :meth:`ERM.loss`; updates the weights first."""
        import torch

        groups = torch.as_tensor(self._groups[rows], device=losses.device)
        n = len(self.counts)
        sums = losses.new_zeros(n).index_add(0, groups, losses)
        present = losses.new_zeros(n).index_add(
            0, groups, torch.ones_like(losses)
        )
        means = sums / present.clamp(min=1)

        # A group that is not in the batch keeps its weight
        seen = (present > 0).cpu()
        rise = torch.where(seen, means.detach().cpu() + self._adjustment, 0)
        weights = self.weights * torch.exp(self._step_size * rise)
        self.weights = weights / weights.sum()
        return (self.weights.to(losses.device) * means).sum()

    def image_weights(self) -> np.ndarray:
        """Returns ``(k,)``: how much an image of each group counts.

        Its group's weight over its group's share; 1 on average over the
        training images.
        """
        share = self.counts / self.counts.sum()
        return self.weights.numpy() / share

    def state_dict(self):
        """See :meth:`ERM.state_dict`."""
        return {"weights": self.weights}

    def load_state_dict(self, state):
        """See :meth:`ERM.load_state_dict`."""
        self.weights = state["weights"]
