"""Plotly figures of a brain run."""

from __future__ import annotations

import numpy as np

from .analysis.prior import QualityPrior
from .errors import IQAError

KINDS = ("distribution", "accuracy", "reliability", "auc")

# Okabe & Ito's, which colour-blind people can tell apart
_COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#7F7F7F",
)
_SYMBOLS = ("circle", "square", "diamond", "triangle-up")
_MAIN, _SECOND = _COLOURS[0], _COLOURS[5]


def plot(results, kind: str, metric: str):
    """Returns a figure of a run.

    Args:
        results: an :class:`fiftyone_iqa.brain.ImageQualityResults`
        kind: one of :data:`KINDS`, or ``"overview"`` for all
        metric: a field of the run

    Raises:
        IQAError: if there is no such kind, or the run lacks what it shows
    """
    from plotly.subplots import make_subplots

    if kind != "overview" and kind not in KINDS:
        raise IQAError(
            f"There is no plot {kind!r}; there are overview, "
            f"{', '.join(KINDS)}"
        )

    report = results.report
    panels = {name: _PANELS[name](report, metric) for name in KINDS}
    if kind != "overview":
        panels = {kind: panels[kind]}
        if not panels[kind]["traces"]:
            raise IQAError(f"{panels[kind]['title']}")

    columns = 1 if len(panels) == 1 else 2
    figure = make_subplots(
        rows=-(-len(panels) // columns),
        cols=columns,
        subplot_titles=[panel["title"] for panel in panels.values()],
        horizontal_spacing=0.1,
        vertical_spacing=0.16,
    )
    for i, panel in enumerate(panels.values()):
        place = {"row": i // columns + 1, "col": i % columns + 1}
        for trace in panel["traces"]:
            figure.add_trace(trace, **place)
        figure.update_xaxes(**panel["x"], **place)
        figure.update_yaxes(**panel["y"], **place)
    figure.update_layout(
        template="plotly_white",
        width=760 if columns == 1 else 1180,
        height=460 if columns == 1 else 860,
        margin={"l": 70, "r": 30, "t": 60, "b": 60},
        showlegend=kind in ("accuracy", "distribution"),
        barmode="stack",
        bargap=0,
    )
    return figure


def _distribution(report, metric):
    import plotly.graph_objects as go

    found = report["metrics"][metric]["distribution"]
    judged = report["metrics"][metric]["by_correctness"]
    edges = np.array(found["bin_edges"])
    right, wrong = (np.array(judged[name]) for name in ("right", "wrong"))
    rest = np.array(found["counts"]) - right - wrong
    traces = [
        go.Bar(
            x=edges[:-1],
            y=counts,
            width=np.diff(edges),
            offset=0,
            marker={"color": colour},
            hovertemplate=f"%{{x:.3g}}: %{{y:,}} {name}<extra></extra>",
            name=name,
        )
        for name, counts, colour in (
            ("wrong", wrong, _SECOND),
            ("right", right, _MAIN),
            ("not judged", rest, _COLOURS[7]),
        )
        if counts.any()
    ]
    if found["grid"]:
        traces.append(
            go.Scatter(
                x=found["grid"],
                y=np.array(found["density"]) * found["n"] * np.diff(edges)[0],
                mode="lines",
                line={"color": "#333333", "width": 1},
                hoverinfo="skip",
                name="density",
            )
        )
    return {
        "title": f"Distribution of {metric} (orange: wrong)",
        "traces": traces,
        "x": {"title": metric},
        "y": {"title": "images"},
    }


def _accuracy(report, metric):
    import plotly.graph_objects as go

    groups = report["metrics"][metric]["groups"]
    panel = {
        "title": "Accuracy by group: the run had no groups (group_by=)",
        "traces": [],
        "x": {"title": f"mean {metric}"},
        "y": {"title": "accuracy", "range": [-0.03, 1.03]},
    }
    if groups is None:
        return panel

    by_condition: dict = {}
    for row in groups["rows"]:
        if row["n"] and row["accuracy"] is not None:
            by_condition.setdefault(str(row["name"][0]), []).append(row)
    for i, (name, rows) in enumerate(by_condition.items()):
        panel["traces"].append(
            go.Scatter(
                x=[row["mean"] for row in rows],
                y=[row["accuracy"] for row in rows],
                mode="markers",
                marker={
                    "color": _COLOURS[i % len(_COLOURS)],
                    "symbol": _SYMBOLS[i // len(_COLOURS) % len(_SYMBOLS)],
                    "size": 8,
                    "line": {"width": 0.5, "color": "white"},
                },
                text=[", ".join(map(str, row["name"])) for row in rows],
                customdata=[row["n"] for row in rows],
                hovertemplate="%{text}<br>quality %{x:.3g}, accuracy "
                "%{y:.3f}, %{customdata:,} images<extra></extra>",
                name=name,
            )
        )
    srcc = (report["metrics"][metric]["correlation"] or {}).get("srcc")
    said = ""
    if srcc and srcc["signed"]["value"] is not None:
        said = f" (SRCC {srcc['signed']['value']:.2f})"
    panel["title"] = f"Accuracy against quality, by group{said}"
    return panel


def _reliability(report, metric):
    import plotly.graph_objects as go

    prior = report["metrics"][metric]["prior"]
    panel = {
        "title": f"Reliability of the prior: none was learnt of {metric}",
        "traces": [],
        "x": {"title": "expected accuracy", "range": [-0.03, 1.03]},
        "y": {"title": "accuracy", "range": [-0.03, 1.03]},
    }
    if prior is None:
        return panel

    points = QualityPrior.from_dict(prior).reliability
    panel["title"] = f"Reliability of the prior ({prior['calibrator']})"
    panel["traces"] = [
        go.Scatter(
            x=[0, 1],
            y=[0, 1],
            mode="lines",
            line={"color": "#999999", "dash": "dot"},
            hoverinfo="skip",
            name="as expected",
        ),
        go.Scatter(
            x=points[:, 0],
            y=points[:, 1],
            mode="lines+markers",
            marker={"color": _SECOND, "size": 8},
            line={"color": _SECOND, "width": 1},
            customdata=points[:, 2],
            hovertemplate="expected %{x:.3f}, was %{y:.3f}, "
            "%{customdata:,.0f} left-out images<extra></extra>",
            name="left-out originals",
        ),
    ]
    return panel


def _auc(report, metric):
    import plotly.graph_objects as go

    found = {
        name: m["predictability"]["auc"]
        for name, m in report["metrics"].items()
        if m["predictability"]["auc"]["value"] is not None
    }
    names = sorted(found, key=lambda name: found[name]["value"])
    values = np.array([found[name]["value"] for name in names])
    high = np.array([found[name]["high"] for name in names], dtype=float)
    low = np.array([found[name]["low"] for name in names], dtype=float)
    return {
        "title": "How well each metric tells right from wrong",
        "traces": [
            go.Scatter(
                x=values,
                y=names,
                mode="markers",
                error_x={
                    "array": high - values,
                    "arrayminus": values - low,
                    "color": _MAIN,
                },
                marker={
                    "size": 9,
                    "color": [
                        _SECOND if name == metric else _MAIN for name in names
                    ],
                },
                hovertemplate="%{y}: AUC %{x:.3f}<extra></extra>",
                name="AUC",
            ),
            go.Scatter(
                x=[0.5, 0.5],
                y=[names[0], names[-1]] if names else [],
                mode="lines",
                line={"color": "#999999", "dash": "dot"},
                hoverinfo="skip",
                name="chance",
            ),
        ],
        "x": {"title": "AUC, 95 % interval clustered by original"},
        "y": {"automargin": True},
    }


_PANELS = {
    "distribution": _distribution,
    "accuracy": _accuracy,
    "reliability": _reliability,
    "auc": _auc,
}
