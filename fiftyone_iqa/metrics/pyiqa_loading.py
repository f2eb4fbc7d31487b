"""pyiqa's metrics as networks: which there are, which run, their weights.

Nothing here imports torch or pyiqa until a network is loaded: pyiqa's import
takes seconds, and its table of metrics is a file of its own.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import runpy
import sys
import threading
from contextlib import contextmanager, redirect_stdout, suppress
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from ..errors import IQAError, WeightsUnavailableError

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

# What downloads: (module, function). The first take (url, path), the others
# (url, folder); modules bind them by name, so each is wrapped where it is
_FILE_DOWNLOADERS = (
    ("torch.hub", "download_url_to_file"),
    ("pyiqa.utils.download_util", "download_url_to_file"),
    ("facexlib.utils.misc", "download_url_to_file"),
)
_CLIP_DOWNLOADERS = (
    ("pyiqa.archs.clip_model", "_download"),
    ("pyiqa.archs.afineclip_model", "_download"),
    ("clip.clip", "_download"),
)
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
            raise IQAError(
                f"pyiqa cannot build {name!r} ({type(e).__name__}: {e}); if "
                f"a weights file under {_hub_folder()} is damaged, delete it"
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
    """Imports pyiqa and what downloads for it; returns its builder."""
    pyiqa_table()
    try:
        from pyiqa.archs import build_network
    except ImportError as e:
        raise IQAError(
            f"pyiqa is installed but cannot be imported ({e}); {INSTALL} "
            "brings versions that fit"
        ) from e

    # clip_imports brings clip.clip, without its warning about pkg_resources
    for module in ("clip_imports", "clip_model", "afineclip_model"):
        with suppress(ImportError):
            importlib.import_module(f"pyiqa.archs.{module}")
    return build_network


def _build(name, build):
    """Builds offline; goes to a Hugging Face hub only if it must and can."""
    from huggingface_hub import constants

    from ..encoders.hub import hub_reachable

    offline = constants.HF_HUB_OFFLINE
    with _checked_downloads(name, offline):
        constants.HF_HUB_OFFLINE = True
        try:
            return build()
        except OSError as e:
            # timm's and transformers' weights come through the hub's client
            wanted = _wanted_from_hub(e)
            if wanted is None:
                raise
            constants.HF_HUB_OFFLINE = offline
            if not hub_reachable():
                raise _missing_from_hub(name, *wanted) from None
            return build()
        finally:
            constants.HF_HUB_OFFLINE = offline


@contextmanager
def _checked_downloads(name, offline):
    """Within it, downloads that cannot succeed fail at once.

    Who sets ``HF_HUB_OFFLINE=1`` (``offline``) wants nothing downloaded.
    """

    def file_downloader(download):
        def checked(url, path, *args, **kwargs):
            _check_download(name, url, str(path), offline)
            return download(url, path, *args, **kwargs)

        return checked

    def clip_downloader(download):
        def checked(url, folder):
            path = os.path.join(folder, os.path.basename(url))
            if not os.path.isfile(path):
                _check_download(name, url, path, offline)
            return download(url, folder)

        return checked

    wrapped = []
    try:
        for wrapper, functions in (
            (file_downloader, _FILE_DOWNLOADERS),
            (clip_downloader, _CLIP_DOWNLOADERS),
        ):
            for module_name, function in functions:
                module = sys.modules.get(module_name)
                if module is not None:
                    original = getattr(module, function)
                    wrapped.append((module, function, original))
                    setattr(module, function, wrapper(original))
        yield
    finally:
        for module, function, original in wrapped:
            setattr(module, function, original)


def _check_download(name, url, path, offline):
    """Raises unless a file can be downloaded now and is not too large."""
    size = None if offline else _size_at(url)
    if size is None:
        raise WeightsUnavailableError(
            f"pyiqa's {name!r} needs {os.path.basename(path)}, which is not "
            f"at {path} and cannot be downloaded from "
            f"{urlsplit(url).hostname}: place {url} there by hand"
        )
    if size > MAX_DOWNLOAD_BYTES:
        raise IQAError(
            f"pyiqa's {name!r} would download {size / 1e9:.1f} GB "
            f"({os.path.basename(path)}), above the limit of "
            f"{MAX_DOWNLOAD_BYTES / 1e9:.0f} GB; place {url} at {path} by "
            "hand to use it all the same"
        )


def _size_at(url, timeout=3.0):
    """Returns how many bytes lie at an address (0 if it does not say).

    Returns None where it does not answer within ``timeout`` seconds.
    """
    import requests

    answers = []

    def ask():
        with suppress(requests.RequestException):
            response = requests.head(
                url, timeout=timeout, allow_redirects=True
            )
            if response.ok:
                answers.append(int(response.headers.get("Content-Length", 0)))

    # requests' own timeout covers neither the look-up of a name nor several
    # addresses
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    return answers[0] if answers else None


def _wanted_from_hub(error):
    """Returns the ``(repository, file)`` a hub's client did not find.

    Its errors name neither, and timm and transformers reword them; its own
    call, somewhere in the chain of tracebacks, has both.
    """
    while error is not None:
        traceback = error.__traceback__
        while traceback is not None:
            names = traceback.tb_frame.f_locals
            repository, file = names.get("repo_id"), names.get("filename")
            if isinstance(repository, str) and isinstance(file, str):
                return repository, file
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
