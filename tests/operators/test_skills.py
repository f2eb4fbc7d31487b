"""The skills: FiftyOne lists them, and the operators are as they say."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "skills").glob("*/SKILL.md"))
NAMES = [path.parent.name for path in FILES]
PLUGIN = "@fiftyone-iqa/iqa"

# What unfolds further parameters of a form
_UNFOLDS = (
    {},
    {"class_source": "typed"},
    {"metric": "tv"},
    {"then": "tag"},
    {"which": "poor", "metric": "tv"},
)


def calls(text):
    """Returns ``(position, URI, params)`` of the calls in a skill's blocks."""
    found = []
    for block in re.finditer(r"```python\n(.*?)```", text, re.DOTALL):
        for node in ast.walk(ast.parse(block[1])):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", "") == "execute_operator"
            ):
                given = {
                    k.arg: ast.literal_eval(k.value) for k in node.keywords
                }
                assert given["dataset_name"] == "my-dataset"
                found.append(
                    (
                        block.end(),
                        given["operator_uri"],
                        given.get("params", {}),
                    )
                )
    return found


def explained(text):
    """Returns ``(URI, parameter)`` of the lists that follow the calls."""
    found = []
    ends = {end: uri for end, uri, _ in calls(text)}
    for end, uri in ends.items():
        section = re.split(r"^(?:#|```)", text[end:], flags=re.MULTILINE)[0]
        for line in re.findall(r"^- ((?:`\w+`(?:, )?)+):", section, re.M):
            found += [(uri, name) for name in re.findall(r"`(\w+)`", line)]
    return found


@pytest.fixture
def predicted(make_dataset):
    """Eight images of two cameras, and what a model said of them."""
    import fiftyone as fo

    dataset = make_dataset(8, labels=["tabby cat", "beagle"], persistent=True)
    for i, sample in enumerate(dataset):
        label = "tabby cat" if i % 3 else "beagle"
        sample["model"] = fo.Classification(label=label, confidence=0.7)
        sample["camera"] = "old" if i < 4 else "new"
        sample.save()
    return dataset


def test_fiftyone_lists_them(foo, database):
    import fiftyone.plugins as fop

    skills = {s.name: s for s in fop.list_skills(plugin=PLUGIN)}
    assert sorted(skills) == NAMES
    for skill in skills.values():
        assert 80 < len(skill.description) < 500
        assert skill.category
        assert skill.content.count("execute_operator(") >= 3
    out = subprocess.run(
        [
            *(sys.executable, "-c", "import fiftyone.core.cli as c; c.main()"),
            *("skills", "list", "--names-only"),
        ],
        capture_output=True,
        text=True,
    )
    for name in NAMES:
        assert f"    {name}\n" in out.stdout, out.stdout + out.stderr


def test_the_manifest_lists_every_file():
    manifest = yaml.safe_load((ROOT / "fiftyone.yml").read_text("utf-8"))
    assert sorted(manifest["skills"]) == NAMES
    for path in FILES:
        front = yaml.safe_load(path.read_text("utf-8").split("---")[1])
        assert front["name"] == path.parent.name


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_every_operator_named_exists(path, foo):
    uris = set(
        re.findall(rf"{PLUGIN}/\w+", " ".join(path.read_text().split()))
    )
    assert len(uris) >= 4
    assert {uri for uri in uris if not foo.operator_exists(uri)} == set()


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_every_parameter_named_is_in_the_form(path, form, foo, predicted):
    text = path.read_text("utf-8")
    foo.execute_operator(
        f"{PLUGIN}/compute_quality",
        {"dataset": predicted},
        params={
            "metrics": ["zsclip", "tv"],
            "class_source": "ground_truth",
            "encoder": "lite",
        },
    )
    foo.execute_operator(
        f"{PLUGIN}/compute_correctness",
        {"dataset": predicted},
        params={"predictions": "model", "ground_truth": "ground_truth"},
    )
    foo.execute_operator(
        f"{PLUGIN}/build_quality_prior",
        {"dataset": predicted},
        params={"brain_key": "another", "n_resamples": 20},
    )
    wanted = [(uri, params) for _, uri, params in calls(text)]
    parameters = explained(text)
    assert len(wanted) >= 4 and len(parameters) >= 10
    for uri, params in wanted:
        if not params:
            continue
        fields = form(uri, predicted, **params)
        assert set(params) <= set(fields), (uri, params)
        for name, value in params.items():
            values = fields[name]["type"].get("values")
            known = not values or value in values
            # A text with proposals may be another
            free = "Autocomplete" in str(fields[name].get("view"))
            assert known or free, (uri, name, value)
    for uri, name in parameters:
        offered = set().union(*(form(uri, predicted, **u) for u in _UNFOLDS))
        assert name in offered, (uri, name)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_calls_run_in_their_order(path, foo, predicted, tmp_path):
    folder = tmp_path / "export"
    results = {}
    for _, uri, params in calls(path.read_text("utf-8")):
        if "export_dir" in params:
            params["export_dir"] = str(folder)
        if uri.endswith("compute_quality"):
            # The default encoder depends on what a machine has
            params["encoder"] = "lite"
        if uri.endswith("compute_predictions"):
            params["field"] = "ran"
        result = foo.execute_operator(
            uri, {"dataset": predicted}, params=params
        )
        results[uri.rpartition("/")[2]] = result.result
    assert predicted.count("zsclip_ql") == 8
    if path.parent.name == "score-and-triage":
        poor = results["find_low_quality"]["n"]
        assert poor == len(predicted.match_tags("iqa_low_quality")) == 1
        assert "iqa_low_zsclip_ql" in predicted.list_saved_views()
        assert (folder / "manifest.csv").is_file()
        assert "zsclip" in {
            row["name"] for row in results["list_quality_metrics"]["metrics"]
        }
    else:
        assert predicted.count("ran") == 8
        right = sum(predicted.values("iqa_correct")) / 8
        assert results["compute_correctness"]["accuracy"] == right
        (row,) = results["manage_quality_runs"]["runs"]
        assert row["key"] == "iqa" and row["n"] == 8
        # As the skill's Python lines do it
        run = predicted.load_brain_results("iqa")
        assert run.expected_accuracy(predicted[:4], by="camera").n == 4
        assert len(run.check())
