"""Views that come along with a request: FiftyOne's stages and no more."""

import json
from importlib import import_module

import pytest

import fiftyone_iqa as fiqa


@pytest.fixture
def build_view(foo):
    # As the plugin imported it
    operator = foo.get_operator("@fiftyone-iqa/iqa/export_low_quality")
    package = type(operator).__module__.rpartition(".")[0]
    return import_module(f"{package}.stages").build_view


@pytest.fixture
def dataset(make_dataset):
    return make_dataset(4, labels=["cat", "dog"])


def serialised(view):
    return json.dumps(view._serialize(include_uuids=False), default=str)


def test_views_come_back(dataset, build_view):
    from fiftyone import ViewField as F

    for view in (
        dataset.view(),
        dataset.limit(2),
        dataset.match(F("ground_truth.label") == "cat").sort_by("filepath"),
        dataset.match({"ground_truth.label": {"$in": ["cat"]}}),
        dataset.filter_labels("ground_truth", F("label") == "cat"),
        dataset.limit(1).concat(dataset.skip(2)),
        dataset.mongo([{"$limit": 3}]),
        dataset.group_by("ground_truth.label"),
    ):
        again = build_view(dataset, serialised(view))
        assert again.values("id") == view.values("id")


def stage(_class, **kwargs):
    return [
        {"_cls": _class, "kwargs": [list(item) for item in kwargs.items()]}
    ]


def mongo(pipeline):
    return stage("fiftyone.core.stages.Mongo", pipeline=pipeline)


FUNCTION = {"body": "function() {return true}", "args": [], "lang": "js"}


@pytest.mark.parametrize(
    "stages",
    [
        mongo([{"$out": "stolen"}]),
        mongo([{"$merge": {"into": "stolen"}}]),
        mongo([{"$match": {"$where": "sleep(9999) || true"}}]),
        mongo([{"$match": {"$expr": {"$function": FUNCTION}}}]),
        mongo([{"$facet": {"a": [{"$group": {"x": {"$accumulator": {}}}}]}}]),
        stage(
            "fiftyone.core.stages.Match", filter={"$and": [{"$where": "1"}]}
        ),
        stage("fiftyone.core.stages.etau.get_class", name="os.system"),
        stage("fiftyone.core.stages.reduce"),
        stage("os.system", command="true"),
        stage("fiftyone.core.stages.Limit", no_such=1),
        stage("fiftyone.core.stages.Concat", samples=stage("os.system")),
        [{"_cls": None, "kwargs": []}],
        [{"kwargs": []}],
        [1],
        {},
        None,
        1,
    ],
)
def test_everything_else_is_refused(dataset, build_view, stages):
    with pytest.raises(fiqa.IQAError, match="not those of a view"):
        build_view(dataset, json.dumps(stages))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, None, 3, b"\xff"])
def test_no_json_is_refused(dataset, build_view, text):
    with pytest.raises(fiqa.IQAError, match="not those of a view"):
        build_view(dataset, text)


def test_a_request_starts_no_program(dataset, build_view, tmp_path, foo):
    program = stage("subprocess.Popen", args=["touch", str(tmp_path / "ran")])
    with pytest.raises(fiqa.IQAError):
        build_view(dataset, json.dumps(program))
    result = None
    with pytest.raises(Exception, match="not those of a view"):
        result = foo.execute_operator(
            "@fiftyone-iqa/iqa/export_low_quality",
            {"dataset": dataset},
            params={
                "stages": json.dumps(program),
                "export_dir": str(tmp_path / "out"),
            },
        )
    assert result is None
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out").exists()
