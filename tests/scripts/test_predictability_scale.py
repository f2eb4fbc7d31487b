"""scripts/predictability_scale.py on a small number of images."""

import csv

import numpy as np
import pytest


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("predictability_scale")


def test_a_small_run_writes_its_table(script, tmp_path, capsys):
    output = tmp_path / "new" / "scale.csv"

    script.main(["--ids", "100", "--sample", "1", "--output", str(output)])

    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["part"] for row in rows] == [
        "point by point",
        "per label",
        "per image",
        "all",
    ]
    assert {row["rows"] for row in rows} == {"7600"}
    # 8 metrics x 2 labels or 100 images x 5 folds; one group was timed
    assert [row["models"] for row in rows] == ["8", "80", "4000", ""]
    timed = [row["sklearn_models_timed"] for row in rows]
    assert timed == ["1", "40", "40", ""]
    assert all(float(row["sklearn_ratio"]) > 0 for row in rows)
    assert all(0 < float(row["peak_gib"]) < 6 for row in rows)
    assert "extrapolated from 40" in capsys.readouterr().out


def test_the_metrics_know_more_and_more(script):
    quality, correct = script.make_data(100)
    assert quality.shape == (7600, 8)
    assert quality.dtype == np.float32
    correlation = [np.corrcoef(q, correct)[0, 1] for q in quality.T]
    assert abs(correlation[0]) < 0.05
    assert (np.diff(correlation) > 0).all()


@pytest.mark.parametrize("ids", ["0", "75"])
def test_numbers_of_images_that_do_not_fill_labels_are_refused(script, ids):
    with pytest.raises(SystemExit):
        script.main(["--ids", ids])
