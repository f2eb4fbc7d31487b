"""The plugin, installed for the operators' tests."""

import os
from pathlib import Path

import pytest
from app_browser import browser_page, free_port, open_dataset


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

    port = free_port()
    errors = []
    with browser_page(chromium_path, tmp_path / "profile", errors) as page:

        def open_(dataset, spaces=None):
            open_dataset(page, dataset, port, spaces)
            return page

        yield open_
        folder = os.environ.get("FIFTYONE_IQA_SCREENSHOTS")
        if folder:
            page.screenshot(path=str(Path(folder) / "last.png"))
    fo.close_app()
    assert not errors
