"""What makes a quality metric good: D1 to D4 (Drenkow & Unberath, sec. 1)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from .analysis.estimate import Estimate

JOINT = "joint"

_LITE = "lite:"


@dataclass(frozen=True)
class Card:
    """One metric against the four desiderata.

    Attributes:
        metric: the field
        direction: ``"higher"``, ``"lower"`` or ``"none"``
        guidance: ``"none"``, ``"weak"``, ``"strong"``, or None if unknown
        severity_trend: D1, Spearman's correlation of quality with severity,
            -1 if quality falls with every step; None without severities
        effect_size: D1, Cohen's d of clean against corrupted images
        blind: D2, whether it needs no reference image, None if unknown
        auc: D3, image by image, clustered by original
        srcc: D3, over groups; its value is None without groups
        agnostic: D4, whether it knows no task model, None if unknown
        best_of: the metric whose temperatures or variants this one is the
            most predictive of, or None
        remarks: sentences
    """

    metric: str
    direction: str
    guidance: str | None
    severity_trend: float | None
    effect_size: float | None
    blind: bool | None
    auc: Estimate
    srcc: Estimate
    agnostic: bool | None
    best_of: str | None
    remarks: tuple[str, ...]

    def to_dict(self) -> dict:
        """Returns one flat row."""
        row = asdict(self)
        for name in ("auc", "srcc"):
            found = row.pop(name)
            row[name] = found["value"]
            row[f"{name}_low"] = found["low"]
            row[f"{name}_high"] = found["high"]
        row["remarks"] = "; ".join(self.remarks)
        return row

    def __str__(self):
        best = f"  (best of {self.best_of})" if self.best_of else ""
        trend = _number(self.severity_trend)
        lines = [
            f"{self.metric}{best}",
            f"  D1 sensitive   trend over severity {trend}, effect size "
            f"{_number(self.effect_size)}",
            f"  D2 blind       {_said(self.blind)}",
            f"  D3 predictive  AUC {self.auc}, SRCC over groups {self.srcc}",
            f"  D4 agnostic    {_said(self.agnostic)}",
            *(f"  {remark}" for remark in self.remarks),
        ]
        return "\n".join(lines)


def cards(report: dict, order: list[str]) -> list[Card]:
    """Returns a card per metric of a run's report, in the order given."""
    best = _best_variants(report, order)
    return [
        _card(name, report["metrics"][name], report["task_model"], best)
        for name in order
    ]


def summary(report: dict, order: list[str], best_prior: str | None) -> str:
    """Returns a run's report as text."""
    lines = [
        f"{report['n_judged']:,} judged of {report['n']:,} rows, "
        f"{report['n_sources']:,} originals, accuracy "
        f"{report['accuracy']:.3f}",
        *(str(card) for card in cards(report, order)),
    ]
    joint = report["joint"]
    if joint and joint["predictability"]:
        auc = Estimate(**joint["predictability"]["fitted_auc"])
        lines.append(f"All metrics together: AUC {auc} on left-out originals")
    if best_prior is not None:
        found = joint if best_prior == JOINT else report["metrics"][best_prior]
        prior = found["prior"]
        losses = prior["log_loss"]
        lines.append(
            f"Best prior: {' + '.join(prior['metrics'])} "
            f"({prior['calibrator']}), cross-entropy "
            f"{losses[prior['calibrator']]:.3f} against "
            f"{losses['base rate']:.3f} of the base rate"
            + (
                f"; between conditions, {prior['between']['error']:.3f} off "
                "the accuracy of those left out"
                if prior["between"]
                else ""
            )
        )
    return "\n".join(lines)


def _card(name, found, task_model, best):
    sensitivity = found["sensitivity"] or {}
    correlation = found["correlation"]
    srcc = Estimate(None)
    if correlation is not None:
        srcc = Estimate(**correlation["srcc"]["signed"])
    guidance = found["guidance"]
    return Card(
        metric=name,
        direction=found["direction"],
        guidance=guidance,
        severity_trend=sensitivity.get("trend"),
        effect_size=sensitivity.get("effect_size"),
        # Every metric here is of one image; a stranger's field may not be
        blind=None if guidance is None else True,
        auc=Estimate(**found["predictability"]["auc"]),
        srcc=srcc,
        agnostic=None if guidance is None else guidance != "strong",
        best_of=best.get(name),
        remarks=tuple(_remarks(found, task_model)),
    )


def _best_variants(report, order):
    """Returns ``{field: metric}`` of each metric's most predictive field."""
    by_metric: dict[str, list[str]] = {}
    for name in order:
        by_metric.setdefault(report["metrics"][name]["metric"], []).append(
            name
        )
    return {
        names[0]: metric
        for metric, names in by_metric.items()
        if len(names) > 1 and metric != "external"
    }


def _remarks(found, task_model):
    identity = found["identity"] or {}
    if str(identity.get("encoder", "")).startswith(_LITE):
        yield (
            "the lite encoder's image tower was trained on ImageNet labels: "
            "agnostic of other task models only (D4), and not CLIP"
        )
    if task_model is not None and identity.get("model") == task_model:
        yield "quality and correctness are of the same model"
    if found["direction"] == "none":
        yield "it has no direction, so it has no AUC by itself"
    temperature = identity.get("temperature")
    if temperature is not None:
        yield f"temperature {temperature:g}"
    yield from found["notes"]


def _number(value):
    return "–" if value is None else f"{value:+.2f}"


def _said(value):
    return {None: "unknown", True: "yes", False: "no"}[value]
