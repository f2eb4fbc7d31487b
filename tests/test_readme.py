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
    import re

    pictures = re.findall(
        r"\]\((docs/[^)]+)\)", (ROOT / "README.md").read_text()
    )
    assert pictures
    for picture in pictures:
        assert (ROOT / picture).is_file(), picture
