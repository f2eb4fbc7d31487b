import subprocess
import sys

import pytest

import fiftyone_iqa as fiqa

_SCRIPT = """
import sys, time
start = time.perf_counter()
import fiftyone_iqa
print(time.perf_counter() - start)
print([m for m in ("fiftyone", "torch", "numpy", "PIL") if m in sys.modules])
"""


def test_importing_loads_nothing_heavy():
    out = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.splitlines()[1] == "[]"


@pytest.mark.parametrize("name", fiqa.__all__)
def test_every_public_name_loads(name):
    assert getattr(fiqa, name) is not None
    assert name in dir(fiqa)


def test_unknown_names():
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        getattr(fiqa, "no" + "pe")
