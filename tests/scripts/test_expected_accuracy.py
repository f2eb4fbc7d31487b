"""scripts/expected_accuracy.py: its collections, and what it makes of them."""

import pandas as pd
import pytest

from fiftyone_iqa.corruptions import list_corruptions

N_SOURCES = 420


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("expected_accuracy")


@pytest.fixture(scope="module")
def unseen(database, script):
    import fiftyone as fo

    dataset = fo.Dataset()
    samples = []
    for part in ("clean", "mild", "any", "more"):
        for i in range(N_SOURCES):
            severity = 0 if part == "clean" else 1 + i % 5
            samples.append(
                fo.Sample(
                    f"/no/{part}-{i}.jpg",
                    part=part,
                    corruption="fog" if severity else "clean",
                    severity=severity,
                    source_id=str(i),
                    **{script.CORRECT: i % 5 > severity},
                )
            )
    for i, corruption in enumerate(list_corruptions()):
        samples.append(
            fo.Sample(
                f"/no/{corruption}.jpg",
                part="condition",
                corruption=corruption,
                severity=1 + i % 5,
                source_id="0",
                **{script.CORRECT: True},
            )
        )
    dataset.add_samples(samples, progress=False)
    yield dataset
    dataset.delete()


def test_mild_collections_take_each_photograph_once(script, unseen):
    collections = list(script.mild(unseen))
    assert len(collections) == 19
    for share, one in zip(script.SHARES, collections):
        parts = one["view"].count_values("part")
        assert sum(parts.values()) == one["n"] == script.PER_COLLECTION
        assert parts["mild"] == round(share * script.PER_COLLECTION)
        assert len(one["view"].distinct("source_id")) == one["n"]
        correct = one["view"].values(script.CORRECT)
        assert one["truth"] == pytest.approx(sum(correct) / len(correct))


def test_conditions_are_one_each(script, unseen):
    collections = list(script.conditions(unseen))
    assert [c["corruption"] for c in collections] == list_corruptions()


def test_mixtures_grow_worse(script, unseen):
    collections = list(script.mixtures(unseen))
    assert len(collections) == script.N_MIXTURES
    shares = []
    for one in collections:
        assert len(one["view"].distinct("source_id")) == one["n"]
        parts = one["view"].count_values("part")
        shares.append(1 - parts.get("clean", 0) / one["n"])
    assert shares[0] == pytest.approx(0.3) and shares[-1] == 1
    assert shares == sorted(shares)


def test_the_summary_is_of_absolute_errors(script, tmp_path, capsys):
    rows = [
        {
            "prior": prior,
            "kind": "condition",
            "collection": f"fog {i}",
            "n": 10,
            "accuracy": 0.2 * i,
            "expected": 0.2 * i + error,
            "low": 0.2 * i + error - 0.05,
            "high": 0.2 * i + error + 0.05,
            "error": error,
            "covered": abs(error) < 0.05,
            "warnings": "",
        }
        for prior in ("Q_l", "Q_l, weather held out", "strong")
        for i, error in enumerate((0.01, -0.03, 0.1))
    ]
    script.write(pd.DataFrame(rows), tmp_path)
    said = capsys.readouterr().out
    assert "3 collections, accuracy 0.000 to 0.400" in said
    assert "Q_l, held out" in said and "0.0467" in said and "0.6667" in said
    assert len(pd.read_csv(tmp_path / "expected_accuracy.csv")) == 9
    assert (tmp_path / "expected_accuracy.png").stat().st_size > 10_000
