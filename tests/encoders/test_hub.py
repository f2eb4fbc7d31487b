"""Reaching a hub, or finding out within seconds that there is none."""

import http.server
import socket
import threading
import time

import pytest
from huggingface_hub import constants

from fiftyone_iqa.encoders import get_encoder, hub_reachable


@pytest.fixture
def online(monkeypatch):
    """Lets the hub be asked, at an address of this machine."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def at(port):
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")

    return at


def test_a_hub_that_answers_is_reachable(online):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    online(server.server_port)
    assert hub_reachable()
    server.shutdown()
    server.server_close()


def test_a_hub_that_hangs_costs_the_timeout(online):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        online(silent.getsockname()[1])
        start = time.monotonic()
        assert not hub_reachable(timeout=1)
        # Generous: the point is that it is not minutes
        assert time.monotonic() - start < 20


def test_a_hub_that_refuses_is_unreachable(online):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        online(closed.getsockname()[1])
        assert not hub_reachable()


def test_offline_mode_does_not_ask(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "ENDPOINT", None)
    assert not hub_reachable()


def test_without_a_hub_the_default_is_lite_and_says_so(caplog):
    encoder = get_encoder(device="cpu")
    assert encoder.name.startswith("lite:")
    (record,) = [r for r in caplog.records if "Using encoder" in r.message]
    assert record.levelname == "WARNING"
    assert "neither cached nor can be fetched" in record.message
    assert "not CLIP's" in record.message
