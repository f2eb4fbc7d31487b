"""The QUBA score: arithmetic on published rows, and what is missing."""

import numpy as np
import pytest

from fiftyone_iqa.analysis.estimate import Estimate
from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.robustness.cohort import (
    KEYS,
    PUBLISHED,
    WEIGHTS,
    cohort_of,
    quba_score,
)

# Nine published values of four of the 326 models, as
# github.com/visinf/beyond-accuracy@f330d7c (Apache-2.0) shows them in
# index.html, and the scores that its formula makes of them
GOLDEN = {
    "AlexNet": (
        (0.5652, 0.0352, 0.3442, 0.5699, 0.0017, 0.7319, 0.8, 0.2636, 61.1),
        -2.0946,
    ),
    "ResNet-50": (
        (0.7613, 0.0337, 0.5146, 0.4968, 0.0021, 0.7549, 0.9274, 0.2221, 25.6),
        -0.3105,
    ),
    "EVA02-B": (
        (0.8826, 0.2137, 0.8066, 0.8635, 0.0039, 0.832, 0.9712, 0.335, 87.1),
        1.0738,
    ),
    "Hiera-B+": (
        (0.8501, 0.2369, 0.7818, 0.7377, 0.013, 0.929, 0.9474, 0.4307, 69.9),
        1.0310,
    ),
}


def values(name):
    return dict(zip(KEYS, GOLDEN[name][0]))


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_rows(name):
    score = quba_score(values(name), by_protocol=KEYS)
    assert score.value == pytest.approx(GOLDEN[name][1], abs=1e-3)
    assert score.name == "QUBA" and not score.left_out


def test_the_formula_written_out():
    v = values("EVA02-B")
    z = {k: (v[k] - PUBLISHED.mean[k]) / PUBLISHED.std[k] for k in KEYS}
    expected = (
        z["accuracy"]
        + (
            z["adversarial_robustness"]
            + z["corruption_robustness"]
            + z["ood_robustness"]
        )
        / 3
        - z["calibration_error"]
        + z["class_balance"]
        + (z["object_focus"] + z["shape_bias"]) / 2
        - z["parameters"]
    ) / 6
    assert quba_score(v).value == pytest.approx(expected, abs=1e-12)


def test_missing_dimensions_are_named_and_weights_renormalised():
    v = values("ResNet-50")
    v["shape_bias"] = None
    del v["object_focus"]
    score = quba_score(v, by_protocol=KEYS)
    assert score.name == "QUBA-style"
    assert score.left_out == dict.fromkeys(
        ("object_focus", "shape_bias"), "not measured"
    )
    assert sum(score.weights.values()) == pytest.approx(1)
    assert score.weights["accuracy"] == pytest.approx(1 / 5)
    assert set(score.z) == set(KEYS) - set(score.left_out)


def test_only_the_whole_protocol_is_called_quba():
    v = values("AlexNet")
    assert quba_score(v).name == "QUBA-style"
    assert quba_score(v, by_protocol=KEYS[:-1]).name == "QUBA-style"
    other = {**WEIGHTS, "accuracy": 2}
    assert quba_score(v, None or PUBLISHED, other, KEYS).name == "QUBA-style"
    own = cohort_of([values(n) for n in GOLDEN], "four models")
    assert quba_score(v, own, by_protocol=KEYS).name == "QUBA-style"


def test_weights_are_the_users():
    v = values("ResNet-50")
    only = quba_score(v, weights={"parameters": 3})
    assert only.value == pytest.approx(
        -(25.6 - PUBLISHED.mean["parameters"]) / PUBLISHED.std["parameters"]
    )
    assert only.left_out["accuracy"] == "weight 0"
    assert quba_score(v, weights=WEIGHTS).value == quba_score(v).value


@pytest.mark.parametrize(
    "weights",
    [
        {"speed": 1},
        {"accuracy": -1},
        {"accuracy": True},
        {"accuracy": float("nan")},
        {"accuracy": 0},
        {},
        [1] * 9,
    ],
)
def test_unusable_weights(weights):
    with pytest.raises(IQAError):
        quba_score(values("AlexNet"), weights=weights)


def test_unknown_dimension():
    with pytest.raises(IQAError, match="no dimension 'speed'"):
        quba_score({"speed": 1.0})


def test_a_declared_cohort():
    models = [values(n) for n in GOLDEN]
    models[0]["shape_bias"] = None
    cohort = cohort_of(models, "four models")
    column = [m["shape_bias"] for m in models[1:]]
    assert cohort.mean["shape_bias"] == pytest.approx(np.mean(column))
    assert cohort.std["shape_bias"] == pytest.approx(np.std(column, ddof=1))
    # Against themselves, models average to nothing
    complete = cohort_of([values(n) for n in GOLDEN], "four")
    scores = [quba_score(values(n), complete).value for n in GOLDEN]
    assert np.mean(scores) == pytest.approx(0, abs=1e-9)


def test_a_cohort_without_spread_leaves_the_dimension_out():
    twins = cohort_of([values("AlexNet")] * 3, "triplets")
    score = quba_score(values("AlexNet"), twins)
    assert score.value is None
    assert "no spread" in score.left_out["accuracy"]


def test_the_interval_follows_the_dimensions():
    v = values("ResNet-50")
    assert quba_score(v).estimate.low is None
    reach = 1.96 * PUBLISHED.std["accuracy"]
    v["accuracy"] = Estimate(0.76, 0.76 - reach, 0.76 + reach)
    estimate = quba_score(v, weights={"accuracy": 1}).estimate
    assert estimate.high - estimate.value == pytest.approx(1.96)
    # One of nine dimensions moves the score by its share
    estimate = quba_score(v).estimate
    assert estimate.high - estimate.value == pytest.approx(1.96 / 6)
