"""The panel Model quality in the real App."""

import os
import re
from pathlib import Path

import pytest
from app_browser import marks

import fiftyone_iqa as fiqa

pytestmark = pytest.mark.browser


@pytest.fixture
def dataset(make_dataset, photographs, tmp_path):
    """Photographs of two classes, told by a colour that models read."""
    import cv2
    from PIL import Image

    paths, labels = [], []
    for i, (_, image) in enumerate(photographs * 3):
        image = cv2.resize(image, (96, 96), interpolation=cv2.INTER_AREA)
        label = ("warm", "cold")[i % 2]
        image = image.astype(int)
        image[..., 0 if label == "warm" else 2] += 60 + 5 * i
        path = tmp_path / f"{i}.png"
        Image.fromarray(image.clip(0, 255).astype("uint8")).save(path)
        paths.append(str(path))
        labels.append(label)
    return make_dataset(paths=paths, labels=labels, persistent=True)


def models():
    """Two models: one reads colour at once, one after a convolution."""
    import torch

    from fiftyone_iqa.models import Normalisation, get_task_model
    from fiftyone_iqa.preprocessing import ResizeCrop

    class Warmth(torch.nn.Module):
        def __init__(self, gain, bias, hidden=0):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.tensor(gain))
            self.bias = torch.nn.Parameter(torch.tensor(bias))
            self.more = torch.nn.Parameter(torch.zeros(hidden))

        def forward(self, x):
            mean = x.mean(dim=(2, 3))
            warm = self.gain * (mean[:, 0] - mean[:, 2]) + self.bias
            return torch.stack([warm, -warm], dim=1)

    return [
        get_task_model(
            Warmth(*arguments),
            classes=["warm", "cold"],
            transform=ResizeCrop(64, 64),
            normalisation=Normalisation((0, 0, 0), (1, 1, 1)),
            slug=slug,
        )
        for slug, arguments in (
            ("balanced", (6.0, 0.0, 2000)),
            ("biased", (20.0, -3.5, 500)),
        )
    ]


def shoot(page, name):
    folder = os.environ.get("FIFTYONE_IQA_SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def test_models_side_by_side(open_app, dataset):
    import fiftyone as fo

    panel = fo.Panel(type="model_quality_panel")
    samples = fo.Panel(type="Samples", pinned=True)
    spaces = fo.Space(
        orientation="horizontal",
        sizes=[0.35, 0.65],
        children=[
            fo.Space(children=[samples], active_child=samples.component_id),
            fo.Space(children=[panel], active_child=panel.component_id),
        ],
    )
    page = open_app(dataset, spaces)

    # Nothing measured: it says what to press, and that opens the form
    page.get_by_text("No models measured yet").wait_for()
    page.get_by_role("button", name="Measure models").click()
    page.get_by_text("Images to attack").wait_for()
    shoot(page, "model-quality-form")
    page.keyboard.press("Escape")

    results = fiqa.model_quality(
        dataset,
        models(),
        severities=(1, 5),
        max_corrupted=10,
        cache=False,
        progress=False,
    )
    page.get_by_role("button", name="Look again").click()
    page.get_by_text("2 models on").wait_for()

    # A polygon per model in the radar
    radar = marks(page, 0, ".scatterlayer .js-line")
    assert radar.count() == 2
    page.get_by_text(re.compile("Not measured: OOD robustness")).wait_for()
    rows = page.locator("tbody tr")
    rows.first.wait_for()
    first = results.rank(cohort="models").model[0]
    assert first in rows.first.inner_text()
    shoot(page, "model-quality")

    # The user's weights turn the ranks
    scored = {
        model: score.value
        for model, score in results.score({"parameters": 1}).items()
    }
    assert max(scored, key=scored.get) == "biased"
    fields = page.locator("input[type=number]")
    assert fields.count() == 9
    for place in range(8):
        fields.nth(place).fill("0")
    page.wait_for_function(
        "document.querySelector('tbody tr')?.innerText.includes('biased')"
    )
    page.get_by_role("button", name="Published").click()
    page.wait_for_function(
        f"document.querySelector('tbody tr')?.innerText.includes({first!r})"
    )

    # A bar per model and measured dimension
    page.get_by_text("Bars", exact=True).click()
    assert marks(page, 0, ".barlayer .point path").count() == 12
    shoot(page, "model-quality-bars")
