"""The operators around task models, through FiftyOne's own executor."""

import pytest

ROOT = "@fiftyone-iqa/iqa/"


@pytest.fixture
def predicted(make_dataset):
    import fiftyone as fo

    dataset = make_dataset(4, labels=["cat", "dog"], persistent=True)
    for sample in dataset:
        sample["model"] = fo.Classification(label="cat", confidence=0.75)
        sample.save()
    return dataset


def test_predictions(foo, form, predicted):
    result = foo.execute_operator(
        f"{ROOT}compute_predictions",
        {"view": predicted[:3]},
        params={"model": "efficientnet_lite0", "metrics": ["tv"]},
    )
    assert predicted.count("efficientnet_lite0") == 3
    assert predicted.count("efficientnet_lite0_qp") == 3
    assert predicted.count("tv") == 3
    requests = result.executor.to_json()["requests"]
    assert "3 of 3 scored" in requests[-1]["params"]["message"]

    operator = foo.get_operator(f"{ROOT}compute_predictions")
    report = operator(predicted, model="efficientnet_lite0")
    assert report.metrics[0].skipped == 3
    assert "model" in form(operator.uri, predicted)


def test_correctness(foo, form, predicted):
    uri = f"{ROOT}compute_correctness"
    properties = form(uri, predicted)
    assert {"predictions", "ground_truth", "field"} <= set(properties)
    assert "how" not in properties
    result = foo.execute_operator(
        uri,
        {"dataset": predicted},
        params={"predictions": "model", "ground_truth": "ground_truth"},
    )
    assert predicted.values("iqa_correct") == [True, False, True, False]
    assert result.result["accuracy"] == 0.5
    requests = result.executor.to_json()["requests"]
    assert "accuracy 0.500" in requests[-1]["params"]["message"]


def test_correctness_of_an_evaluation(foo, form, predicted):
    uri = f"{ROOT}compute_correctness"
    predicted.evaluate_classifications(
        "model", gt_field="ground_truth", eval_key="ev"
    )
    assert "how" in form(uri, predicted)
    properties = form(uri, predicted, how="evaluation")
    assert "eval_key" in properties
    assert "predictions" not in properties
    foo.execute_operator(
        uri,
        {"dataset": predicted},
        params={"how": "evaluation", "eval_key": "ev"},
    )
    assert predicted.values("iqa_correct") == [True, False, True, False]


def test_quality_from_predictions(foo, predicted):
    result = foo.execute_operator(
        f"{ROOT}quality_from_predictions",
        {"dataset": predicted},
        params={"predictions": "model"},
    )
    assert result.result == {"fields": ["model_qp"]}
    assert set(predicted.values("model_qp")) == {0.75}


def test_errors_reach_the_caller(foo, predicted):
    from fiftyone.operators.executor import ExecutionError

    with pytest.raises(ExecutionError, match="no evaluation 'nope'"):
        foo.execute_operator(
            f"{ROOT}compute_correctness",
            {"dataset": predicted},
            params={"eval_key": "nope", "predictions": "model"}
            | {"ground_truth": "ground_truth"},
        )
