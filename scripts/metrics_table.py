"""Writes the README's table of metrics from the registry.

``python scripts/metrics_table.py`` rewrites it; ``--check`` only says whether
it is up to date.
"""

import argparse
import re
import sys
from pathlib import Path

from fiftyone_iqa.metrics import list_metrics

README = Path(__file__).parents[1] / "README.md"
_BETWEEN = re.compile(r"(<!-- metrics -->\n).*?(<!-- /metrics -->)", re.S)
_HEADER = """\
| field | what it is | guidance | better | range | input size | licence: \
code; weights | defined in | run here |
|---|---|---|---|---|---|---|---|---|
"""


def metrics_table() -> str:
    """Returns the table as Markdown, a row per field."""
    rows = []
    for spec in list_metrics():
        fields = spec.field_names()
        for output in spec.outputs:
            low, high = (f"{v:g}".replace("inf", "∞") for v in output.range)
            cells = (
                f"`{fields[output.suffix]}`",
                output.description,
                spec.guidance,
                output.direction,
                f"{low} … {high}",
                spec.input_size,
                f"{spec.licence}; {spec.weights_licence}",
                spec.paper,
                spec.verified,
            )
            rows.append(f"| {' | '.join(cells)} |\n")
    return _HEADER + "".join(rows)


def updated(readme: str) -> str:
    """Returns a README's text with the table of today."""
    return _BETWEEN.sub(
        lambda match: match[1] + metrics_table() + match[2], readme
    )


def main() -> int:
    """Rewrites or checks the README; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    before = README.read_text("utf-8")
    after = updated(before)
    if check:
        if before != after:
            print("README.md: run python scripts/metrics_table.py")
        return int(before != after)
    README.write_text(after, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
