"""The operator around FMR, through FiftyOne's own executor."""

import pytest

URI = "@fiftyone-iqa/iqa/foundation_robustness"
CLASSES = ["tench", "goldfish"]


@pytest.fixture
def dataset(make_dataset):
    import fiftyone as fo

    dataset = make_dataset(4, labels=CLASSES, persistent=True)
    yield dataset
    for name in fo.list_datasets(f"{dataset.name}-*"):
        fo.delete_dataset(name)


def test_form(form, dataset):
    properties = form(URI, dataset)
    assert {"ground_truth", "models", "oracle", "generator"} <= set(properties)
    assert {"budget", "step_size", "output", "cost"} <= set(properties)
    assert properties["generator"]["default"] == ["style", "corruption"]
    output = form(URI, dataset, output=dataset.name)["output"]
    assert output["invalid"]
    assert "empty" in form(URI, dataset, view=dataset.limit(0))


def test_it_makes_one_call_and_opens_what_came_out(
    foo, dataset, encoder_names, tmp_path
):
    import fiftyone as fo
    from fiftyone.operators.executor import ExecutionError

    params = {
        "models": ["efficientnet_lite1"],
        "ground_truth": "ground_truth",
        "oracle": encoder_names[0],
        "budget": 1,
        "step_size": 0.02,
        "images_dir": str(tmp_path / "fmr"),
    }
    result = foo.execute_operator(URI, {"dataset": dataset}, params=params)
    name = f"{dataset.name}-fmr"
    assert result.result is None or result.result["output"] == name
    requests = result.executor.to_json()["requests"]
    assert "FMR of accepted images" in requests[-1]["params"]["message"]
    called = [request["operator_uri"].split("/")[-1] for request in requests]
    assert "open_dataset" in called
    output = fo.load_dataset(name)
    assert output.group_slices == [
        "original",
        "style-efficientnet_lite1",
        "corruption",
    ]
    assert dataset.list_brain_runs() == ["fmr"]

    # From Python, by the same call: nothing is made again
    operator = foo.get_operator(URI)
    params["generator"] = ["style", "corruption"]
    results = operator(dataset, **params)
    assert results.output == name and results.report["n"] == 4
    with pytest.raises(ExecutionError, match="models is empty"):
        foo.execute_operator(
            URI, {"dataset": dataset}, params={**params, "models": []}
        )
