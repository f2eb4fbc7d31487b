import csv
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_table_of_metrics_is_of_today():
    out = subprocess.run(
        [sys.executable, ROOT / "scripts" / "metrics_table.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert out.returncode == 0, out.stdout + out.stderr


def test_pictures_exist():
    pictures = re.findall(
        r"\]\((docs/[^)]+)\)", (ROOT / "README.md").read_text()
    )
    assert pictures
    for picture in pictures:
        assert (ROOT / picture).is_file(), picture


def test_faults_survived_are_those_of_a_run():
    path = ROOT / "scripts" / "results" / "faults.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    survived = sum(row["survived"] == "True" for row in rows)
    assert f"{survived} of {len(rows)} faults" in (
        ROOT / "README.md"
    ).read_text("utf-8")
    # And the tests are still there
    for row in rows:
        name, test = row["test"].split("::")
        text = (ROOT / name).read_text("utf-8")
        assert re.search(
            rf"^def {re.escape(test.split('[')[0])}\(", text, re.M
        )
