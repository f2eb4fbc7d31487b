"""A run of model quality as Plotly traces: a radar, and bars.

Plain dicts, which the App's panel takes and :func:`figure` makes a figure of.
"""

from __future__ import annotations

from ..errors import IQAError
from .cohort import DIMENSIONS
from .profile import dimensions_of

KINDS = ("radar", "bars")

# Okabe & Ito's, which colour-blind people can tell apart
COLOURS = (
    "#2E8BC9",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#B8A900",
    "#8C8C8C",
)
_GREY = "rgba(140, 140, 140, 0.35)"
_SMALL = 11
_MIN_AXES = 3
_COLUMNS = 3


def radar(report: dict):
    """Returns traces and layout of all models in one radar.

    Outwards is better: shares as they are, up to 1; 1 - the calibration
    error; the fewest parameters of all models over the model's own. Only what
    was measured of some model has an axis.

    Args:
        report: a run's
    """
    found = {m: dimensions_of(report, m) for m in report["models"]}
    specs = _measured(found)
    if len(specs) < _MIN_AXES:
        return [], {}
    titles = [_radar_title(spec) for spec in specs]
    fewest = min(
        (
            one["parameters"].value
            for one in found.values()
            if one["parameters"].value
        ),
        default=None,
    )
    traces = []
    for i, (model, dimensions) in enumerate(found.items()):
        places = [_place(s, dimensions[s.key], fewest) for s in specs]
        said = [_said(spec, dimensions[spec.key]) for spec in specs]
        colour = COLOURS[i % len(COLOURS)]
        traces.append(
            {
                "type": "scatterpolar",
                "mode": "lines+markers",
                "name": model,
                "r": [*places, places[0]],
                "theta": [*titles, titles[0]],
                "text": [*said, said[0]],
                "hovertemplate": "<b>%{theta}</b><br>%{text}"
                f"<extra>{model}</extra>",
                "line": {"color": colour, "width": 2},
                "marker": {"color": colour, "size": 6},
                "fill": "toself",
                "opacity": 0.75,
                "fillcolor": _faint(colour),
            }
        )
    layout = _layout()
    layout["margin"] |= {"l": 90, "r": 90, "t": 56, "b": 26}
    layout["polar"] = {
        "bgcolor": "rgba(0,0,0,0)",
        "radialaxis": {
            "range": [0, 1],
            "tickvals": [0.25, 0.5, 0.75, 1],
            "tickfont": {"size": _SMALL - 2},
            "gridcolor": _GREY,
            "linecolor": _GREY,
            "angle": 90,
            "tickangle": 90,
        },
        "angularaxis": {
            "tickfont": {"size": _SMALL},
            "gridcolor": _GREY,
            "linecolor": _GREY,
        },
    }
    return traces, layout


def bars(report: dict):
    """Returns traces and layout of bars with intervals, a plot a dimension.

    Args:
        report: a run's
    """
    found = {m: dimensions_of(report, m) for m in report["models"]}
    specs = _measured(found)
    n_rows = -(-len(specs) // _COLUMNS)
    traces, layout = [], _layout()
    layout["annotations"] = []
    for place, spec in enumerate(specs):
        axis = "" if place == 0 else str(place + 1)
        x, y = _domain(place, n_rows)
        layout[f"xaxis{axis}"] = {
            "domain": x,
            "anchor": f"y{axis}",
            "showticklabels": False,
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
        }
        layout[f"yaxis{axis}"] = {
            "domain": y,
            "anchor": f"x{axis}",
            "rangemode": "tozero",
            "nticks": 4,
            "tickfont": {"size": _SMALL - 1},
            "gridcolor": _GREY,
            "zeroline": False,
            "fixedrange": True,
        }
        layout["annotations"].append(
            {
                "text": _bar_title(spec),
                "x": x[0],
                "y": y[1],
                "xref": "paper",
                "yref": "paper",
                "xanchor": "left",
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"size": _SMALL},
            }
        )
        for i, (model, dimensions) in enumerate(found.items()):
            one = dimensions[spec.key]
            traces.append(
                {
                    "type": "bar",
                    "name": model,
                    "legendgroup": model,
                    "showlegend": place == 0,
                    "x": [model],
                    "y": [one.value],
                    "xaxis": f"x{axis}",
                    "yaxis": f"y{axis}",
                    "marker": {"color": COLOURS[i % len(COLOURS)]},
                    "error_y": _error(one.estimate),
                    "text": [_said(spec, one)],
                    "textposition": "none",
                    "hovertemplate": f"<b>{spec.title}</b><br>%{{text}}"
                    f"<extra>{model}</extra>",
                }
            )
    layout["margin"] |= {"l": 40, "r": 12, "t": 36, "b": 8}
    layout["legend"]["y"] = 1.0
    return traces, layout


def unmeasured(report: dict) -> dict[str, str]:
    """Returns what was measured of no model: title → what that needs."""
    found = [dimensions_of(report, m) for m in report["models"]]
    return {
        spec.title: found[0][spec.key].needs
        for spec in DIMENSIONS
        if found and all(one[spec.key].value is None for one in found)
    }


def figure(report: dict, kind: str):
    """Returns a Plotly figure.

    Args:
        report: a run's
        kind: ``"radar"`` or ``"bars"``

    Raises:
        IQAError: if there is no such kind, or too little was measured
    """
    import plotly.graph_objects as go

    if kind not in KINDS:
        raise IQAError(
            f"There is no plot {kind!r}; there are {', '.join(KINDS)}"
        )
    traces, layout = (radar if kind == "radar" else bars)(report)
    if not traces:
        raise IQAError(
            f"A {kind} needs at least {_MIN_AXES} measured dimensions"
        )
    made = go.Figure(traces, layout)
    made.update_layout(template="plotly_white", width=760, height=560)
    return made


def _measured(found):
    return [
        spec
        for spec in DIMENSIONS
        if any(one[spec.key].value is not None for one in found.values())
    ]


def _place(spec, measured, fewest):
    """Returns where a value lies between 0, worst, and 1."""
    value = measured.value
    if value is None:
        return None
    if spec.key == "parameters":
        return fewest / value if value else 1.0
    if spec.sign < 0:
        value = 1 - value
    return min(max(value, 0.0), 1.0)


def _said(spec, measured):
    if measured.value is None:
        return f"not measured: {measured.needs}"
    unit = " M" if spec.unit == "millions" else ""
    return f"{measured.estimate}{unit}"


def _radar_title(spec):
    if spec.key == "parameters":
        return "Fewest parameters ÷ own"
    return spec.title if spec.sign > 0 else f"1 − {spec.title.lower()}"


def _bar_title(spec):
    title = spec.title
    if spec.unit == "millions":
        title += ", millions"
    return title if spec.sign > 0 else f"{title} (lower is better)"


def _domain(place, n_rows):
    column, row = place % _COLUMNS, place // _COLUMNS
    width, height = 1 / _COLUMNS, 1 / n_rows
    x = [column * width + (0.05 if column else 0), (column + 1) * width - 0.02]
    top = 1 - row * height
    return x, [top - height + 0.04, top - 0.08]


def _error(estimate):
    if estimate.low is None or estimate.high is None:
        return {"visible": False}
    return {
        "type": "data",
        "symmetric": False,
        "array": [estimate.high - estimate.value],
        "arrayminus": [estimate.value - estimate.low],
        "thickness": 1.5,
        "width": 3,
        "color": "#8C8C8C",
    }


def _faint(colour):
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.10)"


def _layout():
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"size": _SMALL},
        "margin": {"l": 46, "r": 12, "t": 26, "b": 20, "pad": 0},
        "showlegend": True,
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.08,
            "xanchor": "left",
            "yanchor": "bottom",
            "font": {"size": _SMALL},
            "bgcolor": "rgba(0,0,0,0)",
        },
        "hoverlabel": {"font": {"size": _SMALL}},
        "bargap": 0.25,
    }
