"""Asking a server something, in seconds and never in minutes of retries."""

from __future__ import annotations

import threading
from contextlib import suppress


def head(url: str, timeout: float = 3.0, allow_redirects: bool = False):
    """Asks for an address's headers.

    Args:
        url: the address; proxies of the environment are respected
        timeout (3.0): overall, in seconds
        allow_redirects (False): whether to go where the server points

    Returns:
        the ``requests.Response``, whatever its status, or None if no answer
        came in time
    """
    import requests

    answers = []

    def ask():
        with suppress(requests.RequestException):
            answers.append(
                requests.head(
                    url, timeout=timeout, allow_redirects=allow_redirects
                )
            )

    # Of its own, requests' timeout covers neither the look-up of a name nor
    # several addresses
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    return answers[0] if answers else None
