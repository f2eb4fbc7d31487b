"""Drives FiftyOne's App in a headless Chromium, for tests and walk-through.

Imports neither FiftyOne nor playwright before they are needed.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE = {"width": 1440, "height": 900}

_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_TIMEOUT = 60_000
# The App asks for fonts and news on the internet; without any that is noise.
# Its grid says that an entry is loading where the view changes meanwhile
_NOISE = re.compile(
    r"Failed to load resource|net::ERR_|analytics|^entry is loading$"
)


def find_chromium() -> str | None:
    """Returns the path of a Chromium, or None."""
    for name in (os.environ.get("FIFTYONE_IQA_CHROMIUM"), *_NAMES):
        path = name and shutil.which(name)
        if path:
            return path

    # What `playwright install chromium` leaves on Linux
    cache = Path.home() / ".cache" / "ms-playwright"
    found = sorted(cache.glob("chromium-*/chrome-linux*/chrome"))
    return str(found[-1]) if found else None


def free_port() -> int:
    """Returns a port that nothing listens to."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextmanager
def browser_page(chromium: str, profile: Path, errors: list) -> Iterator:
    """Opens a page in a headless Chromium.

    Args:
        chromium: path of the executable
        profile: a new folder for the browser's files
        errors: takes the console's errors, those of the network left out
    """
    from playwright.sync_api import sync_playwright

    def note(text):
        if not _NOISE.search(text):
            errors.append(text)

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile),
            executable_path=chromium,
            headless=True,
            viewport=SIZE,
            args=_ARGUMENTS,
        )
        page = context.new_page()
        page.set_default_timeout(_TIMEOUT)
        page.on(
            "console",
            lambda message: message.type == "error" and note(message.text),
        )
        page.on("pageerror", lambda error: note(str(error)))
        yield page
        context.close()


def open_dataset(page, dataset, port: int, spaces=None) -> None:
    """Serves a dataset and shows it.

    Args:
        page: the browser's page
        dataset: a ``fiftyone.core.dataset.Dataset``
        port: a free port
        spaces (None): ``fo.Space`` to lay the page out
    """
    import fiftyone as fo

    fo.launch_app(dataset, spaces=spaces, remote=True, port=port)
    page.goto(f"http://127.0.0.1:{port}/datasets/{dataset.name}")
    wait_for_grid(page)
    for name in ("Dismiss", "Disable"):
        button = page.get_by_role("button", name=name)
        if button.count():
            button.first.click()


def wait_for_grid(page) -> None:
    """Waits for the images."""
    page.get_by_test_id("fo-grid").or_(
        page.locator("[data-cy=fo-grid]")
    ).first.wait_for()


def wait_for_count(page, n: int) -> None:
    """Waits until the grid says that it has ``n`` samples."""
    page.get_by_text(re.compile(rf"^{n} (of \d+ )?samples?$")).wait_for()


def run_operator(page, label: str) -> None:
    """Chooses an operator in the operator browser."""
    page.keyboard.press("`")
    search = page.get_by_placeholder(re.compile("Search operations"))
    search.fill(label)
    page.get_by_text(label, exact=True).first.click()


def choose(page, place: int, option: re.Pattern) -> None:
    """Chooses in a form's drop-down, counted from the top."""
    page.get_by_role("combobox").nth(place).click()
    page.get_by_role("option", name=option).click()


def execute(page, said: str) -> None:
    """Executes a form, waits for what is said then, and closes it."""
    page.get_by_role("button", name="Execute", exact=True).click()
    page.get_by_text(re.compile(said)).first.wait_for()
    page.get_by_role("button", name="Done", exact=True).click()


def marks(page, plot: int, kind: str):
    """Waits for a plot's marks, by CSS selector, and returns them."""
    found = page.locator(".js-plotly-plot").nth(plot).locator(kind)
    found.first.wait_for(state="attached")
    return found


def click_mark(page, mark) -> None:
    """Clicks the middle of a plot's mark, which others may cover."""
    box = mark.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
