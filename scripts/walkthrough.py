"""Walks through the App from an empty database to an export.

In a headless Chromium, on photographs that come with Python packages, without
internet. Every step is checked and leaves a picture in ``docs/images``, those
of ``docs/walkthrough.md`` and of the README. Nothing of the user's is touched:
database, plugins and files are temporary.

    python scripts/walkthrough.py [--images DIR]
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import sys
import tempfile
import time
import uuid
from io import BytesIO
from pathlib import Path

from app_browser import (
    browser_page,
    choose,
    click_mark,
    execute,
    find_chromium,
    free_port,
    marks,
    open_dataset,
    run_operator,
    wait_for_count,
    wait_for_grid,
)

NAME = "walkthrough"
METRICS = ("zsclip", "tv", "blur")
TASK_MODEL = "efficientnet_lite2"
METRIC = "zsclip_ql"
CONDITION = ("contrast", 5)
MAX_BYTES = 400_000

_IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
_DATABASE = f"fiftyone-iqa-walkthrough-{uuid.uuid4().hex[:8]}"


class Walk:
    """The page, and the dataset that it shows."""

    def __init__(self, page, dataset, folder: Path):
        self.page = page
        self.dataset = dataset
        self.folder = folder
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Prints what was seen, and when."""
        print(f"{time.monotonic() - self._began:6.1f} s  {text}", flush=True)

    def check(self, condition: bool, text: str) -> None:
        """Prints what holds; ends the walk where it does not."""
        if not condition:
            raise SystemExit(f"walkthrough: it is not so that {text}")
        self.say(text)

    def shoot(self, name: str) -> None:
        """Keeps a picture of the page as it is, in 256 colours."""
        from PIL import Image

        # What the App moves has come to rest, and no tooltip is left
        self.page.wait_for_timeout(1500)
        image = Image.open(BytesIO(self.page.screenshot())).convert("RGB")
        path = self.folder / f"{name}.png"
        image.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
        size = path.stat().st_size
        self.check(size < MAX_BYTES, f"{path.name} has {size / 1000:.0f} kB")

    def press(self, name: str) -> None:
        """Presses a button."""
        self.page.get_by_role("button", name=name, exact=True).click()


def score(walk: Walk) -> None:
    """From nothing to quality fields."""
    page, dataset = walk.page, walk.dataset
    n = len(dataset)
    walk.check(
        set(dataset.get_field_schema())
        == {
            *("id", "filepath", "tags", "metadata", "created_at"),
            *("last_modified_at", "ground_truth", "corruption", "severity"),
            "source_id",
        },
        f"{n} images have labels and conditions, but no scores",
    )
    run_operator(page, "Open the image quality workspace")
    page.get_by_text("No image quality yet").wait_for()
    walk.shoot("empty")

    walk.press("Compute image quality")
    page.get_by_text(f"{n} images", exact=True).wait_for()
    for metric in METRICS:
        if metric not in ("zsclip", "tv"):  # which are chosen already
            choose(page, 0, re.compile(rf"\({metric}\)"))
    walk.shoot("app-form")
    execute(page, f"{n} of {n} scored")
    dataset.reload()
    walk.check(
        dataset.count("zsclip_ql") == dataset.count("blur") == n,
        f"all {n} images have zsclip_ql, tv and blur",
    )


def judge(walk: Walk) -> None:
    """What a model gets right."""
    from quickstart import judge as judge_by_name

    page, dataset = walk.page, walk.dataset
    walk.press("Compute predictions")
    page.get_by_text("Task model", exact=True).wait_for()
    model = page.get_by_role("combobox").first
    model.fill(TASK_MODEL)
    model.press("Enter")
    execute(page, f"{len(dataset)} of {len(dataset)} scored")
    dataset.reload()
    walk.check(
        dataset.count(TASK_MODEL) == len(dataset),
        f"{TASK_MODEL} has predicted all of them",
    )
    # Its names are ImageNet's, which the labels are not
    walk.say(judge_by_name(dataset, TASK_MODEL))
    walk.check(
        0 < dataset.count("iqa_correct") < len(dataset),
        f"{dataset.count('iqa_correct')} images are judged",
    )
    page.reload()
    wait_for_grid(page)


def relate(walk: Walk) -> None:
    """The quality prior, and the panel."""
    page, dataset = walk.page, walk.dataset
    walk.press("Build quality prior")
    page.get_by_text("Brain key").wait_for()
    execute(page, "tells right from wrong")
    dataset.reload()
    results = dataset.load_brain_results("iqa")
    walk.say(results.summary().splitlines()[0])
    page.get_by_role("combobox").nth(1).click()
    page.get_by_role("option", name=METRIC, exact=True).click()
    bars = marks(page, 0, ".barlayer .point path").count()
    points = marks(page, 1, ".scatterlayer .point").count()
    walk.check(
        bars >= 10 and points == 13,
        f"the panel has {bars} bars and {points} conditions",
    )
    walk.shoot("panel")


def filter_grid(walk: Walk) -> None:
    """The grid follows the threshold, and a point."""
    page, dataset = walk.page, walk.dataset
    n = len(dataset)
    scores = sorted(dataset.values(METRIC))
    k = n // 6
    threshold = (scores[k - 1] + scores[k]) / 2
    page.locator("input[type=number]").last.fill(f"{threshold:.4g}")
    wait_for_count(page, k)
    walk.say(f"threshold {threshold:.4g}: the grid shows {k} of {n} images")
    walk.shoot("threshold")
    walk.press("Reset")
    wait_for_count(page, n)
    walk.say(f"Reset: {n} images again")

    run = dataset.load_brain_results("iqa")
    rows = run.report["metrics"][METRIC]["groups"]["rows"]
    names = [tuple(row["name"]) for row in rows]
    # Plots draw a trace per corruption, of which points are the parts
    traces = list(dict.fromkeys(name[0] for name in names))
    order = sorted(names, key=lambda name: traces.index(name[0]))
    points = marks(page, 1, ".scatterlayer .point")
    click_mark(page, points.nth(order.index(CONDITION)))
    originals = len(dataset.distinct("source_id"))
    wait_for_count(page, originals)
    walk.check(
        len(dataset.match({"corruption": CONDITION[0], "severity": 5}))
        == originals,
        f"a point: the grid shows the {originals} images of "
        f"{CONDITION[0]}, severity {CONDITION[1]}",
    )
    walk.shoot("point")
    walk.press("Reset")
    wait_for_count(page, n)


def forecast(walk: Walk) -> None:
    """The accuracy that quality alone lets expect."""
    page = walk.page
    page.get_by_text("Prior", exact=True).click()
    page.get_by_role("button", name="Expect the view").click()
    said = page.get_by_text(re.compile("^Expected .* of this view"))
    said.wait_for()
    walk.say(said.inner_text())
    walk.shoot("panel-prior")
    page.get_by_text("Metrics", exact=True).click()
    marks(page, 1, ".barlayer .point path")
    walk.shoot("panel-metrics")


def triage(walk: Walk, folder: Path) -> None:
    """A slice is tagged, saved and exported."""
    import fiftyone as fo

    page, dataset = walk.page, walk.dataset
    page.get_by_text("Slices", exact=True).click()
    page.get_by_role("button", name="Find slices").click()
    row = page.locator("tbody tr").first
    row.wait_for()
    cells = row.locator("td").all_inner_texts()
    name, n = cells[0], int(cells[1])
    walk.say(f"the worst slice: {name}, {n} images")

    def act(label):
        row.locator("button").click()
        page.get_by_role("menuitem", name=label, exact=True).click()

    act("Tag")
    page.get_by_text(re.compile(f"Tagged {n} samples")).wait_for()
    walk.shoot("panel-slices")
    dataset.reload()
    (tag,) = dataset.distinct("tags")
    walk.check(len(dataset.match_tags(tag)) == n, f"{n} images have tag {tag}")

    act("Save view")
    page.get_by_text(re.compile("^Saved iqa_")).wait_for()
    dataset.reload()
    (saved,) = dataset.list_saved_views()
    walk.check(
        len(dataset.load_saved_view(saved)) == n,
        f"saved view {saved} has {n} images",
    )

    act("Export")
    page.get_by_text(f"All {n} images").wait_for()
    page.locator("text=Folder >> xpath=following::input").first.fill(
        str(folder)
    )
    walk.shoot("export")
    execute(page, f"Exported {n} images")
    with open(folder / "manifest.csv", newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    images = list((folder / "data").iterdir())
    walk.check(
        len(rows) == len(images) == n,
        f"the export has {n} images and as many rows in its manifest",
    )
    again = fo.Dataset.from_dir(
        str(folder), dataset_type=fo.types.FiftyOneDataset, progress=False
    )
    walk.check(
        len(again) == again.count(METRIC) == n,
        f"imported again, all {n} have {METRIC}",
    )


def lights_on(walk: Walk) -> None:
    """The App's other theme."""
    page = walk.page
    page.evaluate("localStorage.setItem('mui-mode', 'light')")
    page.reload()
    wait_for_grid(page)
    page.get_by_text("Metrics", exact=True).wait_for()
    marks(page, 1, ".scatterlayer .point")
    walk.shoot("light")


def main() -> int:
    """Walks; returns the process's exit code."""
    args = _parse()
    chromium = find_chromium()
    if chromium is None:
        print("walkthrough: no Chromium found", file=sys.stderr)
        return 1

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        _isolate(Path(folder))
        import fiftyone as fo
        import fiftyone.core.odm as foo
        from quickstart_images import corrupted_dataset, photographs

        from fiftyone_iqa.plugin import install_plugin

        install_plugin()
        errors = []
        try:
            dataset = corrupted_dataset(NAME, photographs())
            profile = Path(folder, "profile")
            with browser_page(chromium, profile, errors) as page:
                walk = Walk(page, dataset, args.images)
                args.images.mkdir(parents=True, exist_ok=True)
                open_dataset(page, dataset, free_port())
                score(walk)
                judge(walk)
                relate(walk)
                filter_grid(walk)
                forecast(walk)
                triage(walk, Path(folder, "export"))
                lights_on(walk)
            walk.check(not errors, f"the console had no errors {errors or ''}")
        finally:
            fo.close_app()
            foo.get_db_conn().client.drop_database(_DATABASE)
    return 0


def _isolate(folder):
    """Has FiftyOne, imported hereafter, keep to a database of its own."""
    (folder / "plugins").mkdir()
    os.environ.update(
        FIFTYONE_DATABASE_NAME=_DATABASE,
        FIFTYONE_DEFAULT_DATASET_DIR=str(folder / "datasets"),
        FIFTYONE_PLUGINS_DIR=str(folder / "plugins"),
        FIFTYONE_IQA_CACHE_DIR=str(folder / "cache"),
        FIFTYONE_APP_CONFIG_PATH=str(folder / "app_config.json"),
        FIFTYONE_DO_NOT_TRACK="1",
    )


def _parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--images",
        type=Path,
        default=_IMAGES,
        metavar="DIR",
        help="where the pictures go (default: docs/images)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
