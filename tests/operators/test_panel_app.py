"""The panel in the real App: from an empty dataset to an export."""

import csv
import os
import re
from pathlib import Path

import pytest
from app_browser import choose, click_mark, execute, marks, wait_for_count

pytestmark = pytest.mark.browser

_SIGMAS = (0, 1, 2, 4, 8, 20)
_SIDE = 160


@pytest.fixture
def dataset(make_dataset, photographs, tmp_path):
    """Photographs, more and more blurred, and a judge who minds that."""
    import cv2
    import fiftyone as fo
    from PIL import Image

    paths, labels = [], []
    for label, image in photographs:
        small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        for sigma in _SIGMAS:
            pixels = cv2.GaussianBlur(small, (0, 0), sigma) if sigma else small
            path = tmp_path / f"{label}-{sigma}.png"
            Image.fromarray(pixels).save(path)
            paths.append(str(path))
            labels.append(label)
    dataset = make_dataset(paths=paths, labels=labels, persistent=True)
    n = len(photographs)
    severities = list(range(len(_SIGMAS))) * n
    dataset.add_sample_field("iqa_right", fo.BooleanField)
    dataset.set_values(
        "corruption", ["blur" if s else "clean" for s in severities]
    )
    dataset.set_values("severity", severities)
    dataset.set_values("source_id", labels)
    dataset.set_values(
        "camera", ["old" if s in (4, 5) else "new" for s in severities]
    )
    # Of severity s, the first photographs are right, fewer and fewer
    dataset.set_values(
        "iqa_right",
        [
            i // len(_SIGMAS) >= n * s // len(_SIGMAS)
            for i, s in enumerate(severities)
        ],
    )
    return dataset


def shoot(page, name):
    folder = os.environ.get("FIFTYONE_IQA_SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def test_from_nothing_to_an_export(open_app, dataset, foo, tmp_path):
    lay_out = foo.get_operator("@fiftyone-iqa/iqa/open_iqa_workspace")
    page = open_app(dataset, lay_out(dataset))

    # Nothing there: it says what to press
    page.get_by_role("button", name="Compute image quality").click()
    page.get_by_text("60 images", exact=True).wait_for()
    # Metrics that need no model
    for metric in ("zsclip", "blur"):
        choose(page, 0, re.compile(rf"\({metric}\)"))
    execute(page, "60 of 60 scored")

    page.get_by_role("button", name="Build quality prior").click()
    page.get_by_text("Brain key").wait_for()
    execute(page, "tells right from wrong")

    # Every plot has data
    assert marks(page, 0, ".barlayer .point path").count() >= 10
    assert marks(page, 1, ".scatterlayer .point").count() == 6
    page.get_by_text(re.compile(r"^SRCC -?\d")).wait_for()
    tabs = page.get_by_text("Metrics", exact=True)
    tabs.click()
    assert marks(page, 1, ".barlayer .point path").count() == 3
    page.get_by_text("Prior", exact=True).click()
    page.get_by_role("button", name="Expect the view").click()
    page.get_by_text(re.compile("over 60 of this view")).wait_for()
    assert marks(page, 1, ".js-line").count() == 3
    shoot(page, "panel-prior")

    # The threshold filters the grid
    dataset.reload()
    run = dataset.load_brain_results("iqa")
    metric = run.metrics[0]
    higher = run.report["metrics"][metric]["direction"] == "higher"
    values = sorted(dataset.values(metric), reverse=not higher)
    threshold = (values[6] + values[7]) / 2
    page.locator("input[type=number]").last.fill(f"{threshold:.4g}")
    wait_for_count(page, 7)
    page.get_by_role("button", name="Reset", exact=True).click()
    wait_for_count(page, 60)

    # So does a point
    page.get_by_text("Accuracy", exact=True).first.click()
    click_mark(page, marks(page, 1, ".scatterlayer .point").last)
    wait_for_count(page, 10)
    shoot(page, "panel-point")
    page.get_by_role("button", name="Reset", exact=True).click()
    wait_for_count(page, 60)

    # A slice is tagged
    page.get_by_text("Slices", exact=True).click()
    row = page.locator("tr", has_text="camera = old")
    row.locator("button").click()
    page.get_by_role("menuitem", name="Tag").click()
    page.get_by_text(re.compile("Tagged 20 samples")).wait_for()
    dataset.reload()
    assert set(
        dataset.match_tags("iqa_slice_camera_old").values("camera")
    ) == {"old"}
    shoot(page, "panel-slices")

    # And exported
    row.locator("button").click()
    page.get_by_role("menuitem", name="Export").click()
    page.get_by_text("All 20 images").wait_for()
    folder = tmp_path / "export"
    page.locator("text=Folder >> xpath=following::input").first.fill(
        str(folder)
    )
    page.get_by_role("button", name="Execute", exact=True).click()
    page.get_by_text(re.compile("Exported 20 images")).first.wait_for()
    with open(folder / "manifest.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 20
    assert {row["camera"] for row in rows} == {"old"}
