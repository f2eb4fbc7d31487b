"""The layout of the paper's tables, ours beside the published numbers."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

PUBLISHED = Path(__file__).parent / "published" / "drenkow2025_tables.csv"
CAUTIONS = (
    "Published tables: table 2 repeats the same-model pairs of tables 4 to 6 "
    "although the text says separate models were used, and in tables 2 and 4 "
    "to 6 the interval of KRCC equals that of PLCC in every row.",
    "Rows marked * are of one model for Q and M; rows marked † are of an "
    "encoder whose image tower was trained on the task's labels.",
)
TITLES = {
    1: "Table 1: metrics without task guidance",
    2: "Table 2: strong task guidance, Q and M of one model",
    3: "Table 3: weak task guidance (ZSCLIP-IQA)",
    4: "Table 4: strong task guidance, convolutional task models",
    5: "Table 5: strong task guidance, efficient task models",
    6: "Table 6: strong task guidance, transformer task models",
}
# The paper's name of a task model, and the table of its strong guidance
MODELS = {
    "resnet34": ("ResNet34", 4),
    "convnext_base": ("ConvNext-B", 4),
    "efficientnet_v2_m": ("EfficientNet-V2-M", 5),
    "mobilenet_v3_large": ("MobileNet-V3-L", 5),
    "swin_b": ("Swin-B", 6),
    "vit_l_16": ("ViT-L16", 6),
}
METRICS = {
    "arniqa": "ARNIQA",
    "brisque": "BRISQUE",
    "clipiqa": "CLIP-IQA",
    "tv": "TV",
}
OUTPUTS = {"qp": "Q_p", "qh": "Q_h", "ql": "Q_l"}
COLUMNS = ("auc", "ce", "krcc_abs", "plcc_abs", "srcc_abs")


def published() -> pd.DataFrame:
    """Returns the published rows."""
    return pd.read_csv(PUBLISHED, comment="#")


def rows_of(results, slug: str) -> list[dict]:
    """Returns one row per metric and table of a task model's run.

    Args:
        results: an ``ImageQualityResults``
        slug: of the task model
    """
    model, own_table = MODELS.get(slug, (slug, 5))
    rows = []
    for field, found in results.report["metrics"].items():
        stem, _, output = field.rpartition("_")
        base = {
            "field": field,
            "task_model": model,
            **_numbers(found),
        }
        if field in METRICS:
            rows.append({"table": 1, "metric": METRICS[field], **base})
        elif found["metric"] == "zsclip" and output in OUTPUTS:
            name = OUTPUTS[output]
            variant = stem.removesuffix("zsclip").rstrip("_")
            if variant and output == "ql" and variant[1:].isdigit():
                continue  # Q_l knows no temperature
            name = f"{variant} {name}".strip()
            mark = " †" if _is_lite(found) else ""
            rows.append({"table": 3, "metric": name + mark, **base})
        elif found["guidance"] == "strong" and output in OUTPUTS:
            q_model = MODELS.get(stem, (stem,))[0]
            same = stem == slug
            mark = " *" if same else ""
            name = f"{q_model} {OUTPUTS[output]}{mark}"
            rows.append({"table": own_table, "metric": name, **base})
            if same:
                name = OUTPUTS[output] + mark
                rows.append({"table": 2, "metric": name, **base})
    return rows


def with_published(rows: list[dict]) -> pd.DataFrame:
    """Adds, per row, the published value or the range over task models."""
    known = published()
    table = pd.DataFrame(rows)
    table = table.sort_values(["table", "task_model", "metric"])
    for name in COLUMNS:
        table[f"paper_{name}"] = [
            _published_value(known, row, name) for row in table.itertuples()
        ]
    return table.reset_index(drop=True)


def markdown(table: pd.DataFrame) -> str:
    """Returns the tables as Markdown."""
    parts = []
    for number, rows in table.groupby("table"):
        parts += [
            f"### {TITLES[number]}",
            "",
            "| task model | metric | AUC (raw) | AUC (fitted) | CE (base) | "
            "KRCC | PLCC | SRCC | paper: AUC, CE, KRCC, PLCC, SRCC |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for row in rows.to_dict("records"):
            cells = [
                row["task_model"],
                row["metric"],
                _estimate(row, "auc"),
                _number(row["fitted_auc"]),
                f"{_number(row['ce'])} ({_number(row['base_ce'])})",
                *(
                    _estimate(row, f"{k}_abs")
                    for k in ("krcc", "plcc", "srcc")
                ),
                ", ".join(row[f"paper_{name}"] for name in COLUMNS),
            ]
            parts.append(f"| {' | '.join(cells)} |")
        parts.append("")
    return "\n".join([*parts, *(f"- {caution}" for caution in CAUTIONS)])


def _numbers(found):
    p = found["predictability"]
    numbers = {
        "auc": p["auc"]["value"],
        "auc_low": p["auc"]["low"],
        "auc_high": p["auc"]["high"],
        "fitted_auc": p["fitted_auc"]["value"],
        "paper_raw_auc": found["paper_raw"]["fitted_auc"]["value"],
        "ce": p["cross_entropy"]["value"],
        "base_ce": p["base_entropy"],
    }
    for name in ("krcc", "plcc", "srcc"):
        value = found["correlation"][name]
        numbers[name] = value["signed"]["value"]
        numbers[f"{name}_p"] = value["p"]
        absolute = value["absolute"]
        numbers[f"{name}_abs"] = absolute["value"]
        numbers[f"{name}_abs_low"] = absolute["low"]
        numbers[f"{name}_abs_high"] = absolute["high"]
    return numbers


def _is_lite(found):
    identity = found["identity"] or {}
    return str(identity.get("encoder", "")).startswith("lite:")


def _published_value(known, row, name):
    metric = row.metric.rstrip(" *†")
    same = known[(known.table == row.table)]
    if row.table in (1, 2, 3):
        same = same[same.quality_metric == metric.split()[-1]]
    else:
        same = same[same.quality_metric == metric]
    of_model = same[same.task_model == row.task_model]
    if len(of_model):
        return f"{of_model[name].iloc[0]:.3f}"
    if len(same):
        return f"{same[name].min():.2f}…{same[name].max():.2f}"
    return "–"


def _number(value):
    return "–" if pd.isna(value) else f"{value:.3f}"


def _estimate(row, name):
    ends = [row[f"{name}_{end}"] for end in ("low", "high")]
    if pd.isna(ends).any():
        return _number(row[name])
    return f"{_number(row[name])} [{_number(ends[0])}, {_number(ends[1])}]"
