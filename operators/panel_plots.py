"""The panel's plots: a run's stored aggregates as Plotly traces.

Plain dicts rather than figures, because that is what the App takes. Colours
of backgrounds, grids and text are left to the App's theme.
"""

from __future__ import annotations

import math

import numpy as np

# Okabe & Ito's, which colour-blind people can tell apart, light enough for
# the App's dark theme and dark enough for its light one
RIGHT, WRONG, UNKNOWN = "#2E8BC9", "#D55E00", "#8C8C8C"
COLOURS = (
    RIGHT,
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    WRONG,
    "#B8A900",
    UNKNOWN,
)
SYMBOLS = ("circle", "square", "diamond", "triangle-up")
CONFIG = {"displayModeBar": False, "scrollZoom": False, "responsive": True}

_SMALL = 11
_Z = 1.96
_MAX_ERROR_BARS = 40


def number(value) -> str:
    """Returns a metric's value as short text."""
    return "–" if value is None else f"{value:.3g}"


def interval(estimate: dict) -> str:
    """Returns an estimate and its interval as short text."""
    if not estimate or estimate["value"] is None:
        return "–"
    text = f"{estimate['value']:.2f}"
    if estimate["low"] is not None:
        text += f" [{estimate['low']:.2f}, {estimate['high']:.2f}]"
    return text


def distribution(found: dict, unit: str, threshold, low: bool):
    """Returns traces and layout of a metric's histogram.

    It is stacked by correctness, or plain where nothing was judged.

    Args:
        found: the metric's part of a run's report
        unit: what is counted, ``"images"`` or ``"objects"``
        threshold: where the slice begins, or None
        low: whether the slice is below the threshold
    """
    edges = np.array(found["distribution"]["bin_edges"])
    counts = np.array(found["distribution"]["counts"])
    judged = found.get("by_correctness") or {}
    right, wrong = (
        np.array(judged.get(name, np.zeros(len(counts))), dtype=int)
        for name in ("right", "wrong")
    )
    centres, width = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    inside = np.ones(len(counts), dtype=bool)
    if threshold is not None:
        inside = centres <= threshold if low else centres >= threshold
    traces, is_judged = [], bool((right + wrong).any())
    for name, part, colour in (
        ("wrong", wrong, WRONG),
        ("right", right, RIGHT),
        (
            "not judged" if is_judged else unit,
            counts - right - wrong,
            UNKNOWN,
        ),
    ):
        if part.any():
            traces.append(
                {
                    "type": "bar",
                    "name": name,
                    "x": edges[:-1].tolist(),
                    "y": part.tolist(),
                    "width": width.tolist(),
                    "offset": 0,
                    "marker": {
                        "color": colour,
                        # What the slice leaves out steps back
                        "opacity": np.where(inside, 1.0, 0.45).tolist(),
                        "line": {"width": 0},
                    },
                    "hovertemplate": "from %{x:.3g}: %{y:,} "
                    f"{name}<extra></extra>",
                }
            )
    layout = _layout(None, unit, legend=is_judged)
    layout |= {"barmode": "stack", "bargap": 0}
    layout["xaxis"]["range"] = [float(edges[0]), float(edges[-1])]
    if threshold is not None:
        layout["shapes"] = [_vertical(threshold)]
    return traces, layout


def share_inside(found: dict, threshold: float, low: bool) -> tuple:
    """Returns about how many images a threshold takes, and their share."""
    edges = np.array(found["distribution"]["bin_edges"])
    counts = np.array(found["distribution"]["counts"], dtype=float)
    below = np.interp(threshold, edges, np.concatenate([[0], counts.cumsum()]))
    n = counts.sum()
    inside = below if low else n - below
    return round(inside), inside / n if n else 0.0


def accuracy(found: dict):
    """Returns traces, layout and title of accuracy over mean quality.

    The ``ids`` of a point are its group's place among the report's rows.
    """
    groups = found["groups"]
    if groups is None:
        return [], {}, "The run had no groups; build it with group_by"
    by_condition: dict = {}
    for i, row in enumerate(groups["rows"]):
        if row["n"] and row["accuracy"] is not None:
            by_condition.setdefault(str(row["name"][0]), []).append((i, row))
    n_points = sum(map(len, by_condition.values()))
    traces = []
    for i, (name, rows) in enumerate(by_condition.items()):
        colour = COLOURS[i % len(COLOURS)]
        shares = [row["accuracy"] for _, row in rows]
        bars = np.array(
            [_wilson(row["accuracy"], row["n"]) for _, row in rows]
        )
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [row["mean"] for _, row in rows],
                "y": shares,
                "ids": [str(j) for j, _ in rows],
                "text": [", ".join(map(str, row["name"])) for _, row in rows],
                "customdata": [row["n"] for _, row in rows],
                "hovertemplate": "<b>%{text}</b><br>%{customdata:,} images"
                "<br>quality %{x:.3g}<br>accuracy %{y:.3f}<extra></extra>",
                "marker": {
                    "color": colour,
                    "symbol": SYMBOLS[i // len(COLOURS) % len(SYMBOLS)],
                    "size": 9,
                },
                "error_y": {
                    "visible": n_points <= _MAX_ERROR_BARS,
                    "array": (bars[:, 1] - shares).tolist(),
                    "arrayminus": (shares - bars[:, 0]).tolist(),
                    "color": colour,
                    "thickness": 1,
                    "width": 0,
                },
            }
        )
    srcc = (found["correlation"] or {}).get("srcc")
    why = [n for n in found["notes"] if n.startswith("correlation")]
    title = "; ".join([f"{n_points} groups", *why])
    if srcc and srcc["signed"]["value"] is not None:
        title = (
            f"SRCC {interval(srcc['signed'])} over "
            f"{found['correlation']['n_groups']} groups"
        )
    layout = _layout("mean quality of the group", "accuracy", legend=True)
    layout["yaxis"] |= {"range": [-0.03, 1.03], "tickformat": ".0%"}
    return traces, layout, title


def prior(found: dict, metric: str):
    """Returns traces, layout and title of P(correct given Q).

    The band is the bootstrap's 95 %; how many images the run has is below.
    """
    stored = found["prior"]
    if stored is None:
        why = [n for n in found["notes"] if n.startswith("no prior")]
        return [], {}, (why or ["The run has no prior of this metric"])[0]

    weight = stored["weights"][0]
    grid = np.array(stored["grid"]) / weight * stored["scale"][0]
    grid = grid + stored["centre"][0]
    order = np.argsort(grid)
    low, high = np.quantile(stored["replicates"], [0.025, 0.975], axis=0)
    x, curve = grid[order], np.array(stored["curve"])[order]
    edges = np.array(found["distribution"]["bin_edges"])
    line = {"type": "scatter", "mode": "lines", "hoverinfo": "skip"}
    traces = [
        {
            **line,
            "x": x.tolist(),
            "y": low[order].tolist(),
            "line": {"width": 0},
        },
        {
            **line,
            "x": x.tolist(),
            "y": high[order].tolist(),
            "line": {"width": 0},
            "fill": "tonexty",
            "fillcolor": "rgba(46, 139, 201, 0.22)",
        },
        {
            "type": "scatter",
            "mode": "lines",
            "x": x.tolist(),
            "y": curve.tolist(),
            "line": {"color": RIGHT, "width": 2},
            "customdata": np.stack([low[order], high[order]], 1).tolist(),
            "hovertemplate": "quality %{x:.3g}<br>P(correct) %{y:.3f} "
            "[%{customdata[0]:.3f}, %{customdata[1]:.3f}]<extra></extra>",
        },
        {
            "type": "bar",
            "x": edges[:-1].tolist(),
            "y": found["distribution"]["counts"],
            "width": np.diff(edges).tolist(),
            "offset": 0,
            "yaxis": "y2",
            "marker": {"color": UNKNOWN, "line": {"width": 0}},
            "hovertemplate": "from %{x:.3g}: %{y:,} images<extra></extra>",
        },
    ]
    layout = _layout(metric, "P(correct)")
    layout["yaxis"] |= {
        "range": [-0.03, 1.03],
        "tickformat": ".0%",
        "domain": [0.3, 1],
    }
    layout["yaxis2"] = {
        "domain": [0, 0.2],
        "showgrid": False,
        "nticks": 3,
        "title": {"text": "images", "font": {"size": _SMALL}},
        "tickfont": {"size": _SMALL},
        "color": UNKNOWN,
    }
    layout["xaxis"] |= {
        "anchor": "y2",
        "range": [float(edges[0]), float(edges[-1])],
    }
    loss = stored["log_loss"]
    title = (
        f"{stored['calibrator']}, learnt of {stored['n']:,} images; "
        f"cross-entropy {loss[stored['calibrator']]:.3f} against "
        f"{loss['base rate']:.3f} of the base rate"
    )
    return traces, layout, title


def metrics(report: dict, order: list[str], metric: str):
    """Returns traces and layout of AUC and |SRCC| of the metrics.

    Args:
        report: a run's
        order: its metrics, best first
        metric: the chosen one, in another colour
    """
    traces = []
    for axis, label, estimate in (
        ("", "AUC", lambda m: m["predictability"]["auc"]),
        ("2", "|SRCC|", _absolute_srcc),
    ):
        found = {n: estimate(report["metrics"][n]) for n in reversed(order)}
        found = {n: e for n, e in found.items() if e["value"] is not None}
        values = [e["value"] for e in found.values()]
        ends = np.array(
            [_ends(e) for e in found.values()], dtype=float
        ).reshape(-1, 2)
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": label,
                "x": values,
                "y": list(found),
                "xaxis": f"x{axis}",
                "width": 0.62,
                "marker": {
                    "color": [WRONG if n == metric else RIGHT for n in found],
                    "opacity": 0.85,
                },
                "error_x": {
                    "array": (ends[:, 1] - values).tolist(),
                    "arrayminus": (values - ends[:, 0]).tolist(),
                    "color": UNKNOWN,
                    "thickness": 1.5,
                    "width": 3,
                },
                "text": [interval(e) for e in found.values()],
                "textposition": "none",
                "hovertemplate": f"%{{y}}<br>{label} %{{text}}<extra></extra>",
            }
        )
    layout = _layout("AUC (0.5 is chance)", None)
    layout["margin"]["l"] = 110
    layout["xaxis"] |= {"domain": [0, 0.47], "range": [0, 1]}
    layout["xaxis2"] = {
        "domain": [0.53, 1],
        "range": [0, 1],
        "showgrid": True,
        "gridcolor": "rgba(140, 140, 140, 0.2)",
        "title": {
            "text": "|SRCC| over groups",
            "font": {"size": _SMALL},
            "standoff": 6,
        },
        "tickfont": {"size": _SMALL},
        "color": UNKNOWN,
    }
    layout["yaxis"] |= {
        "categoryorder": "array",
        "categoryarray": list(reversed(order)),
        "showgrid": False,
    }
    layout["shapes"] = [_vertical(0.5)]
    return traces, layout


def _absolute_srcc(found):
    if found["correlation"] is None:
        return {"value": None, "low": None, "high": None}
    return found["correlation"]["srcc"]["absolute"]


def _ends(estimate):
    value = estimate["value"]
    low, high = estimate["low"], estimate["high"]
    return value if low is None else low, value if high is None else high


def _wilson(share, n):
    """Returns the 95 % interval of a share of n (Wilson's score)."""
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n * n))
    half /= 1 + _Z**2 / n
    return max(0.0, min(middle - half, share)), min(
        1.0, max(middle + half, share)
    )


def _vertical(x):
    return {
        "type": "line",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": {"color": UNKNOWN, "width": 1.5, "dash": "dash"},
    }


def _layout(x, y, legend=False):
    def axis(title):
        found = {"tickfont": {"size": _SMALL}, "zeroline": False}
        if title:
            font = {"size": _SMALL}
            found["title"] = {"text": title, "font": font, "standoff": 6}
        return found

    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"size": _SMALL},
        "margin": {
            "l": 46,
            "r": 12,
            "t": 26 if legend else 6,
            "b": 38 if x else 20,
            "pad": 0,
        },
        "showlegend": legend,
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "xanchor": "left",
            "yanchor": "bottom",
            "font": {"size": _SMALL},
            "bgcolor": "rgba(0,0,0,0)",
        },
        "hoverlabel": {"font": {"size": _SMALL}},
        "xaxis": axis(x),
        "yaxis": axis(y),
    }
