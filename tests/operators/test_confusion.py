"""The operator that scores confusion, through FiftyOne's own executor."""

import numpy as np
import pytest

URI = "@fiftyone-iqa/iqa/compute_confusion"
QUICK = {
    "label_field": "ground_truth",
    "model": "resnet8",
    "seeds": 1,
    "epochs": 1,
    "image_size": 16,
    "folds": 2,
    "device": "cpu",
}


@pytest.fixture
def labelled(make_dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("FIFTYONE_IQA_CACHE_DIR", str(tmp_path / "cache"))
    return make_dataset(8, labels=["cat", "dog"], persistent=True)


def test_live(foo, labelled):
    result = foo.execute_operator(URI, {"dataset": labelled}, params=QUICK)
    assert labelled.count("confusion") == 8
    requests = result.executor.to_json()["requests"]
    assert "8 of 8 scored" in requests[-1]["params"]["message"]
    groups = labelled.app_config.sidebar_groups
    (group,) = [g for g in groups if g.name == "image quality"]
    assert "confusion" in group.paths


def test_delegated(foo, labelled):
    from fiftyone.operators.delegated import DelegatedOperationService

    operator = foo.get_operator(URI)
    operator(labelled, delegate=True, **QUICK)
    service = DelegatedOperationService()
    (result,) = service.execute_queued_operations(operator=operator.uri)
    assert result.error is None
    assert result.result["scored"] == 8
    labelled.reload()
    assert labelled.count("confusion") == 8


def test_logits(foo, form, labelled):
    import fiftyone as fo

    logits = np.random.default_rng(0).normal(size=(8, 2))
    labelled.set_values(
        "model", [fo.Classification(label="cat", logits=v) for v in logits]
    )
    properties = form(URI, labelled, how="logits")
    assert "logits" in properties and "epochs" not in properties
    foo.execute_operator(
        URI,
        {"dataset": labelled},
        params={"how": "logits", "logits": ["model"]},
    )
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        labelled.values("confusion"), -(p * np.log(p)).sum(axis=1), atol=1e-9
    )


def test_form(form, labelled):
    properties = form(URI, labelled)
    assert {"label_field", "model", "encoder", "epochs"} <= set(properties)
    assert "image_size" not in properties
    assert "image_size" in form(URI, labelled, model="resnet18")
    assert form(URI, labelled, folds=1)["one_fold"]["invalid"]


def test_errors_reach_the_caller(foo, labelled):
    from fiftyone.operators.executor import ExecutionError

    params = {**QUICK, "folds": 9}
    with pytest.raises(ExecutionError, match="pass fewer folds="):
        foo.execute_operator(URI, {"dataset": labelled}, params=params)
    assert not labelled.has_field("confusion")
