"""The benchmark: what it counts and writes, not how fast anything is."""

import csv
import json

import benchmark
import pytest
from _benchmark_growth import main as grow
from _benchmark_race import COLUMNS, Contender, Pair, race


def test_ratios_are_medians_of_rounds():
    taken = {"a": iter([9, 1.0, 2.0, 4.0]), "b": iter([9, 2.0, 2.0, 2.0])}

    def run(name):
        return lambda: (10, next(taken[name]))

    rows = race(
        "part",
        [Contender(name, run(name)) for name in "ab"],
        [Pair("a", "b", 2.0), Pair("a", "b")],
        3,
    )
    assert [row["contender"] for row in rows] == ["a", "a", "b"]
    assert rows[0]["rate"] == 5.0 and rows[0]["high"] == 10.0
    assert rows[0]["ratio"] == 1.0 and rows[0]["met"] is False
    assert rows[1]["met"] is None
    assert "ratio" not in rows[2] and rows[2]["n"] == 10


def test_parts_that_are_run_alone_replace_their_own_rows(tmp_path):
    path = tmp_path / "table.csv"
    for part, rate in (("limit", 1), ("writing", 2), ("limit", 3)):
        row = {"part": part, "rate": rate}
        benchmark.write(path, COLUMNS, "part", [row])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["part"], row["rate"]) for row in rows] == [
        ("writing", "2"),
        ("limit", "3"),
    ]
    assert all("cores" in row["hardware"] for row in rows)


@pytest.mark.parametrize("job", ["tv", "rescoring"])
def test_growth_scores_all(job, database, write_images, tmp_path, capsys):
    from PIL import Image

    for i, path in enumerate(write_images(3)):
        Image.open(path).convert("RGB").save(tmp_path / f"{i}.jpg")
    grow(job, 40, tmp_path)
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert row["n"] == 40 and row["processes"] >= 1
    assert row["memory_peak_mb"] >= row["memory_before_mb"] > 0
    assert (row["database_mb"] is not None) == (job == "tv")


def test_a_part_alone(database, write_images, tmp_path):
    from PIL import Image

    for i, path in enumerate(write_images(3)):
        Image.open(path).convert("RGB").save(tmp_path / f"{i}.jpg")
    out = tmp_path / "out"
    benchmark.main(
        [
            *("--parts", "limit", "--images", str(tmp_path)),
            *("--n", "4", "--repeats", "1", "--output", str(out)),
        ]
    )
    with (out / "benchmark.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["part"] for row in rows} == {"limit"}
    assert all(float(row["rate"]) > 0 for row in rows)
