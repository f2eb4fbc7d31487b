"""What a scoring call did."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Failure:
    """One image (or object) that one metric could not score."""

    id: str
    filepath: str
    metric: str
    reason: str


@dataclass
class MetricReport:
    """Counts for one metric.

    Attributes:
        metric: its name, with the field prefix if there is one
        fields: names of the fields written
        directions: resolved direction of each field
        scored: how many got values in this call
        skipped: how many had values of the same configuration before
        failed: how many got None and a reason
    """

    metric: str
    fields: list[str]
    directions: list[str]
    scored: int = 0
    skipped: int = 0
    failed: int = 0


@dataclass
class QualityReport:
    """What :func:`fiftyone_iqa.compute_quality` did.

    Attributes:
        n: images (or objects) in the collection
        metrics: a :class:`MetricReport` per metric
        failures: a :class:`Failure` per image and metric
        seconds: wall-clock seconds by stage; ``decode`` is summed over
            workers, so it may exceed ``total``
        n_decoded: images decoded
        n_from_cache: embeddings read from the cache instead
        device: where the features were computed
        encoder: id of the encoder, or None if no metric needed one
        unavailable: reasons by name of metrics whose weights are not to be
            had
        field_root: path of the labels or frames the fields are on, with a
            trailing dot; ``""`` for samples
    """

    n: int
    metrics: list[MetricReport]
    failures: list[Failure] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    n_decoded: int = 0
    n_from_cache: int = 0
    device: str = "cpu"
    encoder: str | None = None
    field_root: str = ""
    unavailable: dict[str, str] = field(default_factory=dict)

    @property
    def n_scored(self) -> int:
        """Scores written, counted once per image and metric."""
        return sum(m.scored for m in self.metrics)

    @property
    def n_skipped(self) -> int:
        """Scores that were there already, per image and metric."""
        return sum(m.skipped for m in self.metrics)

    @property
    def n_failed(self) -> int:
        """Images (or objects) with at least one failure."""
        return len({failure.id for failure in self.failures})

    @property
    def images_per_second(self) -> float:
        """Images touched (not skipped by every metric) per second."""
        touched = self.n - min((m.skipped for m in self.metrics), default=0)
        total = self.seconds.get("total", 0.0)
        return touched / total if total > 0 else 0.0

    def to_pandas(self):
        """Returns a ``pandas.DataFrame`` with one row per metric."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "metric": m.metric,
                    "fields": ", ".join(m.fields),
                    "directions": ", ".join(m.directions),
                    "scored": m.scored,
                    "skipped": m.skipped,
                    "failed": m.failed,
                }
                for m in self.metrics
            ]
        )

    def failures_to_pandas(self):
        """Returns a ``pandas.DataFrame`` with one row per failure."""
        import pandas as pd

        return pd.DataFrame(
            [vars(failure) for failure in self.failures],
            columns=["id", "filepath", "metric", "reason"],
        )

    def to_dict(self) -> dict:
        """Returns counts and timings as JSON-serialisable values."""
        return {
            "n": self.n,
            "scored": self.n_scored,
            "skipped": self.n_skipped,
            "failed": self.n_failed,
            "images_per_second": round(self.images_per_second, 1),
            "seconds": {k: round(v, 3) for k, v in self.seconds.items()},
            "device": self.device,
            "encoder": self.encoder,
            "unavailable": self.unavailable,
            "summary": str(self),
        }

    def __str__(self):
        encoder = f", encoder {self.encoder}" if self.encoder else ""
        rate = self.images_per_second
        lines = [
            f"{self.n:,} images in {self.seconds.get('total', 0.0):.1f} s "
            + (f"({rate:.1f} images/s) " if rate else "")
            + f"on {self.device}{encoder}"
        ]
        width = max(len(m.metric) for m in self.metrics)
        for m in self.metrics:
            lines.append(
                f"  {m.metric:<{width}}  {m.scored:,} scored, "
                f"{m.skipped:,} skipped, {m.failed:,} failed"
                f"  ({', '.join(m.fields)})"
            )

        for name, reason in self.unavailable.items():
            lines.append(f"  {name}: not computed: {reason}")

        stages = [
            f"{stage} {seconds:.1f} s"
            for stage, seconds in self.seconds.items()
            if stage != "total"
        ]
        lines.append(
            f"  {', '.join(stages)}; {self.n_decoded:,} decoded, "
            f"{self.n_from_cache:,} embeddings from the cache"
        )
        for failure in self.failures[:5]:
            lines.append(
                f"  failed: {failure.filepath} [{failure.metric}]: "
                f"{failure.reason}"
            )
        if len(self.failures) > 5:
            lines.append(
                f"  … and {len(self.failures) - 5:,} more failures: see "
                "failures_to_pandas() or the field iqa_failure"
            )
        return "\n".join(lines)
