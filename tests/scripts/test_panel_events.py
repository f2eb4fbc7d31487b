"""scripts/panel_events.py on a small number of samples."""

import csv
import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "panel_events.py"


def test_a_small_run_writes_its_table(tmp_path, database):
    import fiftyone as fo

    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    output = tmp_path / "new" / "events.csv"
    before = fo.list_datasets()

    script.main(["--n", "1000", "--repeats", "1", "--output", str(output)])

    with output.open(newline="") as file:
        rows = {row["event"]: row for row in csv.DictReader(file)}
    assert {"metric", "threshold", "point", "slices tab"} <= set(rows)
    for row in rows.values():
        # Of so few samples nothing may take long
        if row["bar_s"]:
            assert float(row["median_s"]) < 10 * float(row["bar_s"])
    assert fo.list_datasets() == before
