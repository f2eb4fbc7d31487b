"""The scripts as modules."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def load_script():
    """A function that imports a script by its name, without running it.

    Scripts find their neighbours, as they do when they are run.
    """
    loaded = []

    def load(name):
        path = SCRIPTS / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        # Under its own name, so that its neighbours find it
        sys.modules[name] = module
        loaded.append(name)
        spec.loader.exec_module(module)
        return module

    sys.path.insert(0, str(SCRIPTS))
    yield load
    sys.path.remove(str(SCRIPTS))
    for name in loaded:
        sys.modules.pop(name, None)
