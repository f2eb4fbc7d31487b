"""The plugin, installed for the operators' tests."""

import os
import re
import socket
from pathlib import Path

import pytest

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
_NETWORK = re.compile(
    r"Failed to load resource|net::ERR_|analytics|^entry is loading$"
)


@pytest.fixture(scope="session", autouse=True)
def plugin():
    from fiftyone_iqa.plugin import install_plugin, uninstall_plugin

    install_plugin(force=True)
    yield
    uninstall_plugin()


@pytest.fixture
def foo():
    import fiftyone.operators as foo

    return foo


@pytest.fixture
def form(foo):
    """A function that returns an input form's properties, as the App's."""
    from fiftyone.operators.executor import ExecutionContext, Executor

    def resolve(uri, dataset, view=None, **params):
        request = {"dataset_name": dataset.name, "params": params}
        if view is not None:
            request["view"] = view._serialize()
        context = ExecutionContext(request, executor=Executor())
        operator = foo.get_operator(uri)
        with context:
            form = operator.resolve_type(context, "inputs").to_json()
        return form["type"]["properties"]

    return resolve


@pytest.fixture
def open_app(chromium_path, make_dataset, tmp_path):
    """A function that opens a dataset in the App and returns the page.

    It takes the dataset, and ``fo.Space`` to lay the page out.

    Console errors that are not the network's fail the test. ``make_dataset``
    is asked for only to be undone later: an operator's last reload may still
    be under way, and of a dataset that is deleted meanwhile the App's console
    says "GraphQL API Error".
    """
    import fiftyone as fo
    from playwright.sync_api import sync_playwright

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]

    errors = []
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path / "profile"),
            executable_path=chromium_path,
            headless=True,
            viewport={"width": 1440, "height": 900},
            args=_ARGUMENTS,
        )
        page = context.new_page()
        page.set_default_timeout(_TIMEOUT)
        page.on(
            "console",
            lambda message: (
                message.type == "error"
                and not _NETWORK.search(message.text)
                and errors.append(message.text)
            ),
        )
        page.on(
            "pageerror",
            lambda error: (
                _NETWORK.search(str(error)) or errors.append(str(error))
            ),
        )

        def open_(dataset, spaces=None):
            fo.launch_app(dataset, spaces=spaces, remote=True, port=port)
            page.goto(f"http://127.0.0.1:{port}/datasets/{dataset.name}")
            page.get_by_test_id("fo-grid").or_(
                page.locator("[data-cy=fo-grid]")
            ).first.wait_for()
            for name in ("Dismiss", "Disable"):
                button = page.get_by_role("button", name=name)
                if button.count():
                    button.first.click()
            return page

        yield open_
        folder = os.environ.get("FIFTYONE_IQA_SCREENSHOTS")
        if folder:
            page.screenshot(path=str(Path(folder) / "last.png"))
        context.close()
    fo.close_app()
    assert not errors
