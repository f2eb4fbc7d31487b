"""GroupDRO by bands of confusion, and weights for another trainer."""

import numpy as np
import pytest

import fiftyone_iqa as fiqa

from .conftest import CLASSES

QUICK = {
    "model": "resnet8",
    "seeds": 2,
    "epochs": 3,
    "image_size": 16,
    "batch_size": 16,
    "progress": False,
    "device": "cpu",
}


@pytest.fixture
def split(striped):
    """Training and test views, with a score that anybody may have given."""
    import fiftyone as fo

    dataset = striped(96)
    scores = np.linspace(0, 0.69, 96)
    scores[::2] = scores[::-2]
    values = [None if i == 7 else float(s) for i, s in enumerate(scores)]
    dataset.add_sample_field("hard", fo.FloatField)
    dataset.set_values("hard", values)
    fiqa.use_quality_field(dataset, "hard", higher_is_better=False)
    return dataset[:48], dataset[48:]


def test_both_are_judged_by_band(split, tmp_path, own_cache):
    train, test = split
    report = fiqa.mitigate_confusion(
        train,
        "truth",
        test,
        metric="hard",
        quantile=0.25,
        export_dir=tmp_path / "weights",
        **QUICK,
    )
    easy, hard = report.bands
    # A sixth has no label, and one of the others no score
    assert easy["n_train"] + hard["n_train"] == 39
    assert easy["n_test"] + hard["n_test"] == 40
    assert hard["low"] == easy["high"]
    assert easy["weight"] + hard["weight"] == pytest.approx(1, abs=1e-5)
    mean = sum(b["n_train"] * b["image_weight"] for b in report.bands) / 39
    assert mean == pytest.approx(1, abs=1e-5)
    assert len(report.errors) == 3
    for row in report.errors:
        difference = row["group_dro"].value - row["erm"].value
        assert row["difference"].value == pytest.approx(difference)
    table = report.to_pandas()
    assert table["group"].tolist() == [0, 1, "all"]
    assert "GroupDRO" in str(report)
    assert len(report.files) == 4
    assert not list((own_cache / "confusion").glob("*"))
    assert set(train.get_field_schema()) == set(test.get_field_schema())

    # The weights are those of a network that can be used
    from safetensors.torch import load_file

    from fiftyone_iqa.confusion.networks import small_resnet

    network = small_resnet(8, len(CLASSES))
    network.load_state_dict(load_file(report.files[0]))


def test_it_is_the_same_again(split):
    train, test = split
    reports = [
        fiqa.mitigate_confusion(train, "truth", test, metric="hard", **QUICK)
        for _ in range(2)
    ]
    assert reports[0].to_dict() == reports[1].to_dict()


def test_weights(split):
    train, _ = split
    table = fiqa.confusion_weights(train, "hard", edges=[0.2, 0.5])
    assert len(table) == 47
    assert table.weight.mean() == pytest.approx(1)
    totals = table.groupby("group").weight.sum()
    np.testing.assert_allclose(totals, 47 / 3)
    assert table[table.group == 2].score.min() >= 0.5
    assert table[table.group == 0].score.max() < 0.2
    # A score where higher is better: the low ones are hard
    fiqa.use_quality_field(train, "hard", higher_is_better=True)
    turned = fiqa.confusion_weights(train, "hard", edges=[0.2, 0.5])
    assert turned[turned.group == 2].score.max() <= 0.2
    assert sorted(turned.score) == sorted(table.score)


def test_what_cannot_be_compared_is_refused(split, tmp_path):
    train, test = split
    call = {"metric": "hard", **QUICK}
    refused = [
        ("are among the samples", (train, "truth", train), {}),
        ("not both", (train, "truth", test), {"edges": [1], "quantile": 0.1}),
        ("need", (train, "truth", test), {"edges": [9.0]}),
        ("no field 'x'", (train, "x", test), {}),
        ("no empty folder", (train, "truth", test), {"export_dir": "."}),
        ("no field 'no'", (train, "truth", test), {"metric": "no"}),
    ]
    for said, arguments, options in refused:
        with pytest.raises(fiqa.IQAError, match=said):
            fiqa.mitigate_confusion(*arguments, **{**call, **options})
