"""The plugin, installed for the operators' tests."""

import pytest


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
