"""Whether weights can be had: in seconds, not after minutes of retries."""

from __future__ import annotations

import os

from ..network import head


def hub_reachable(timeout: float = 3.0) -> bool:
    """Returns whether the Hugging Face hub answers within ``timeout`` s.

    ``HF_HUB_OFFLINE=1`` answers no without asking; proxies and mirrors
    (``HF_ENDPOINT``) are respected.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    return head(constants.ENDPOINT, timeout) is not None


def cached_weights(architecture: str, tag: str) -> str | None:
    """Returns the path of an open_clip tag's weights if they are cached."""
    from huggingface_hub import try_to_load_from_cache
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
    from open_clip.pretrained import get_pretrained_cfg

    config = get_pretrained_cfg(architecture, tag)
    repository, _, filename = config.get("hf_hub", "").rpartition("/")
    if repository:
        names = [filename] if filename else []
        for name in (*names, HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME):
            path = try_to_load_from_cache(repository, name)
            if isinstance(path, str):
                return path

    # Where open_clip keeps what it fetched from a plain address
    url = config.get("url")
    if url:
        path = os.path.expanduser(
            os.path.join("~/.cache/clip", os.path.basename(url))
        )
        if os.path.isfile(path):
            return path
    return None
