"""Small pieces of the panel."""

from fiftyone.operators import types

URI = "@fiftyone-iqa/iqa/"


def caption(panel, name, text):
    """Adds a line of small text; Markdown."""
    panel.md(
        text,
        name=name,
        componentsProps={
            "container": {
                "sx": {
                    "fontSize": 12,
                    "color": "text.secondary",
                    "& p": {"fontSize": 12, "m": 0, "lineHeight": 1.5},
                }
            }
        },
    )


def row(panel, name, columns, align="end"):
    """Adds a row whose columns are CSS grid tracks, such as ``1fr auto``."""
    sx = {"gridTemplateColumns": columns, "alignItems": align}
    inside = types.Object()
    panel.define_property(
        name,
        inside,
        view=types.GridView(
            orientation="horizontal",
            gap=1,
            componentsProps={"grid": {"sx": sx}},
        ),
    )
    return inside


def choice(panel, name, values, chosen, label, on_change):
    """Adds a drop-down; ``values`` are texts or (value, label)."""
    view = types.DropdownView(
        label=label, componentsProps={"header": _SMALL_HEADER}
    )
    for value in values:
        value, said = (value, value) if isinstance(value, str) else value
        view.add_choice(value, label=said)
    panel.enum(
        name,
        view.values(),
        default=chosen,
        view=view,
        on_change=on_change,
    )


def button(panel, name, label, icon, on_click, title=None, **params):
    """Adds an outlined button."""
    panel.btn(
        name,
        label=label,
        icon=icon,
        variant="outlined",
        on_click=on_click,
        params=params,
        title=title,
        componentsProps={
            "button": {"sx": {"fontSize": 12, "whiteSpace": "nowrap"}}
        },
    )


_SMALL_HEADER = {"label": {"sx": {"fontSize": 12}}}
