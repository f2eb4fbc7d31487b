"""The operators through FiftyOne's own executor, without a browser."""

import pytest

import fiftyone_iqa as fiqa

URI = "@fiftyone-iqa/iqa/compute_quality"
LIST_URI = "@fiftyone-iqa/iqa/list_quality_metrics"


@pytest.fixture
def labelled(make_dataset):
    return make_dataset(6, labels=["cat", "dog"], persistent=True)


def test_executes_immediately(foo, labelled):
    view = labelled[:4]
    result = foo.execute_operator(
        URI,
        {"view": view},
        params={"metrics": ["tv", "blur"], "create_index": True},
    )
    assert labelled.count("tv") == labelled.count("blur") == 4
    requests = result.executor.to_json()["requests"]
    called = [request["operator_uri"] for request in requests]
    assert called[0] == "set_progress"
    assert called[-2:] == ["reload_dataset", "notify"]
    assert "4 of 4 scored" in requests[-1]["params"]["message"]
    assert requests[-1]["params"]["variant"] == "success"
    assert {"tv", "blur"} <= set(labelled.list_indexes())
    labelled.reload()
    groups = {g.name: g.paths for g in labelled.app_config.sidebar_groups}
    assert groups["image quality"] == ["tv", "blur"]
    assert "tv" not in groups["primitives"]


def test_executes_delegated_and_keeps_the_report(foo, labelled):
    from fiftyone.operators.delegated import DelegatedOperationService

    foo.execute_operator(
        URI,
        {"dataset": labelled},
        params={"metrics": ["tv"]},
        request_delegation=True,
    )
    service = DelegatedOperationService()
    (queued,) = service.list_operations(operator=URI, run_state="queued")
    assert queued.label == f"Image quality (tv) on {labelled.name}"
    (result,) = service.execute_queued_operations(operator=URI)
    assert result.error is None
    assert result.result["scored"] == 6
    assert labelled.count("tv") == 6


def test_shards_agree_with_one_run(foo, labelled):
    """What distributed execution does: disjoint views, any order."""
    ids = labelled.values("id")
    for part in (ids[1::2], ids[::2]):
        foo.execute_operator(
            URI,
            {"view": labelled.select(part)},
            params={"metrics": ["zsclip", "tv"], "encoder": "lite:ridge"},
        )
    fields = ["zsclip_qp", "zsclip_qh", "zsclip_ql", "zsclip_qm", "tv"]
    fiqa.compute_quality(labelled, encoder="lite:ridge", field_prefix="one")
    for field in fields:
        assert labelled.values(field) == pytest.approx(
            labelled.values(f"one_{field}"), abs=1e-5
        )


def test_is_callable(foo, labelled):
    operator = foo.get_operator(URI)
    report = operator(labelled[:2], metrics="tv")
    assert report.metrics[0].scored == 2
    queued = operator(labelled, metrics=["tv"], delegate=True)
    assert queued.delegated


def test_form_chooses_labels_only_where_they_matter(form, labelled):
    with_labels = form(URI, labelled)
    assert {"metrics", "class_source", "encoder", "overwrite"} <= set(
        with_labels
    )
    choices = [
        choice["value"] for choice in with_labels["metrics"]["view"]["choices"]
    ]
    assert choices == [spec.name for spec in fiqa.list_metrics()]
    sources = with_labels["class_source"]["view"]["choices"]
    assert "ground_truth" in [choice["value"] for choice in sources]

    without = form(URI, labelled, metrics=["tv"])
    assert "class_source" not in without
    typed = form(URI, labelled, class_source="typed")
    assert "class_names" in typed


def test_form_offers_the_target_where_there_is_a_choice(form, labelled):
    assert "view_target" in form(URI, labelled, view=labelled.limit(2))


def test_form_refuses_what_cannot_be_scored(form, labelled):
    refused = form(URI, labelled, view=labelled.match_tags("no"))
    assert refused["unusable"]["invalid"]
    assert "empty" in refused["unusable"]["view"]["label"]
    assert "metrics" not in refused


def test_form_and_defaults_run(foo, form, labelled):
    """What the form proposes, unchanged, is a valid call."""
    params = {
        name: prop["default"]
        for name, prop in form(URI, labelled).items()
        if prop.get("default") is not None and name != "view_target"
    }
    foo.execute_operator(URI, {"dataset": labelled}, params=params)
    assert labelled.count("zsclip_ql") == 6


def test_typed_class_names(foo, labelled):
    foo.execute_operator(
        URI,
        {"dataset": labelled},
        params={
            "metrics": ["zsclip"],
            "class_source": "typed",
            "class_names": "tabby cat, golden retriever\nowl,",
            "encoder": "lite:ridge",
        },
    )
    info = labelled.get_field("zsclip_qp").info["iqa"]
    assert info["provenance"]["n_classes"] == 3
    labels = labelled.info["iqa_label_sets"][info["identity"]["classes"]]
    assert labels == ["tabby cat", "golden retriever", "owl"]


@pytest.mark.parametrize(("n", "delegated"), [(1000, False), (10**6, True)])
def test_long_runs_are_delegated_by_default(
    foo, labelled, monkeypatch, n, delegated
):
    from fiftyone.operators.executor import ExecutionContext, Executor

    operator = foo.get_operator(URI)
    context = ExecutionContext(
        {"dataset_name": labelled.name, "params": {"metrics": ["zsclip"]}},
        executor=Executor(),
    )

    class Many:
        def __len__(self):
            return n

    monkeypatch.setattr(context, "target_view", Many)
    options = operator.resolve_execution_options(context)
    assert options.default_choice_to_delegated is delegated


def test_errors_reach_python(foo, labelled):
    from fiftyone.operators.executor import ExecutionError

    with pytest.raises(ExecutionError, match="Unknown metric 'nope'"):
        foo.execute_operator(
            URI, {"dataset": labelled}, params={"metrics": ["nope"]}
        )


def test_lists_every_metric(foo, labelled):
    result = foo.execute_operator(LIST_URI, {"dataset": labelled})
    rows = result.result["metrics"]
    assert [row["name"] for row in rows] == [
        spec.name for spec in fiqa.list_metrics()
    ]
    assert rows[0]["guidance"] == "weak"


def test_declarations(foo):
    from fiftyone.operators import types

    config = foo.get_operator(URI).config
    assert config.execute_as_generator
    assert config.allow_delegated_execution
    assert config.risk_level == types.RiskLevel.MEDIUM
    assert config.to_json()["risk_level"] is not None
    assert foo.get_operator(LIST_URI).config.risk_level == types.RiskLevel.LOW
