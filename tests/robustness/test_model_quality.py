"""model_quality on datasets: measured, stored, resumed, and refused."""

import importlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import fiftyone_iqa as fiqa
from fiftyone_iqa.robustness.cohort import KEYS
from fiftyone_iqa.robustness.profile import ModelQualityResults

QUICK = {
    "corruptions": ["contrast", "brightness"],
    "severities": (1, 5),
    "num_workers": 0,
    "cache": False,
    "progress": False,
}
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
ATTACKED = 45
ADVERSARIAL = "adversarial_robustness"


def load_script(name):
    """Imports a script that finds its neighbours, without running it."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="module")
def dataset(database, colour_images):
    import fiftyone as fo

    dataset = fo.Dataset(persistent=True)
    dataset.add_samples(samples(*colour_images(90)), progress=False)
    yield dataset
    dataset.delete()


def samples(paths, labels):
    import fiftyone as fo

    return [
        fo.Sample(path, ground_truth=fo.Classification(label=label))
        for path, label in zip(paths, labels)
    ]


@pytest.fixture
def variants(make_dataset, colour_images):
    """A function that makes a dataset of harder or easier images."""

    def make(seed, tint):
        paths, labels = colour_images(60, seed, tint)
        made = make_dataset(paths=paths, labels=labels[:3])
        assert made.values("ground_truth.label") == labels
        return made

    return make


@pytest.fixture(scope="module")
def results(dataset, colour_model):
    return fiqa.model_quality(
        dataset,
        [colour_model("sure", 40.0), colour_model("shy", 2.0)],
        epsilons=(1 / 255, 4 / 255, 8 / 255, 16 / 255),
        brain_key="models",
        max_attacked=ATTACKED,
        **QUICK,
    )


def test_six_dimensions_are_measured_and_three_say_what_they_need(results):
    for model in ("sure", "shy"):
        found = results.dimensions(model)
        assert tuple(found) == KEYS
        lacking = {k: v.needs for k, v in found.items() if v.value is None}
        assert set(lacking) == {"ood_robustness", "object_focus", "shape_bias"}
        assert "ood=" in lacking["ood_robustness"]
        assert "backgrounds=" in lacking["object_focus"]
        assert "cue_conflict=" in lacking["shape_bias"]
        assert found["parameters"].value == 9 / 1e6
        for key in set(KEYS) - set(lacking) - {"parameters"}:
            estimate = found[key].estimate
            assert estimate.low <= estimate.value <= estimate.high, key


def test_values_are_those_of_the_images(results, dataset, colour_model):
    from fiftyone_iqa.images import read_image

    model = colour_model("sure", 40.0)
    batch = [
        model.preprocessing(read_image(path))
        for path in dataset.values("filepath")
    ]
    best = model.logits(np.stack(batch)).argmax(axis=1)
    names = np.array(model.classes)[best]
    right = names == np.array(dataset.values("ground_truth.label"))
    found = results.dimensions("sure")
    assert found["accuracy"].value == pytest.approx(right.mean())
    # Gain changes confidence, never the decision
    other = results.dimensions("shy")
    assert other["accuracy"].value == found["accuracy"].value
    assert other["calibration_error"].value != pytest.approx(
        found["calibration_error"].value
    )


def test_pgd_leaves_no_more_where_its_budget_grows(results):
    script = load_script("quba_profile")
    for model in results.models:
        parts = results.dimensions(model)[ADVERSARIAL].parts
        steps = script.budgets(parts)
        assert [epsilon for epsilon, _ in steps] == [0, 1, 4, 8, 16]
        assert steps[0][1] > steps[-1][1]
        assert script.rises(parts, ATTACKED) == []
    # And the check can fail
    rising = {"clean": 0.2, "PGD 8/255": 0.9}
    assert script.rises(rising, ATTACKED) != []


def test_it_is_a_brain_run(results, dataset):
    import fiftyone as fo

    dataset = fo.load_dataset(dataset.name)
    assert dataset.list_brain_runs(type="model_quality") == ["models"]
    loaded = dataset.load_brain_results("models", cache=False)
    assert isinstance(loaded, ModelQualityResults)
    assert loaded.report == results.report
    assert loaded.get_meta()["models"] == ["sure", "shy"]
    table = loaded.table()
    assert len(table) == 18
    assert table.value.notna().sum() == 12
    assert "not measured" in loaded.summary()


def test_scores_and_ranks(results):
    scores = results.score()
    for score in scores.values():
        assert score.name == "QUBA-style"
        assert score.cohort == "the models compared"
        assert {"ood_robustness", "object_focus", "shape_bias"} <= set(
            score.left_out
        )
        assert sum(score.weights.values()) == pytest.approx(1)
    rank = results.rank(weights={"calibration_error": 1})
    errors = {
        m: results.dimensions(m)["calibration_error"].value
        for m in results.models
    }
    assert rank.model[0] == min(errors, key=errors.get)
    assert rank["rank"].tolist() == [1, 2]
    published = results.score(cohort="published")["sure"]
    assert published.cohort.startswith("ImageNet-1k")
    assert published.name == "QUBA-style"
    declared = {
        "one": {"accuracy": 0.5},
        "two": {"accuracy": 0.7, "shape_bias": None},
    }
    declared = results.score(cohort=declared)["sure"]
    accuracy = results.dimensions("sure")["accuracy"].value
    assert declared.value == pytest.approx(
        (accuracy - 0.6) / np.std([0.5, 0.7], ddof=1)
    )


@pytest.mark.parametrize(
    "cohort",
    ["mine", 3, {"one": {"accuracy": 1}}, {"a": {"speed": 1}, "b": {}}],
)
def test_unusable_cohorts(results, cohort):
    with pytest.raises(fiqa.IQAError, match="cohort"):
        results.score(cohort=cohort)


@pytest.mark.parametrize("kind", ["radar", "bars"])
def test_plots(results, kind):
    figure = results.plot(kind)
    names = {trace.name for trace in figure.data}
    assert names == {"sure", "shy"}
    with pytest.raises(fiqa.IQAError, match="no plot"):
        results.plot("pie")


def test_the_same_again_with_a_seed_in_any_batches(
    results, dataset, colour_model
):
    again = fiqa.model_quality(
        dataset,
        [colour_model("sure", 40.0)],
        epsilons=(1 / 255, 4 / 255, 8 / 255, 16 / 255),
        brain_key=None,
        max_attacked=ATTACKED,
        batch_size=7,
        **QUICK,
    )
    before, after = results.dimensions("sure"), again.dimensions("sure")
    for key in KEYS:
        assert after[key].value == pytest.approx(before[key].value, abs=1e-5)
        assert after[key].parts == pytest.approx(before[key].parts, abs=1e-5)


def test_all_nine_with_other_datasets(
    dataset, colour_model, variants, make_dataset, colour_images
):
    import fiftyone as fo

    sketch, photo = variants(1, 4), variants(2, 30)
    same, other = variants(3, 40), variants(4, 5)
    # The colour is the shape here, and the texture is another
    paths, labels = colour_images(30, 5, 10)
    conflict = make_dataset(paths=paths, labels=labels[:3])
    turned = {"red": "green", "green": "blue", "blue": "red"}
    conflict.set_values(
        "texture", [fo.Classification(label=turned[x]) for x in labels]
    )
    model = colour_model("all")
    results = fiqa.model_quality(
        dataset,
        model,
        ood={"sketch": sketch, "photo": photo.name},
        backgrounds={"mixed_same": same, "mixed_rand": other.view()},
        cue_conflict=conflict,
        max_attacked=12,
        max_corrupted=6,
        brain_key=None,
        **QUICK,
    )
    found = results.dimensions("all")
    assert all(one.value is not None for one in found.values())
    ood = found["ood_robustness"]
    clean = found["accuracy"].value
    shares = np.array([ood.parts["sketch"], ood.parts["photo"]])
    assert ood.value == pytest.approx(np.sqrt((shares / clean).prod()))
    focus = found["object_focus"]
    gap = focus.parts["mixed_same"] - focus.parts["mixed_rand"]
    assert focus.value == pytest.approx(1 - gap / clean) and gap > 0
    bias = found["shape_bias"]
    assert 0 < bias.value < 1
    assert bias.value == pytest.approx(
        bias.parts["shape"] / (bias.parts["shape"] + bias.parts["texture"])
    )
    # Not ImageNet's images: no protocol but that of counting
    assert [k for k in KEYS if found[k].by_protocol] == ["parameters"]
    with pytest.raises(fiqa.IQAError, match="nothing to be compared"):
        results.score()


def test_fields_name_variants(make_dataset, colour_images, colour_model):
    paths, labels = colour_images(60)
    dataset = make_dataset(paths=paths, labels=labels[:3])
    dataset.set_values("domain", [None] * 30 + ["dark", "odd"] * 15)
    results = fiqa.model_quality(
        dataset,
        colour_model("m"),
        ood="domain",
        max_attacked=0,
        max_corrupted=0,
        **QUICK,
    )
    found = results.dimensions("m")
    assert results.report["n"] == 30
    assert set(found["ood_robustness"].parts) == {"dark", "odd"}
    assert "max_attacked" in found[ADVERSARIAL].needs
    assert "max_corrupted" in found["corruption_robustness"].needs


def test_one_image_per_class_cannot_show_balance(
    make_dataset, colour_images, colour_model
):
    paths, labels = colour_images(3)
    dataset = make_dataset(paths=paths, labels=labels)
    results = fiqa.model_quality(
        dataset, colour_model("m"), brain_key=None, **QUICK
    )
    found = results.dimensions("m")
    for key in ("class_balance", "calibration_error"):
        assert found[key].value is None
        assert "at least 10 images each" in found[key].needs
    assert 0 <= found["calibration_error"].parts["ECE"] <= 1
    assert found["accuracy"].value is not None


def test_mappings_name_classes_otherwise(
    make_dataset, colour_images, colour_model
):
    paths, _ = colour_images(9)
    dataset = make_dataset(paths=paths, labels=["warm", "cold", "cold"])
    model, options = colour_model("m"), {**QUICK, "max_attacked": 6}
    with pytest.raises(fiqa.IQAError, match="2 of 2 true labels"):
        fiqa.model_quality(dataset, model, **options)
    mapping = {"red": "warm", "green": "cold", "blue": "cold"}
    results = fiqa.model_quality(
        dataset, model, mappings={"samples": mapping}, **options
    )
    assert results.dimensions("m")["accuracy"].value > 0.5
    assert results.dimensions("m")[ADVERSARIAL].value is not None


def test_bad_images_cost_themselves_alone(
    make_dataset, colour_images, colour_model, tmp_path
):
    paths, labels = colour_images(12)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    dataset = make_dataset(
        paths=[str(broken), *paths], labels=["red", *labels]
    )
    results = fiqa.model_quality(
        dataset, colour_model("m"), brain_key=None, **QUICK
    )
    assert list(results.report["failures"]) == [str(broken)]
    found = results.dimensions("m")
    assert found["accuracy"].measured_on == "12 images of 3 classes"
    assert found[ADVERSARIAL].measured_on.startswith("12 images")


@pytest.mark.parametrize(
    ("said", "arguments"),
    [
        ("models is empty", {"models": []}),
        ("no field 'nope'", {"ground_truth": "nope"}),
        ("Two models", {"twice": True}),
        ("no dataset", {"ood": {"a": "no-such-dataset"}}),
        ("mixed_rand", {"backgrounds": {"mixed_same": None}}),
        ("no corruption 'rain'", {"corruptions": "rain"}),
        ("mappings has no", {"mappings": {"speed": {}}}),
        ("epsilons", {"epsilons": 2.0}),
    ],
)
def test_mistakes_are_one_sentence(dataset, colour_model, said, arguments):
    options = {**QUICK, **arguments, "brain_key": "bad"}
    models = options.pop("models", colour_model("m"))
    if options.pop("twice", False):
        models = [models, colour_model("m")]
    if "backgrounds" in options:
        options["backgrounds"] = {"mixed_same": dataset}
    with pytest.raises(fiqa.IQAError, match=said):
        fiqa.model_quality(dataset, models, **options)
    assert "bad" not in dataset.list_brain_runs()


def test_another_run_under_the_key_is_left_alone(dataset, colour_model):
    from fiftyone_iqa.brain import ImageQualityConfig

    method = ImageQualityConfig(metrics=["a"], correctness="b").build()
    method.register_run(dataset, "taken", cleanup=False)
    with pytest.raises(fiqa.IQAError, match="another brain run 'taken'"):
        fiqa.model_quality(
            dataset, colour_model("m"), brain_key="taken", **QUICK
        )
    dataset.delete_brain_run("taken")


RUN = textwrap.dedent(
    """
    import sys, time
    import torch
    from fiftyone_iqa.models import Normalisation, get_task_model
    from fiftyone_iqa.preprocessing import ResizeCrop
    from fiftyone_iqa.robustness.runner import Runner
    from fiftyone_iqa.robustness.stages import Attacked, Attack, PGD
    import numpy as np

    class Slow(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.eye(3))
        def forward(self, x):
            time.sleep(float(sys.argv[1]))
            return x.mean(dim=(2, 3)) @ self.weight

    model = get_task_model(
        Slow(), classes=["red", "green", "blue"], transform=ResizeCrop(16, 16),
        normalisation=Normalisation((0, 0, 0), (1, 1, 1)), slug="slow",
    )
    paths = sys.argv[2:]
    truth = np.eye(3, dtype=bool)[np.arange(len(paths)) % 3]
    stage = Attacked([Attack(PGD, 8 / 255)], {"slow": truth}, 51)
    fresh = []
    vectors = stage.vectors
    def counted(model, batch, rows):
        fresh.extend(rows.tolist())
        found = vectors(model, batch, rows)
        print("batch", flush=True)
        return found
    stage.vectors = counted
    found = Runner(batch_size=12).run(stage, [model], paths)["slow"]
    print("done", len(fresh), found[:, 0].astype(int).tolist())
    """
)


def test_a_killed_run_goes_on_where_it_stopped(colour_images, tmp_path):
    paths, _ = colour_images(30)
    env = {**os.environ, "FIFTYONE_IQA_CACHE_DIR": str(tmp_path / "cache")}

    def start(seconds):
        return subprocess.Popen(
            [sys.executable, "-c", RUN, str(seconds), *paths],
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )

    killed = start(0.03)
    for _ in range(3):
        assert killed.stdout.readline() == "batch\n"
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    resumed = start(0).communicate(timeout=100)[0].splitlines()[-1]
    n, values = int(resumed.split()[1]), resumed.split(maxsplit=2)[2]
    assert 15 <= n <= 24
    env["FIFTYONE_IQA_CACHE_DIR"] = str(tmp_path / "other")
    fresh = start(0).communicate(timeout=100)[0].splitlines()[-1]
    assert fresh == f"done 30 {values}"
