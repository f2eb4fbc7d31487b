"""What holds for every registered metric; a new one is tested by being."""

import numpy as np
import pytest

import fiftyone_iqa as fiqa
from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.metrics import get_metric, list_metrics
from fiftyone_iqa.metrics.pixel_scorer import PixelMetric
from fiftyone_iqa.metrics.registry import register

SPECS = list_metrics()
PIXEL_METRICS = [
    spec.name
    for spec in SPECS
    if isinstance(get_metric(spec.name), PixelMetric)
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_specs_are_complete(spec):
    assert spec.name.isidentifier()
    assert spec.guidance in ("none", "weak", "strong")
    for text in (spec.title, spec.summary, spec.licence, spec.paper):
        assert text
    suffixes = [output.suffix for output in spec.outputs]
    assert len(set(suffixes)) == len(suffixes) >= 1
    for output in spec.outputs:
        assert output.direction in (
            "higher",
            "lower",
            "none",
            "by-configuration",
        )
        assert output.range[0] < output.range[1]
        assert output.description


def test_names_and_fields_are_distinct():
    fields = [f for spec in SPECS for f in spec.field_names().values()]
    assert len(set(fields)) == len(fields)
    assert fiqa.list_metrics() == SPECS


def test_field_names():
    assert get_metric("zsclip").spec.field_names() == {
        "qp": "zsclip_qp",
        "qh": "zsclip_qh",
        "ql": "zsclip_ql",
        "qm": "zsclip_qm",
    }
    assert get_metric("tv").spec.field_names("b_") == {"": "b_tv"}


@pytest.mark.parametrize("name", PIXEL_METRICS)
@pytest.mark.parametrize(
    "shape", [(1, 1, 3), (2, 3, 3), (64, 48, 3), (11, 300, 3)]
)
def test_pixel_metrics_stay_in_range(name, shape):
    metric = get_metric(name)
    low, high = metric.spec.outputs[0].range
    rng = np.random.default_rng(0)
    for image in (
        rng.integers(0, 256, shape, dtype=np.uint8),
        np.zeros(shape, dtype=np.uint8),
        np.full(shape, 255, dtype=np.uint8),
    ):
        image.setflags(write=False)
        value = metric.function(image)
        assert low <= value <= high


@pytest.mark.parametrize("name", PIXEL_METRICS)
def test_pixel_metrics_do_not_depend_on_the_batch(name, photographs):
    metric = get_metric(name)
    scorer = metric.build(metric.configure(None, None), None)
    inputs = [scorer.prepare(image) for _, image in photographs]
    together = scorer.score(scorer.features(inputs))[""]
    alone = [scorer.score(scorer.features([i]))[""][0] for i in inputs]
    np.testing.assert_array_equal(together, alone)


def test_unknown_and_repeated_names():
    with pytest.raises(IQAError, match="zsclip, tv"):
        get_metric("brisk")
    with pytest.raises(ValueError, match="registered already"):
        register(type(get_metric("tv")))
