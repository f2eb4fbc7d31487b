"""The operator and the panel of model quality, without a browser."""

import json

import pytest

import fiftyone_iqa as fiqa

URI = "@fiftyone-iqa/iqa/"


class Panel:
    """The panel as the App drives it: state goes back and forth as JSON."""

    def __init__(self, foo, dataset):
        self.dataset = dataset
        self.panel = foo.get_operator(f"{URI}model_quality_panel")
        self.state = {}
        self.seen = {}

    def event(self, method, **params):
        from fiftyone.operators.executor import ExecutionContext, Executor

        request = {
            "dataset_name": self.dataset.name,
            "params": {
                "panel_id": "p",
                "panel_state": self.state,
                "__method__": method,
                **params,
            },
        }
        executor = Executor()
        context = ExecutionContext(request, executor=executor)
        with context:
            self.panel.execute(context)
        requests = json.loads(
            json.dumps(executor.to_json(), allow_nan=False, default=str)
        )["requests"]
        self.state = json.loads(json.dumps(context.panel_state))
        self.requests = [r["operator_uri"] for r in requests]
        for request in requests:
            if request["operator_uri"].endswith("show_panel_output"):
                self.seen = request["params"]["output"]["type"]["properties"]
        return self

    def ranks(self):
        ((_, table),) = [
            item for item in self.seen.items() if item[0].startswith("ranks_")
        ]
        return [row["model"] for row in table["default"]]


@pytest.fixture
def models(tmp_path):
    """A large model that reads colours and a small one that does not."""
    import torch

    from fiftyone_iqa.models import Normalisation, get_task_model
    from fiftyone_iqa.preprocessing import ResizeCrop

    torch.manual_seed(0)

    class Colour(torch.nn.Module):
        def __init__(self, gain, hidden):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.tensor(gain))
            self.more = torch.nn.Parameter(torch.zeros(hidden))

        def forward(self, x):
            mean = self.gain * x.mean(dim=(2, 3))
            return torch.stack([mean[:, 0], mean[:, 2]], dim=1)

    return [
        get_task_model(
            Colour(gain, hidden),
            classes=["cat", "dog"],
            transform=ResizeCrop(32, 32),
            normalisation=Normalisation((0, 0, 0), (1, 1, 1)),
            slug=slug,
        )
        for slug, gain, hidden in (("large", 5.0, 900), ("small", -4.0, 10))
    ]


@pytest.fixture
def dataset(make_dataset):
    return make_dataset(24, labels=["cat", "dog"], persistent=True)


@pytest.fixture
def results(dataset, models):
    return fiqa.model_quality(
        dataset,
        models,
        corruptions="contrast",
        max_corrupted=8,
        cache=False,
        progress=False,
    )


def test_without_a_run_it_says_what_to_press(foo, dataset):
    panel = Panel(foo, dataset).event("on_load")
    assert "No models measured" in panel.seen["next"]["default"] + str(
        panel.seen["next"]
    )
    assert (
        panel.event("prompt").requests[0].endswith("prompt_user_for_operation")
    )


def test_the_newest_run_is_drawn(foo, dataset, results):
    panel = Panel(foo, dataset).event("on_load")
    assert panel.state["run"] == "model_quality"
    radar = panel.seen["plot_radar"]["view"]["data"]
    assert [trace["name"] for trace in radar] == ["large", "small"]
    panel.event("on_plot", value="bars")
    bars = panel.seen["plot_bars"]["view"]["data"]
    measured = results.table().dropna(subset="value")
    assert len(bars) == 2 * measured.dimension.nunique()
    assert "OOD robustness" in str(panel.seen["unmeasured"])


def test_ranks_follow_the_users_weights(foo, dataset, results):
    panel = Panel(foo, dataset).event("on_load")
    assert panel.ranks() == results.rank(cohort="models").model.tolist()
    from fiftyone_iqa.robustness.cohort import KEYS

    for key in KEYS[:-1]:
        panel.event("on_weight", path=f"weights_0.weight_{key}_0", value=0)
    assert panel.ranks() == ["small", "large"]
    # What is no weight changes nothing
    for value in (None, "", -1, float("inf")):
        panel.event(
            "on_weight", path="weights_0.weight_accuracy_0", value=value
        )
    assert panel.ranks() == ["small", "large"]
    panel.event("on_weight", path="weights_0.weight_parameters_0", value=0)
    assert "All weights are 0" in str(panel.seen["no_score"])
    panel.event("on_reset")
    assert panel.ranks() == results.rank(cohort="models").model.tolist()
    panel.event("on_cohort", value="published")
    assert "ImageNet-1k" in str(panel.seen["said"])


def test_the_operator_measures_delegated(foo, dataset):
    from fiftyone.operators.delegated import DelegatedOperationService

    operator = foo.get_operator(f"{URI}model_quality")
    operator(
        dataset.match_tags("none").concat(dataset),
        models=["no-such-model"],
        delegate=True,
    )
    service = DelegatedOperationService()
    (result,) = service.execute_queued_operations(operator=operator.uri)
    assert "Unknown task model 'no-such-model'" in result.error
    assert dataset.list_brain_runs() == []


def test_from_python_it_is_the_sdks(foo, dataset, models):
    operator = foo.get_operator(f"{URI}model_quality")
    found = operator(
        dataset, models=models[0], max_corrupted=0, brain_key=None
    )
    assert found.models == ["large"]


def test_the_form(form, dataset, make_dataset):
    uri = f"{URI}model_quality"
    seen = form(uri, dataset)
    assert {"models", "ground_truth", "max_attacked"} <= set(seen)
    assert "no_labels" in form(uri, make_dataset(2))
    assert form(uri, dataset, brain_key="a b")["brain_key"]["invalid"]


def test_delete_everything_takes_the_run(dataset, results):
    assert fiqa.delete_everything(dataset).runs == ("model_quality",)
    assert dataset.list_brain_runs() == []
