"""A number with its interval."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Estimate:
    """A point estimate and the interval around it.

    Attributes:
        value: the estimate, or None where it is not defined
        low: lower end of the interval, or None
        high: upper end of the interval, or None
    """

    value: float | None
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict:
        """Returns the three numbers as JSON-serialisable values."""
        return asdict(self)

    def __str__(self):
        if self.value is None:
            return "–"
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"
