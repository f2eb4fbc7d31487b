"""Weights from files: read safely, and fitted to a network."""

from __future__ import annotations

import os
import re
from collections import OrderedDict

from ..errors import IQAError
from ..network import head
from .base import ModelUnavailableError

# Under which training scripts keep the weights, and what they put before
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "model.")


def read_state_dict(path: str) -> OrderedDict:
    """Reads a checkpoint without running code from it.

    Args:
        path: of a ``.safetensors`` file, or of one that ``torch.save`` wrote;
            the weights may lie under ``"state_dict"``, ``"model_state_dict"``
            or ``"model"``, and all names may begin with ``"module."``,
            ``"_orig_mod."`` or ``"model."``

    Returns:
        ordered dict of names to tensors on the CPU

    Raises:
        IQAError: if there is no such file, or it holds anything but weights
    """
    if not os.path.isfile(path):
        raise IQAError(f"There is no checkpoint {path!r}")

    state = _read(path)
    for wrapper in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
            break
    if not _is_state_dict(state):
        raise IQAError(
            f"{path!r} holds no state dict; write one with "
            "torch.save(model.state_dict(), path)"
        )

    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {k.removeprefix(prefix): v for k, v in state.items()}
    # torch's own have versions of modules with them
    return state if type(state) is OrderedDict else OrderedDict(state)


def load_weights(network, state, path: str) -> None:
    """Loads a state dict into a network, every weight of both.

    Args:
        network: a ``torch.nn.Module``
        state: what :func:`read_state_dict` returned
        path: where it came from, for messages

    Raises:
        IQAError: if names or shapes differ
    """
    if not hasattr(state, "_metadata"):
        # Without it torchvision takes a MNASNet to be of the first layout
        version = getattr(network, "_version", 1)
        state._metadata = OrderedDict({"": {"version": version}})
    problems = []
    try:
        missing, unexpected = network.load_state_dict(state, strict=False)
    except RuntimeError as e:
        # Shapes; names that differ too say more
        problems = [str(e).splitlines()[-1].strip().rstrip(".")]
        own = network.state_dict()
        missing = [name for name in own if name not in state]
        unexpected = [name for name in state if name not in own]

    named = (missing, "are missing"), (unexpected, "have no place")
    problems = [
        f"{len(names)} weights {what}, such as {names[0]!r}"
        for names, what in named
        if names
    ] or problems
    if problems:
        raise IQAError(
            f"{path!r} does not fit a {type(network).__name__}: "
            f"{'; '.join(problems)}"
        )


def hub_path(url: str) -> str:
    """Returns where ``torch.hub`` keeps what it fetched from an address."""
    import torch

    folder = os.path.join(torch.hub.get_dir(), "checkpoints")
    return os.path.join(folder, os.path.basename(url))


def fetch(url: str, name: str, instead: str) -> str:
    """Returns the path of weights, fetched unless they are cached.

    Args:
        url: their address; a hash in the file name is checked
        name: of the model, for messages
        instead: how to pass such a file as a checkpoint, for messages

    Returns:
        a path in ``torch.hub``'s folder

    Raises:
        ModelUnavailableError: if they are not cached and cannot be fetched;
            within seconds if the address cannot be reached
    """
    import torch

    path = hub_path(url)
    if os.path.isfile(path):
        return path

    reason = "it cannot be reached"
    if head(url) is not None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        digest = re.search(r"-([0-9a-f]{8,})\.", os.path.basename(url))
        digest = digest and digest[1]
        try:
            torch.hub.download_url_to_file(url, path, digest, progress=False)
            return path
        except (OSError, RuntimeError) as e:
            reason = str(e)

    raise ModelUnavailableError(
        f"The weights of {name!r} are not cached ({path} does not exist) and "
        f"could not be fetched from {url} ({reason}). Fetch that file on "
        f"another machine and place it there, or pass it as {instead!r}"
    )


def _read(path):
    import torch

    if path.endswith(".safetensors"):
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError) as e:
            raise IQAError(f"{path!r} cannot be read: {e}") from None

    import pickle

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise IQAError(
            f"{path!r} was not loaded, because it is no checkpoint or holds "
            "more than weights, which could run code; write one with "
            "torch.save(model.state_dict(), path) or as .safetensors"
        ) from None
    except (OSError, EOFError, RuntimeError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise IQAError(f"{path!r} cannot be read: {reason}") from None


def _is_state_dict(state):
    import torch

    return (
        isinstance(state, dict)
        and len(state) > 0
        and all(isinstance(v, torch.Tensor) for v in state.values())
    )
