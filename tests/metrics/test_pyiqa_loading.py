"""Weights that are missing: a sentence within seconds, and no retries."""

import io
import os
import time
import urllib.request
from email.message import Message
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fiftyone_iqa.errors import IQAError, WeightsUnavailableError
from fiftyone_iqa.metrics import get_metric

pytest.importorskip("pyiqa")

ON_CPU = SimpleNamespace(device="cpu")
HUB = Path(os.environ["TORCH_HOME"], "hub")


@pytest.mark.parametrize(
    ("name", "file", "place"),
    [
        ("ilniqe", "ILNIQE_templateModel.mat", HUB / "pyiqa"),
        ("liqe", "ViT-B-32.pt", HUB / "clip"),
        ("unique", "resnet34-b627a593.pth", HUB / "checkpoints"),
        ("hyperiqa", "timm/resnet50", Path(os.environ["HF_HOME"], "hub")),
    ],
)
@pytest.mark.parametrize("offline", [True, False])
def test_missing_files_are_named_within_seconds(
    name, file, place, offline, monkeypatch
):
    import requests
    from huggingface_hub import constants

    def refuse(*args, **kwargs):
        raise requests.ConnectionError

    # Not offline by choice, but out of reach
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(requests, "head", refuse)
    start = time.perf_counter()
    with pytest.raises(WeightsUnavailableError) as caught:
        get_metric(f"pyiqa:{name}").configure(ON_CPU, None)
    assert time.perf_counter() - start < 20
    said = str(caught.value)
    assert file in said and str(place) in said and "by hand" in said
    assert "\n" not in said
    assert constants.HF_HUB_OFFLINE is offline


def test_a_host_that_does_not_answer_costs_seconds(monkeypatch):
    import requests
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(requests, "head", lambda *a, **k: time.sleep(60))
    start = time.perf_counter()
    with pytest.raises(WeightsUnavailableError, match="huggingface"):
        get_metric("pyiqa:ilniqe").configure(ON_CPU, None)
    assert time.perf_counter() - start < 15


@pytest.mark.parametrize("size", [10**6, 2 * 10**9])
def test_what_can_be_had_is_downloaded_up_to_a_gigabyte(size, monkeypatch):
    import requests
    import scipy.io
    import torch
    from huggingface_hub import constants

    file = io.BytesIO()
    rows = np.random.default_rng(0).normal(size=(99, 36))
    parameters = {"mu_prisparam": rows[:1], "cov_prisparam": np.cov(rows.T)}
    scipy.io.savemat(file, parameters)

    def urlopen(request):
        response = io.BytesIO(file.getvalue())
        response.info = Message
        return response

    answer = SimpleNamespace(ok=True, headers={"Content-Length": str(size)})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(requests, "head", lambda *a, **k: answer)
    for module in (torch.hub, urllib.request):
        monkeypatch.setattr(module, "urlopen", urlopen)
    metric = get_metric("pyiqa:niqe_matlab")
    path = HUB / "pyiqa" / "niqe_matlab_params.mat"
    if size > 10**9:
        with pytest.raises(IQAError, match=r"2\.0 GB .*above the limit"):
            metric.configure(ON_CPU, None)
        assert not path.exists()
    else:
        assert metric.configure(ON_CPU, None).identity["weights"] != "none"
        path.unlink()
    assert torch.hub.urlopen is urllib.request.urlopen is urlopen


def test_a_damaged_file_is_named():
    path = HUB / "pyiqa" / "ILNIQE_templateModel.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half a file")
    try:
        with pytest.raises(IQAError, match=f"'ilniqe'.*{HUB}.*delete"):
            get_metric("pyiqa:ilniqe").configure(ON_CPU, None)
    finally:
        path.unlink()


def test_pickled_code_in_weights_is_not_run(tmp_path):
    import torch

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = HUB / "pyiqa" / "brisque_svm_weights.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_bytes() if path.exists() else None
    torch.save([Evil(), Evil()], path)
    try:
        with pytest.raises(IQAError, match="'brisque'"):
            get_metric("pyiqa:brisque").configure(ON_CPU, None)
    finally:
        path.unlink()
        if before is not None:
            path.write_bytes(before)
    assert not (tmp_path / "ran").exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
