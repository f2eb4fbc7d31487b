"""fiqa.foundation_robustness, end to end."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import fiftyone_iqa as fiqa
from fiftyone_iqa.images import read_image
from fiftyone_iqa.robustness.foundation import canonical_image, predict
from fiftyone_iqa.robustness.generators import CorruptionGenerator

from .small_models import CLASSES, small_model

SETS = ["style-m1", "style-m2", "corruption"]


@pytest.fixture(scope="session")
def small_models():
    return [small_model("m1", 1), small_model("m2", 2)]


@pytest.fixture
def recognised(make_dataset, write_images, encoder_names):
    """12 images whose labels are the oracle's own, but for the last two."""
    from fiftyone_iqa.encoders import get_encoder
    from fiftyone_iqa.robustness.oracle import ZeroShotOracle

    paths = write_images(12, size=(60, 80))
    images = np.stack([canonical_image(read_image(p)) for p in paths])
    oracle = ZeroShotOracle(get_encoder(encoder_names[0], "cpu"), CLASSES)
    said = oracle.probabilities(images).argmax(axis=1)
    said[-2:] = (said[-2:] + 1) % len(CLASSES)
    return make_dataset(
        paths=paths, labels=[CLASSES[i] for i in said], persistent=True
    )


@pytest.fixture
def run_fmr(recognised, small_models, encoder_names, tmp_path):
    """A function that measures FMR of the recognised images."""
    import fiftyone as fo

    def run(**kwargs):
        arguments = {
            "samples": recognised,
            "models": small_models,
            "ground_truth": "ground_truth",
            "oracle": encoder_names[0],
            "classes": CLASSES,
            "budget": 3,
            "batch_size": 5,
            "images_dir": tmp_path / "fmr",
            "n_resamples": 50,
            **kwargs,
        }
        return fiqa.foundation_robustness(**arguments)

    yield run
    for name in fo.list_datasets(f"{recognised.name}-*"):
        fo.delete_dataset(name)


def columns(dataset, name, fields):
    view = dataset.select_group_slices([name])
    rows = zip(*view.values(["source_id", *fields]))
    return {key: values for key, *values in rows}


def test_one_call(recognised, run_fmr, small_models):
    fiqa.compute_quality(recognised, "tv", num_workers=0, cache=False)
    results = run_fmr(generator=["style", "corruption"], metrics="tv")
    output = results.load_output()
    assert output.name == f"{recognised.name}-fmr"
    assert output.group_slices == ["original", *SETS]
    assert output.default_group_slice == "original"
    assert set(output.values("source_id")) == set(recognised.values("id"))

    # Groups of one original each, with its label
    labels = dict(zip(*recognised.values(["id", "ground_truth.label"])))
    paths = dict(zip(*recognised.values(["id", "filepath"])))
    originals = columns(output, "original", ["filepath", "fmr_oracle.label"])
    for name in SETS:
        rows = columns(
            output,
            name,
            [
                *("filepath", "ground_truth.label", "fmr_outcome"),
                *("fmr_steps", "fmr_oracle_score", "fmr_guide", "group.id"),
                *("m1.label", "m1_correct", "fmr_condition"),
            ],
        )
        assert set(rows) == set(labels)
        unknown = [k for k, row in rows.items() if row[2] == "original"]
        assert unknown == recognised.values("id")[-2:]
        for key, row in rows.items():
            path, label, outcome, steps, score, guide, group, *rest = row
            assert (label, str(group)) == (labels[key], key)
            assert guide == {"style-m1": "m1", "style-m2": "m2"}.get(name)
            image, original = read_image(path), read_image(originals[key][0])
            np.testing.assert_array_equal(
                original, canonical_image(read_image(paths[key]))
            )
            assert (image == original).all() == (outcome != "perturbed")
            assert (steps > 0) == (outcome == "perturbed")
            assert 0 <= score <= 1
            # What is stored is what was judged
            index = predict(small_models[0], image[None])[0][0]
            said, correct, condition = rest
            assert said == CLASSES[index]
            assert correct == (said == label)
            assert (condition is not None) == (name == "corruption")

    table = results.table()
    assert len(table) == 2 * 2 * 2
    row = table.set_index(["generator", "variant", "model"]).loc[
        ("style", "b", "m1")
    ]
    own = columns(output, "style-m1", ["fmr_outcome", "m1_correct"])
    kept = [k for k, v in own.items() if v[0] == "perturbed"]
    clean = columns(output, "original", ["m1_correct"])
    assert row.n == len(kept) and row.validation_rate == len(kept) / 12
    assert row.sa == np.mean([clean[k][0] for k in kept])
    assert row.pa == np.mean([own[k][1] for k in kept])
    if row.sa:
        assert row.fmr == pytest.approx(100 * row.pa / row.sa)
    on_accepted = table[table.variant == "b"]
    np.testing.assert_allclose(on_accepted.agreement, on_accepted.pa)

    assert results.transfer().shape == (3, 2)
    assert results.transfer("style", "a").index.tolist() == SETS[:2]
    slices = results.slices(n_resamples=20)
    assert slices[slices.variant == "a"].n.sum() == 12 * 2 * 2
    assert set(slices.slice) == set(labels.values())
    quality = results.quality()
    assert set(quality.outcome) == {"steps", "correct"}
    assert (quality.n == 10).all()
    assert "FMR of 12 images" in results.summary()


def test_it_is_stored_and_taken_back(recognised, run_fmr):
    import fiftyone as fo

    results = run_fmr(generator="corruption", budget=1)
    dataset = fo.load_dataset(recognised.name)
    assert dataset.list_brain_runs() == ["fmr"]
    dataset.reload()
    loaded = dataset.load_brain_results("fmr")
    assert loaded.report == results.report
    assert loaded.summary() == results.summary()
    assert loaded.table().equals(results.table())
    schema = set(dataset.get_field_schema())
    assert not [name for name in schema if name.startswith("fmr")]

    found = fiqa.delete_everything(dataset)
    assert found.runs == ("fmr",)
    assert dataset.list_brain_runs() == []
    output = results.load_output()
    found = fiqa.delete_everything(output)
    assert {"fmr_steps", "m1_correct", "m2"} <= set(found.fields)
    assert not output.has_sample_field("fmr_steps")
    assert "iqa_robustness" not in output.info
    output.delete()
    with pytest.raises(fiqa.IQAError, match="deleted"):
        results.load_output()


def test_a_view_is_judged_alone(run_fmr, recognised):
    whole = run_fmr(generator="corruption", budget=1)
    part = run_fmr(
        samples=recognised.limit(4), generator="corruption", budget=1
    )
    assert (whole.report["n"], part.report["n"]) == (12, 4)
    # One set, and every model's
    assert whole.report["sets"]["corruption"]["guide"] is None
    assert set(whole.report["judged"]["corruption"]) == {"m1", "m2"}
    assert len(part.load_output()) == 12
    slices = part.slices(n_resamples=10)
    assert slices[slices.variant == "a"].n.sum() == 4 * 2


def test_seeds(run_fmr, recognised, tmp_path):
    def pixels(seed, name):
        corruption = CorruptionGenerator(["gaussian_noise", "contrast"], 2)
        results = run_fmr(
            samples=recognised.limit(5),
            generator=["style", corruption],
            models=small_model("m1", 1),
            seed=seed,
            output=f"{recognised.name}-{name}",
            images_dir=tmp_path / name,
            brain_key=None,
        )
        output = results.load_output()
        rows = [columns(output, s, ["filepath"]) for s in output.group_slices]
        return results, [
            read_image(row[key][0]) for row in rows for key in sorted(row)
        ]

    first, images = pixels(1, "a")
    again, same = pixels(1, "b")
    _, other = pixels(2, "c")
    assert all((a == b).all() for a, b in zip(images, same))
    assert any((a != b).any() for a, b in zip(images, other))
    for key in ("sets", "judged"):
        assert first.report[key] == again.report[key]
    assert "fmr" not in recognised.list_brain_runs()


def test_a_circular_model_is_flagged_and_not_ranked(
    run_fmr, encoder_names, caplog
):
    import torch

    from fiftyone_iqa.encoders import get_encoder
    from fiftyone_iqa.models import Normalisation, get_task_model
    from fiftyone_iqa.preprocessing import ResizeCrop

    class Head(torch.nn.Module):
        def __init__(self):
            super().__init__()
            tower = get_encoder(encoder_names[0], "cpu").network.visual
            self.tower = tower
            self.head = torch.nn.Linear(32, len(CLASSES))

        def forward(self, x):
            return self.head(self.tower(x))

    circular = get_task_model(
        Head(),
        "cpu",
        classes=CLASSES,
        transform=ResizeCrop(64, 64),
        normalisation=Normalisation((0.5,) * 3, (0.3,) * 3),
        slug="circular",
    )
    results = run_fmr(
        models=[small_model("m1", 1), circular], generator="corruption"
    )
    assert "its FMR is circular" in caplog.text
    table = results.table()
    flagged = table[table.model == "circular"]
    assert flagged.circular.all() and flagged["rank"].isna().all()
    assert not table[table.model == "m1"].circular.any()
    assert "circular: not ranked" in results.summary()


def test_a_bad_image_costs_itself_alone(run_fmr, recognised, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    sample = recognised.first()
    good, sample.filepath = sample.filepath, str(bad)
    sample.save()
    unlabelled = recognised.last()
    unlabelled["ground_truth"] = None
    unlabelled.save()
    results = run_fmr(generator="corruption", budget=1)
    report = results.report
    assert (report["n"], report["n_failed"]) == (10, 1)
    assert report["n_unlabelled"] == 1
    record = results.load_output().info["iqa_robustness"]
    assert list(record["failures"]) == [sample.id]

    sample.filepath = good
    sample.save()
    results = run_fmr(generator="corruption", budget=1)
    assert (results.report["n"], results.report["n_failed"]) == (11, 0)
    assert results.load_output().info["iqa_robustness"]["failures"] == {}


def test_mistakes_leave_nothing(run_fmr, recognised, small_models):
    import fiftyone as fo

    other = fo.Dataset(f"{recognised.name}-other")
    before = fo.list_datasets()
    opaque = small_model("opaque", 3, transform=lambda image: image)
    for said, arguments in (
        ("no field 'nothing'", {"ground_truth": "nothing"}),
        ("models is empty", {"models": []}),
        ("called 'm1'", {"models": [small_models[0]] * 2}),
        ("another field", {"models": small_model("ground_truth", 1)}),
        ("no-such", {"models": "no-such"}),
        ("style, corruption", {"generator": "stile"}),
        ("twice", {"generator": ["style", "style"]}),
        ("generator is empty", {"generator": []}),
        ("gives no gradients", {"models": opaque}),
        ("no-such", {"oracle": "no-such"}),
        ("oracle's classes", {"classes": ["fish", "fowl"]}),
        ("budget must be at least 1", {"budget": 0}),
        ("step_size must be a number above 0", {"step_size": -1.0}),
        ("holds something else", {"output": other.name}),
        ("no field 'tv'|has not been computed", {"metrics": "tv"}),
        ("empty", {"samples": recognised.limit(0)}),
    ):
        with pytest.raises(fiqa.IQAError, match=said):
            run_fmr(**arguments)
    assert fo.list_datasets() == before
    assert recognised.list_brain_runs() == []

    run_fmr(generator="corruption", budget=1)
    with pytest.raises(fiqa.IQAError, match="another seed"):
        run_fmr(generator="corruption", budget=1, seed=1)
    with pytest.raises(fiqa.IQAError, match="leave out images_dir"):
        run_fmr(generator="corruption", budget=1, images_dir="elsewhere")


_SCRIPT = """
import sys
import fiftyone as fo
import fiftyone_iqa as fiqa
import open_clip
from tests.robustness.small_models import CLASSES, small_model
name, folder, images = sys.argv[1:]
open_clip.add_model_config(f"{folder}/iqa-tiny.json")
fiqa.foundation_robustness(
    fo.load_dataset(name), [small_model("m1", 1), small_model("m2", 2)],
    "ground_truth", oracle=f"iqa-tiny/{folder}/0.pt", classes=CLASSES,
    budget=2, batch_size=2, images_dir=images, progress=False,
)
"""


def test_a_killed_run_is_resumed(run_fmr, recognised, tiny_clip, tmp_path):
    import fiftyone as fo

    import fiftyone_iqa.robustness.foundation_run as run

    folder = tmp_path / "killed"
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *sys.path])}
    command = [sys.executable, "-c", _SCRIPT, recognised.name]
    process = subprocess.Popen(
        [*command, str(tiny_clip), str(folder)], env=env, cwd=root
    )
    name = f"{recognised.name}-fmr"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
        if fo.dataset_exists(name):
            output = fo.load_dataset(name)
            # Of groups too, all slices
            if output._sample_collection.count_documents({}) >= 6:
                break
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert recognised.list_brain_runs() == []
    n = output._sample_collection.count_documents({})
    assert 6 <= n < 36

    # As a kill within the insertion of a batch would leave it
    output.reload()
    half = output.select_group_slices(["style-m1"]).first()
    output.delete_samples([half.id])
    perturbed = []
    real = run.perturb

    def counted(images, *args):
        perturbed.append(len(images))
        return real(images, *args)

    run.perturb = counted
    try:
        results = run_fmr(images_dir=folder, batch_size=2, budget=2)
    finally:
        run.perturb = real
    assert sum(perturbed) == 2 * (12 - (n // 3 - 1))
    whole = run_fmr(
        output=f"{recognised.name}-whole",
        images_dir=tmp_path / "whole",
        batch_size=2,
        budget=2,
        brain_key=None,
    )
    assert results.report["n"] == whole.report["n"] == 12
    resumed, undisturbed = (
        columns(r.load_output(), "style-m2", ["fmr_steps", "m1.label"])
        for r in (results, whole)
    )
    assert resumed == undisturbed
