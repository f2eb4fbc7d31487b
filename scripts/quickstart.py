"""Scores real images for machine vision and shows the result.

Run through ``scripts/quickstart.sh``, which prepares the environment. With
internet, the images are a part of the FiftyOne zoo's ``imagenet-sample``;
without, photographs that scikit-image and scikit-learn ship. Both are
corrupted, so that quality varies. ``--images`` scores a folder of one's own,
as it is.
"""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from pathlib import Path

import fiftyone as fo
import pandas as pd
from quickstart_images import (
    check_name,
    choose_images,
    corrupted_dataset,
    folder_dataset,
    folder_images,
    imagenet_mapping,
)

import fiftyone_iqa as fiqa
from fiftyone_iqa.encoders import (
    EncoderUnavailableError,
    default_encoder,
    get_encoder,
)
from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.models import ModelUnavailableError, get_task_model
from fiftyone_iqa.plugin import PluginInstallError, install_plugin
from fiftyone_iqa.sidebar import show_in_sidebar
from fiftyone_iqa.workspace import WORKSPACE, save_workspace

DEFAULT_NAME = "fiftyone-iqa-quickstart"

METRICS = ("zsclip", "tv", "brisque", "blur", "brightness", "contrast")
# The second needs no download; the lite encoder shares no weights with it
TASK_MODELS = ("resnet34", "efficientnet_lite2")
CORRECT = "iqa_correct"
BRAIN_KEY = "iqa"
SCORES = {
    "zsclip_ql": "mean Q_l",
    "zsclip_qp": "mean Q_p",
    "zsclip_qh": "mean Q_h",
    "tv": "mean TV",
}
MAX_TABLE_ROWS = 30


def scores_frame(dataset: fo.Dataset, root: Path | None) -> pd.DataFrame:
    """Returns one row per image: file, label, condition, scores.

    Args:
        dataset: a scored dataset
        root: the folder that file names are relative to, or None for the
            bare name
    """
    paths = {
        "file": "filepath",
        "label": "ground_truth.label",
        "corruption": "corruption",
        "severity": "severity",
        **{field: field for field in (*SCORES, CORRECT)},
    }
    schema = dataset.get_field_schema()
    paths = {k: p for k, p in paths.items() if p.split(".")[0] in schema}
    columns = dataset.values(list(paths.values()))
    frame = pd.DataFrame(dict(zip(paths, columns, strict=True)))
    # A column of None alone would not be numeric
    numeric = [c for c in (*SCORES, CORRECT) if c in frame]
    frame = frame.astype(dict.fromkeys(numeric, float))
    if root is None:
        frame["file"] = frame["file"].map(os.path.basename)
    else:
        frame["file"] = frame["file"].map(
            lambda path: os.path.relpath(path, os.path.abspath(root))
        )
    if "label" in frame:
        frame["label"] = frame["label"].fillna("(no label)")
    return frame


def means_table(frame: pd.DataFrame) -> str:
    """Returns the mean scores per condition, else per label, as text."""
    conditions = "corruption" in frame
    if "label" not in frame:
        frame = frame.assign(label="(all images)")

    by = ["corruption", "severity"] if conditions else ["label"]
    groups = frame.groupby(by, sort=False)
    scores = [c for c in (*SCORES, CORRECT) if c in frame]
    table = groups[scores].mean()
    table.insert(0, "n", groups["zsclip_ql"].count())
    left_out = 0
    if not conditions:
        table = table.sort_values("zsclip_ql")
        left_out = max(len(table) - MAX_TABLE_ROWS, 0)
        table = table.head(MAX_TABLE_ROWS)

    headings = {**SCORES, CORRECT: "accuracy"}
    text = _format(table.reset_index().rename(columns=headings))
    if left_out:
        text += f"\n... and {left_out} labels with a higher mean Q_l"
    return text


def extremes_table(frame: pd.DataFrame, worst: bool, count: int = 5) -> str:
    """Returns the images with the lowest or highest Q_l, as text."""
    ranked = frame.dropna(subset="zsclip_ql").sort_values(
        "zsclip_ql", ascending=worst, kind="stable"
    )
    ranked = ranked.rename(columns={"zsclip_ql": "Q_l"})
    columns = ["file", "label", "corruption", "severity", "Q_l"]
    columns = [column for column in columns if column in ranked]
    return _format(ranked[columns].head(count))


def _format(frame):
    columns = []
    for name in frame:
        values = frame[name]
        if pd.api.types.is_float_dtype(values):
            cells = ["-" if pd.isna(v) else f"{v:.4f}" for v in values]
        else:
            cells = [str(value) for value in values]
        width = max(map(len, [name, *cells]))
        numeric = pd.api.types.is_numeric_dtype(values)
        pad = str.rjust if numeric else str.ljust
        columns.append([pad(cell, width) for cell in [name, *cells]])
    return "\n".join(
        "  ".join(row).rstrip() for row in zip(*columns, strict=True)
    )


def arrange_app(dataset: fo.Dataset, scores: list[str]) -> fo.Space:
    """Groups the scores in the sidebar and saves the workspace.

    Args:
        dataset: a scored dataset
        scores: the names of the score fields

    Returns:
        the workspace
    """
    schema = dataset.get_field_schema()
    condition = [f for f in ("corruption", "severity") if f in schema]
    if condition:
        show_in_sidebar(dataset, condition, "condition")
    show_in_sidebar(dataset, scores)
    for group in dataset.app_config.sidebar_groups:
        group.expanded = group.name not in ("metadata", "primitives", "other")
    dataset.app_config.active_fields = fo.ActiveFields(
        paths=["zsclip_ql", *condition]
    )
    dataset.save()

    return save_workspace(dataset, "zsclip_ql")


def open_app(dataset: fo.Dataset, workspace: fo.Space, port: int | None):
    """Opens the App and serves it until interrupted."""
    config = fo.app_config.copy()
    config.grid_zoom = 8  # images large enough to see their quality
    session = fo.launch_app(
        dataset,
        spaces=workspace,
        port=port,
        remote=not _has_browser(),
        config=config,
    )
    print(
        f"App: http://localhost:{session.server_port}/datasets/"
        f"{dataset.slug}?workspace={WORKSPACE} (Ctrl-C ends it)",
        flush=True,
    )
    try:
        session.wait(-1)
    except KeyboardInterrupt:
        print()


def _has_browser():
    # Over SSH or without a display, webbrowser would start a text browser
    if "SSH_CONNECTION" in os.environ:
        return False
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def main(argv: list[str] | None = None) -> int:
    """Runs the quickstart; returns the process's exit code."""
    args = _parse(argv)
    try:
        dataset, workspace = run(args)
    except (
        IQAError,
        EncoderUnavailableError,
        ModelUnavailableError,
    ) as e:
        print(f"quickstart: {e}", file=sys.stderr)
        return 1

    if args.app:
        try:
            install_plugin()
        except PluginInstallError as e:
            print(f"The panel Image Quality is missing: {e}", file=sys.stderr)
        open_app(dataset, workspace, args.port)
    return 0


def run(args: argparse.Namespace) -> tuple[fo.Dataset, fo.Space]:
    """Makes, scores, prints and arranges the dataset."""
    check_name(args.name)
    classes = args.classes or "ground_truth"
    if args.encoder:
        encoder, reason = get_encoder(args.encoder), "--encoder asks for it"
    else:
        encoder, reason = default_encoder()

    if args.images:
        sources = folder_images(args.images, labelled=not args.classes)
        dataset = folder_dataset(args.name, sources)
    else:
        dataset = corrupted_dataset(args.name, choose_images())

    model = choose_task_model()
    report = fiqa.compute_predictions(
        dataset, model, metrics=METRICS, classes=classes, encoder=encoder
    )
    print(report)
    print(f"\nTask model: {model.id}. {judge(dataset, model.slug)}")
    caveat = f" {encoder.caveat}" if encoder.caveat else ""
    print(f"Encoder: {report.encoder}, because {reason}.{caveat}")

    scores = [field for m in report.metrics for field in m.fields]
    frame = scores_frame(dataset, args.images)
    print(f"\n{means_table(frame)}")
    print(f"\nWorst images\n{extremes_table(frame, worst=True)}")
    print(f"\nBest images\n{extremes_table(frame, worst=False)}")
    print(f"\n{relate(dataset, scores)}")
    print("\nQ_l differs between labels too: compare means, or one label.")
    print(f"Dataset: fiftyone.load_dataset({dataset.name!r})")
    return dataset, arrange_app(dataset, scores)


def choose_task_model():
    """Returns the first task model whose weights can be had."""
    for name in TASK_MODELS:
        try:
            return get_task_model(name)
        except ModelUnavailableError as e:
            error = e
    raise error


def judge(dataset: fo.Dataset, predictions: str) -> str:
    """Stores correctness where labels allow it; says what came out."""
    if "ground_truth" not in dataset.get_field_schema():
        return "Without labels, nothing says whether it is right."

    mapping = imagenet_mapping(dataset)
    judged = dataset
    if mapping:
        labels = sorted(set(mapping.values()))
        judged = dataset.match(
            fo.ViewField("ground_truth.label").is_in(labels)
        )
    try:
        report = fiqa.compute_correctness(
            judged, predictions, "ground_truth", CORRECT, mapping
        )
    except IQAError as e:
        return f"Its correctness is not judged: {e}"
    of_labels = f" of the labels {', '.join(labels)}" if mapping else ""
    return f"Correctness{of_labels}: {report}"


def relate(dataset: fo.Dataset, scores: list[str]) -> str:
    """Builds the quality prior where that is possible; says what it tells."""
    if CORRECT not in dataset.get_field_schema():
        return "Without correctness there is no quality prior."
    fields = dataset.get_field_schema(ftype=fo.FloatField)
    try:
        results = fiqa.build_quality_prior(
            dataset,
            [field for field in scores if field in fields],
            CORRECT,
            ground_truth="ground_truth",
            brain_key=BRAIN_KEY,
        )
    except IQAError as e:
        return f"There is no quality prior: {e}"
    best = results.metrics[0]
    auc = results.get_meta()["auc"][best]
    return (
        f"Quality prior {BRAIN_KEY!r}: {best} tells right from wrong best, "
        f"AUC {auc:.2f}"
    )


def _parse(argv):
    parser = argparse.ArgumentParser(
        prog="quickstart.sh",
        description="Scores real images for machine vision, prints what it "
        "finds and opens the FiftyOne App on it.",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="score the images of this folder; its sub-folders are labels "
        "(default: the zoo's imagenet-sample, or photographs that come "
        "with Python packages, and corrupted variants of them)",
    )
    parser.add_argument(
        "--classes",
        type=_class_list,
        metavar="A,B,C",
        help="the labels to choose among, for --images without sub-folders",
    )
    parser.add_argument(
        "--encoder",
        metavar="NAME",
        help="image-text encoder, such as ViT-B-32, hf-hub:org/model, lite "
        "(default: ViT-B-32 by OpenAI where its weights can be had, else "
        "lite)",
    )
    parser.add_argument(
        "--name",
        default=DEFAULT_NAME,
        help="name of the dataset (default: %(default)s)",
    )
    parser.add_argument(
        "--no-app",
        dest="app",
        action="store_false",
        help="do not open the App",
    )
    parser.add_argument(
        "--port", type=int, help="port of the App (default: FiftyOne's)"
    )
    args = parser.parse_args(argv)
    if args.classes and not args.images:
        parser.error("--classes goes with --images")
    return args


def _class_list(text):
    return [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    sys.exit(main())
