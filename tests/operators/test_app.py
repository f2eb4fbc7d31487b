"""The real App in a headless browser: from operator browser to sidebar."""

import os
import re
from pathlib import Path

import pytest
from app_browser import run_operator

pytestmark = pytest.mark.browser


@pytest.fixture
def dataset(make_dataset, photographs, tmp_path):
    """The photographs, and each of them blurred beyond recognition."""
    import cv2
    from PIL import Image

    paths, labels = [], []
    for label, image in photographs:
        for kind, pixels in (
            ("sharp", image),
            ("blurred", cv2.GaussianBlur(image, (0, 0), 25)),
        ):
            path = tmp_path / f"{label}-{kind}.png"
            Image.fromarray(pixels).save(path)
            paths.append(str(path))
            labels.append(label)
    return make_dataset(paths=paths, labels=labels, persistent=True)


def keep_screenshot(page, name):
    """Keeps a picture where FIFTYONE_IQA_SCREENSHOTS says, if it does."""
    folder = os.environ.get("FIFTYONE_IQA_SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def test_compute_quality_from_the_operator_browser(open_app, dataset):
    page = open_app(dataset)
    run_operator(page, "Compute image quality")
    page.get_by_text("20 images", exact=True).wait_for()
    keep_screenshot(page, "compute-quality-form")

    # Choose the label set and one more metric
    page.get_by_text("Automatic", exact=True).click()
    page.get_by_role("option", name=re.compile("^ground_truth")).click()
    page.get_by_role("button", name="Execute", exact=True).click()

    page.get_by_text(re.compile("20 of 20 scored")).wait_for()
    dataset.reload()
    assert dataset.count("zsclip_ql") == 20
    assert dataset.count("tv") == 20

    page.get_by_role("button", name="Done", exact=True).click()

    # The group shows when the dataset is opened again
    page.reload()
    page.locator("[data-cy='sidebar-group-IMAGE QUALITY']").wait_for()
    page.locator("[data-cy=checkbox-zsclip_ql]").click()
    page.locator("[data-cy=checkbox-tv]").click()
    keep_screenshot(page, "compute-quality-sidebar")

    # The sidebar filters by the new field
    page.locator("[data-cy=sidebar-field-arrow-enabled-zsclip_ql]").click()
    values = sorted(dataset.values("zsclip_ql"))
    threshold = (values[4] + values[5]) / 2
    sidebar = page.locator("[data-cy=sidebar-column]")
    sidebar.get_by_placeholder("max").fill(str(threshold))
    page.keyboard.press("Enter")
    page.get_by_text(re.compile(r"^5 of 20 samples|^5 samples")).wait_for()
    keep_screenshot(page, "compute-quality-filtered")


def test_an_error_is_said_in_the_app(open_app, dataset):
    import fiftyone as fo

    dataset.add_sample_field("tv", fo.FloatField)
    page = open_app(dataset)
    run_operator(page, "Compute image quality")
    page.get_by_text("20 images", exact=True).wait_for()
    page.get_by_role("button", name="Execute", exact=True).click()
    page.get_by_text(
        re.compile("was not written by metric 'tv'")
    ).first.wait_for()
    dataset.reload()
    assert not dataset.has_field("zsclip_ql")
    keep_screenshot(page, "compute-quality-error")


def test_the_metrics_are_listed(open_app, dataset):
    page = open_app(dataset)
    run_operator(page, "List image quality metrics")
    page.get_by_text("by-configuration").first.wait_for()
    keep_screenshot(page, "list-quality-metrics")


def test_predictions_and_correctness(open_app, dataset):
    page = open_app(dataset)
    run_operator(page, "Compute task model predictions")
    page.get_by_text("20 images", exact=True).wait_for()
    page.get_by_role("combobox").first.click()
    page.get_by_role("option", name=re.compile("^EfficientNet-Lite0")).click()
    keep_screenshot(page, "compute-predictions-form")
    page.get_by_role("button", name="Execute", exact=True).click()
    page.get_by_text(re.compile("20 of 20 scored")).wait_for()
    page.get_by_role("button", name="Done", exact=True).click()
    dataset.reload()
    assert dataset.count("efficientnet_lite0_qp") == 20

    # These labels are not ImageNet's: rename what the model may know
    names = {"cat": "Egyptian cat", "coffee": "espresso", "temple": "palace"}
    labels = dataset.values("ground_truth.label")
    dataset.set_values(
        "ground_truth.label", [names.get(label, label) for label in labels]
    )
    page.reload()
    page.locator("[data-cy=checkbox-efficientnet_lite0_qp]").wait_for()
    run_operator(page, "Compute correctness")
    for title, choice in (
        ("Predictions", "efficientnet_lite0"),
        ("Ground truth", "ground_truth"),
    ):
        page.locator(
            f"text={title} >> xpath=following::*[@role='combobox']"
        ).first.click()
        page.get_by_role("option", name=choice, exact=True).click()
    keep_screenshot(page, "compute-correctness-form")
    page.get_by_role("button", name="Execute", exact=True).click()
    page.get_by_text(re.compile("Correctness: accuracy")).wait_for()
    dataset.reload()
    assert dataset.count("iqa_correct") == 20
    assert 0 < dataset.values("iqa_correct").count(True) < 20
