"""The operators that build, find, compare, corrupt, export and delete."""

import csv
import json

import numpy as np
import pytest

import fiftyone_iqa as fiqa

URI = "@fiftyone-iqa/iqa/"


@pytest.fixture
def scored(make_dataset):
    """24 images with a quality that tells correctness, 2 sources apart."""
    import fiftyone as fo

    rng = np.random.default_rng(0)
    n = 24
    dataset = make_dataset(n, labels=["cat", "dog"], persistent=True)
    good = rng.normal(size=n)
    right = rng.random(n) < 1 / (1 + np.exp(-2 * good))
    dataset.add_sample_field("good", fo.FloatField)
    dataset.add_sample_field("right", fo.BooleanField)
    dataset.set_values("good", [None, *good[1:].tolist()])
    dataset.set_values("right", right.tolist())
    fiqa.use_quality_field(dataset, "good", higher_is_better=True)
    return dataset


def test_prior_is_built_immediately(foo, scored):
    result = foo.execute_operator(
        f"{URI}build_quality_prior",
        {"dataset": scored},
        params={"n_resamples": 20},
    )
    assert scored.list_brain_runs(type="image_quality") == ["iqa"]
    requests = result.executor.to_json()["requests"]
    assert requests[0]["operator_uri"] == "set_progress"
    assert "good tells right from wrong" in requests[-1]["params"]["message"]


def test_prior_is_built_delegated(foo, scored):
    from fiftyone.operators.delegated import DelegatedOperationService

    operator = foo.get_operator(f"{URI}build_quality_prior")
    operator(scored, metrics=["good"], correctness="right", delegate=True)
    service = DelegatedOperationService()
    (result,) = service.execute_queued_operations(operator=operator.uri)
    assert result.error is None
    assert result.result["brain_key"] == "iqa"
    assert result.result["n"] == 24


def test_prior_from_python_is_the_sdks(foo, scored):
    operator = foo.get_operator(f"{URI}build_quality_prior")
    results = operator(
        scored, metrics="good", correctness="right", brain_key=None
    )
    assert results.metrics == ["good"]


def test_prior_form_says_what_is_missing(form, scored, make_dataset):
    uri = f"{URI}build_quality_prior"
    empty = make_dataset(2, persistent=True)
    assert form(uri, empty)["no_fields"]["invalid"]
    filled = form(uri, scored)
    assert filled["metrics"]["default"] == ["good"]
    assert filled["correctness"]["default"] == "right"
    assert form(uri, scored, brain_key="no key")["brain_key"]["invalid"]
    fiqa.build_quality_prior(scored, "good", "right", n_resamples=20)
    assert "replaces" in form(uri, scored)
    scored.delete_sample_field("right")
    assert form(uri, scored)["no_correctness"]["invalid"]


def test_prior_form_runs_as_it_is(foo, form, scored):
    uri = f"{URI}build_quality_prior"
    params = {
        name: prop["default"]
        for name, prop in form(uri, scored).items()
        if prop.get("default") is not None and name != "view_target"
    }
    foo.execute_operator(uri, {"dataset": scored}, params=params)
    assert scored.list_brain_runs() == ["iqa"]


def test_low_quality_is_shown_tagged_or_saved(foo, scored):
    uri = f"{URI}find_low_quality"
    values = [v for v in scored.values("good") if v is not None]
    poor = sorted(values)[:5]
    result = foo.execute_operator(
        uri, {"dataset": scored}, params={"threshold": poor[-1]}
    )
    assert result.result == {"metric": "good", "n": 5}
    called = [r["operator_uri"] for r in result.executor.to_json()["requests"]]
    assert called == ["set_view", "notify"]

    foo.execute_operator(
        uri,
        {"dataset": scored},
        params={"threshold": poor[-1], "then": "tag"},
    )
    tagged = scored.match_tags("iqa_low_good")
    assert sorted(tagged.values("good")) == poor

    foo.execute_operator(
        uri, {"dataset": scored}, params={"quantile": 0.2, "then": "save"}
    )
    assert "iqa_low_good" in scored.list_saved_views()

    view = foo.get_operator(uri)(scored, metric="good", threshold=poor[2])
    assert sorted(view.values("good")) == poor[:3]


def test_two_collections_are_compared(foo, scored):
    from scipy.stats import ks_2samp

    uri = f"{URI}compare_quality"
    half = scored.limit(12)
    (row,) = foo.get_operator(uri)(half, other=scored)
    a, b = (
        [v for v in samples.values("good") if v is not None]
        for samples in (half, scored)
    )
    assert row["ks"] == pytest.approx(ks_2samp(a, b).statistic, abs=1e-4)
    assert (row["n"], row["other_n"]) == (11, 23)
    result = foo.execute_operator(uri, {"view": half}, params={})
    assert result.result["rows"] == [row]


def test_comparison_with_itself_is_refused(form, scored):
    refused = form(f"{URI}compare_quality", scored, this="dataset")
    assert refused["same"]["invalid"]


def test_images_are_corrupted(foo, form, scored, tmp_path):
    import fiftyone as fo

    uri = f"{URI}corrupt_dataset"
    view = scored.limit(2)
    name = f"{scored.name}-variants"
    size = form(uri, scored, view=view, corruptions=["fog"], severities=["1"])
    assert "2 images, 2 variants" in size["size"]["view"]["label"]
    result = foo.execute_operator(
        uri,
        {"view": view},
        params={
            "corruptions": ["contrast"],
            "severities": ["1", "3"],
            "dataset": name,
        },
    )
    called = [r["operator_uri"] for r in result.executor.to_json()["requests"]]
    made = fo.load_dataset(name)
    try:
        assert "open_dataset" in called
        assert sorted(made.values("severity")) == [0, 0, 1, 1, 3, 3]
    finally:
        made.delete()


def test_poor_images_are_exported_with_reasons(foo, scored, tmp_path):
    uri = f"{URI}export_low_quality"
    values = [v for v in scored.values("good") if v is not None]
    threshold = sorted(values)[3]
    params = {
        "which": "poor",
        "threshold": threshold,
        "export_dir": str(tmp_path / "out"),
        "reason": "dark",
    }
    foo.execute_operator(uri, {"dataset": scored}, params=params)
    with open(tmp_path / "out" / "manifest.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 4
    assert max(float(row["good"]) for row in rows) == pytest.approx(threshold)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())

    from fiftyone.operators.executor import ExecutionError

    with pytest.raises(ExecutionError):
        foo.execute_operator(uri, {"dataset": scored}, params=params)


def test_runs_are_listed_renamed_and_deleted(foo, scored):
    uri = f"{URI}manage_quality_runs"
    manage = foo.get_operator(uri)
    assert manage(scored) == []
    fiqa.build_quality_prior(scored, "good", "right", n_resamples=20)
    (row,) = manage(scored)
    assert (row["key"], row["n"], row["best"]) == ("iqa", 24, "good")
    assert manage(scored, "rename", "iqa", "mine")[0]["key"] == "mine"
    result = foo.execute_operator(
        uri, {"dataset": scored}, params={"action": "delete", "key": "mine"}
    )
    assert result.result == {"runs": []}
    assert scored.list_brain_runs() == []
    with pytest.raises(fiqa.IQAError, match="no quality prior 'mine'"):
        manage(scored, "delete", "mine")


def test_everything_is_deleted_only_when_confirmed(foo, scored):
    from fiftyone.operators import types
    from fiftyone.operators.executor import ExecutionError

    uri = f"{URI}delete_iqa"
    operator = foo.get_operator(uri)
    assert operator.config.risk_level == types.RiskLevel.HIGH
    before = set(scored.get_field_schema())
    fiqa.compute_quality(scored, metrics="tv")
    fiqa.build_quality_prior(scored, "good", "right", n_resamples=20)
    fiqa.save_views(scored, "good")
    foo.get_operator(f"{URI}open_iqa_workspace")(scored)
    with pytest.raises(ExecutionError, match="delete"):
        foo.execute_operator(
            uri, {"dataset": scored}, params={"confirm": "no"}
        )
    assert scored.has_field("tv")

    foo.execute_operator(
        uri, {"dataset": scored}, params={"confirm": "delete"}
    )
    scored.reload()
    assert set(scored.get_field_schema()) == before
    assert not scored.list_brain_runs()
    assert not scored.list_saved_views()
    assert not scored.list_workspaces()


def test_the_workspace_shows_the_panel(foo, scored):
    uri = f"{URI}open_iqa_workspace"
    result = foo.execute_operator(uri, {"dataset": scored})
    assert result.result == {"workspace": "iqa"}
    space = scored.load_workspace("iqa")
    found = []

    def visit(node):
        for child in node.children:
            if hasattr(child, "children"):
                visit(child)
            else:
                # Else the App shows a blank space
                assert node.active_child == child.component_id
                found.append(child.type)

    visit(space)
    assert found == ["Samples", "Histograms", "image_quality"]
