"""scripts/slices_scale.py on a small number of rows."""

import csv


def test_a_small_run_writes_its_table(tmp_path, database, load_script):
    import fiftyone as fo

    script = load_script("slices_scale")
    output = tmp_path / "new" / "scale.csv"
    before = fo.list_datasets()

    script.main(
        ["--rows", "5000", "--samples", "500", "--output", str(output)]
    )

    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["part"] for row in rows] == [
        "rank_slices",
        "rank_slices",
        "find_slices",
    ]
    assert [row["sources"] for row in rows] == ["5000", "500", "500"]
    assert all(int(row["slices"]) > 20 for row in rows)
    assert all(float(row["seconds"]) < 60 for row in rows)
    assert fo.list_datasets() == before
