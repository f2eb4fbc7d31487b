"""pyiqa's metrics as networks: which there are, which run, their weights.

Nothing here imports torch or pyiqa until a network is loaded: pyiqa's import
takes seconds, and its table of metrics is a file of its own.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import runpy
import sys
import threading
from contextlib import contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from ..errors import IQAError, WeightsUnavailableError
from ..network import head

LICENCE = "PolyForm-Noncommercial-1.0.0"
INSTALL = 'pip install "fiftyone-iqa[baselines]"'
MAX_DOWNLOAD_BYTES = 10**9

# By the kind of network, so that a name that a later pyiqa adds is judged too
_REFUSED_KINDS = {
    "FID": "it compares two sets of images and has no score for one",
    "InceptionScore": "it scores a set of images and has none for one",
    "CLIPScore": "it needs a text beside the image",
    "QAlign": "it runs a large language model",
    "QReAlign": "it runs a large language model",
    "Compare2Score": "it runs a large language model",
}
# pyiqa sends these there by name, whatever the device asked for
_CUDA_ONLY_KINDS = ("MACLIP",)

_LOCK = threading.Lock()


@cache
def pyiqa_table() -> dict[str, dict]:
    """Returns pyiqa's own table of metrics, without importing pyiqa.

    Returns:
        ``{name: {"metric_opts", "metric_mode", "lower_better",
        "score_range"}}``

    Raises:
        IQAError: if pyiqa is not installed
    """
    spec = importlib.util.find_spec("pyiqa")
    if spec is None or spec.origin is None:
        raise IQAError(
            f"This metric runs in pyiqa, which is not installed: {INSTALL} "
            f"if its licence, {LICENCE} (no commercial use), fits"
        )
    path = Path(spec.origin).with_name("default_model_configs.py")
    return runpy.run_path(str(path))["DEFAULT_CONFIGS"]


def kind_of(name: str) -> str:
    """Returns the name of the class of a pyiqa metric's network."""
    return pyiqa_table()[name]["metric_opts"]["type"]


def check_runs(name: str) -> None:
    """Raises unless a pyiqa metric can score one image by itself.

    Raises:
        IQAError: if there is no such metric, or a rule refuses it: it needs
            a reference image, a set of images or a text, or is a language
            model. (Weights above 1 GB are refused when they would be
            downloaded.)
    """
    table = pyiqa_table()
    if name not in table:
        close = difflib.get_close_matches(name, table, n=3)
        hint = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise IQAError(
            f"pyiqa has no metric {name!r}{hint}; pyiqa.list_models('NR') "
            "lists those without a reference"
        )

    reason = _REFUSED_KINDS.get(kind_of(name))
    if reason is None and table[name].get("metric_mode") != "NR":
        reason = "it needs a reference image to compare with"
    if reason is not None:
        raise IQAError(
            f"pyiqa's {name!r} cannot score an image by itself: {reason}"
        )


def load_network(name: str, device: str):
    """Builds a pyiqa metric's network with its weights.

    Files that are missing are downloaded by pyiqa, once it is sure that
    they can be: that takes seconds, not pyiqa's minutes of retries.

    Args:
        name: a pyiqa name that :func:`check_runs` lets through
        device: ``"cpu"`` or a CUDA device

    Returns:
        a ``torch.nn.Module`` in evaluation mode, ``(n, 3, h, w)`` float32
        RGB in [0, 1] to scores

    Raises:
        WeightsUnavailableError: if weights are missing and out of reach
        IQAError: if the network cannot be built, does not run on the
            device, or its weights are above 1 GB
    """
    kind = kind_of(name)
    if kind in _CUDA_ONLY_KINDS and not device.startswith("cuda"):
        raise IQAError(f"pyiqa's {name!r} runs on CUDA only, not on {device}")

    build_network = _import_pyiqa()
    options = pyiqa_table()[name]["metric_opts"]
    # pyiqa prints what it loads; stdout is the caller's
    with _LOCK, redirect_stdout(sys.stderr):
        try:
            network = _build(name, lambda: build_network(options))
        except IQAError:
            raise
        except Exception as e:
            reason = f"{type(e).__name__}: {str(e).partition(chr(10))[0]}"
            raise IQAError(
                f"pyiqa cannot build {name!r} ({reason}): a weights file "
                f"under {_hub_folder()} is damaged (delete it), or pyiqa "
                "does not fit a package it uses"
            ) from e
    return network.to(device).eval()


def named_arrays(value, name="", seen=None):
    """Yields ``(path, array)`` of all parameters a new network holds.

    Beyond ``state_dict()``: pyiqa keeps support vectors, templates, random
    forests and whole CLIP models in plain attributes and lists. Networks
    that have run may hold their last results too.
    """
    import torch

    if isinstance(value, torch.Tensor) or (
        isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
    ):
        yield name, value
        return

    if isinstance(value, torch.jit.ScriptModule):
        # It has no plain attributes to look into
        children = value.state_dict().items()
    elif isinstance(value, torch.nn.Module):
        children = vars(value).items()
    elif isinstance(value, dict):
        children = value.items()
    elif isinstance(value, (list, tuple)):
        children = enumerate(value)
    else:
        return

    seen = seen or {}
    if id(value) not in seen:
        seen[id(value)] = value
        for key, child in children:
            yield from named_arrays(child, f"{name}.{key}", seen)


def _import_pyiqa():
    """Returns pyiqa's function that builds networks."""
    pyiqa_table()
    try:
        from pyiqa.archs import build_network
    except ImportError as e:
        raise IQAError(
            f"pyiqa is installed but cannot be imported ({e}); {INSTALL} "
            "brings versions that fit"
        ) from e
    return build_network


def _build(name, build):
    """Builds offline; goes to a Hugging Face hub only if it must and can."""
    from huggingface_hub import constants

    from ..encoders.hub import hub_reachable

    offline = constants.HF_HUB_OFFLINE
    with _weights_only(), _checked_downloads(offline):
        try:
            constants.HF_HUB_OFFLINE = True
            try:
                return build()
            except OSError as e:
                # timm's and transformers' weights come from the hub's client
                wanted = _locals_of(e, "repo_id", "filename")
                if wanted is None:
                    raise
            finally:
                constants.HF_HUB_OFFLINE = offline

            if not hub_reachable():
                raise _missing_from_hub(name, *wanted)
            return build()
        except _OutOfReach as e:
            raise _missing_file(name, e) from None


@contextmanager
def _weights_only():
    """Within it, pyiqa's pickles are read as tensors and run no code.

    pyiqa asks ``torch.load`` for whatever a file holds. Who sets
    ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1`` trusts its files.
    """
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    if not os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"):
        os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


class _OutOfReach(Exception):
    """A download that cannot succeed now: its address, its size if known."""

    def __init__(self, url, size):
        super().__init__(url)
        self.url = url
        self.size = size


@contextmanager
def _checked_downloads(offline):
    """Within it, downloads that cannot succeed raise :class:`_OutOfReach`.

    All of pyiqa's go through torch.hub or its copies of CLIP's loader, and
    these through ``urlopen``, which would wait and retry for minutes. Who
    sets ``HF_HUB_OFFLINE=1`` (``offline``) wants nothing downloaded.
    """
    import urllib.request

    import torch

    def checked(urlopen):
        def checked_urlopen(request, *args, **kwargs):
            url = getattr(request, "full_url", request)
            size = None if offline else _size_at(url)
            if size is None or size > MAX_DOWNLOAD_BYTES:
                raise _OutOfReach(url, size)
            return urlopen(request, *args, **kwargs)

        return checked_urlopen

    originals = [(m, m.urlopen) for m in (torch.hub, urllib.request)]
    for module, urlopen in originals:
        module.urlopen = checked(urlopen)
    try:
        yield
    finally:
        for module, urlopen in originals:
            module.urlopen = urlopen


def _missing_file(name, error):
    """Returns the error that says which file is missing, and where."""
    # As torch.hub and CLIP's loader call where they write
    (path,) = (
        _locals_of(error, "dst")
        or _locals_of(error, "download_target")
        or (os.path.join(_hub_folder(), "pyiqa", os.path.basename(error.url)),)
    )
    file = os.path.basename(path)
    if error.size is not None:
        return IQAError(
            f"pyiqa's {name!r} would download {error.size / 1e9:.1f} GB "
            f"({file}), above the limit of {MAX_DOWNLOAD_BYTES / 1e9:.0f} "
            f"GB; place {error.url} at {path} by hand to use it all the same"
        )
    return WeightsUnavailableError(
        f"pyiqa's {name!r} needs {file}, which is not at {path} and cannot "
        f"be downloaded from {urlsplit(error.url).hostname}: place "
        f"{error.url} there by hand"
    )


def _size_at(url):
    """Returns how many bytes lie at an address (0 if it does not say).

    Returns None where nothing is, or nobody answers.
    """
    response = head(url, allow_redirects=True)
    if response is None or not response.ok:
        return None
    return int(response.headers.get("Content-Length", 0))


def _locals_of(error, *names):
    """Returns local variables of a call that an error passed through.

    Neither the hub's client nor torch.hub says in its errors what it was
    about, and timm and transformers reword them; the calls in the chain of
    tracebacks know.

    Returns:
        the strings ``names`` stand for in the first call that has all of
        them, or None
    """
    while error is not None:
        traceback = error.__traceback__
        while traceback is not None:
            variables = traceback.tb_frame.f_locals
            found = [variables.get(name) for name in names]
            if all(isinstance(value, str) for value in found):
                return found
            traceback = traceback.tb_next
        error = error.__cause__ or error.__context__
    return None


def _missing_from_hub(name, repository, file):
    from huggingface_hub import constants

    return WeightsUnavailableError(
        f"pyiqa's {name!r} needs {file} of {repository}, which is not in "
        f"{constants.HF_HUB_CACHE} and cannot be downloaded from "
        f"{urlsplit(constants.ENDPOINT).hostname}: run 'hf download "
        f"{repository}' elsewhere and copy the folder "
        f"models--{repository.replace('/', '--')} there by hand"
    )


def _hub_folder():
    import torch

    return torch.hub.get_dir()
