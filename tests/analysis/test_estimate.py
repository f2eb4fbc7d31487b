"""A number with its interval."""

import json

import pytest

from fiftyone_iqa.analysis.estimate import Estimate


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(None), "–"),
        (Estimate(0.12345), "0.123"),
        (Estimate(0.5, 0.4, None), "0.500"),
        (Estimate(0.5, 0.25, 1.0), "0.500 [0.250, 1.000]"),
        (Estimate(0.0, 0.0, 0.0), "0.000 [0.000, 0.000]"),
    ],
)
def test_is_written_with_its_interval(estimate, text):
    assert str(estimate) == text


def test_survives_json():
    estimate = Estimate(1 / 3, 0.1, 0.9)
    stored = json.loads(json.dumps(estimate.to_dict()))
    assert Estimate(**stored) == estimate
    assert Estimate(None).to_dict() == {
        "value": None,
        "low": None,
        "high": None,
    }
