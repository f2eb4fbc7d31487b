"""Properties of every public function: a mistake is one clear sentence.

Arguments are drawn for each parameter by its name, so that a new parameter
without a strategy, and a new function without a call, fail here.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import os
import re
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fiftyone_iqa as fiqa
from fiftyone_iqa.arguments import CHECKS

from .test_hostile_files import time_limit

ALLOWED = (
    fiqa.IQAError,
    fiqa.EncoderUnavailableError,
    fiqa.ModelUnavailableError,
    fiqa.ImageFailureError,
)

FUNCTIONS = sorted(
    name for name in fiqa.__all__ if inspect.isfunction(getattr(fiqa, name))
)

# What else each is called with, so that one bad argument is seen alone
CALLS = {
    "build_quality_prior": {"metrics": "score", "n_resamples": 10},
    "cache_info": {},
    "clear_cache": {},
    "compute_correctness": {
        "predictions": "model",
        "ground_truth": "truth",
        "field": "right",
    },
    "compute_predictions": {"model": "no-such-model"},
    "compute_quality": {"metrics": "tv", "num_workers": 0, "cache": False},
    "confusion_score": {"label_field": "model", "model": "no-such-network"},
    "confusion_weights": {"metric": "score"},
    "corrupt_dataset": {
        "corruptions": "contrast",
        "severities": 1,
        "num_workers": 0,
    },
    "delete_everything": {"dry_run": True},
    "expected_accuracy": {"prior": "prior"},
    "export_slice": {"export_dir": "new/export"},
    "find_slices": {"metric": "score", "min_n": 2, "min_sources": 2},
    "foundation_robustness": {
        "models": "no-such-model",
        "ground_truth": "truth",
    },
    "get_encoder": {"encoder": "no-such-encoder"},
    "get_task_model": {"model": "no-such-model"},
    "good_quality_but_wrong": {"metric": "score"},
    "list_metrics": {},
    "load_imagenet_c": {"dir": "no-such-folder"},
    "load_prior": {"path": "no-such-file"},
    "low_quality_view": {"metric": "score"},
    "mildly_corrupt_dataset": {
        "p": 0.5,
        "corruptions": "contrast",
        "num_workers": 0,
    },
    "mitigate_confusion": {
        "label_field": "model",
        "evaluate_on": "other",
        "metric": "score",
        "model": "no-such-network",
    },
    "model_quality": {"models": "no-such-model", "ground_truth": "truth"},
    "poor_quality_but_right": {"metric": "score"},
    "quality_from_predictions": {"predictions": "model"},
    "remove_views": {},
    "save_views": {"metric": "score"},
    "use_quality_field": {"field": "plain", "higher_is_better": True},
}


class Odd:
    """An object that nothing is made for."""


_junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([-1, 0, 1, 2, 10**18, 2**70, -(2**70)]),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=4),
    st.sampled_from(
        [
            "",
            " ",
            ".",
            "a.b",
            "a..b",
            "$where",
            "\0",
            "\udce4",
            "_id",
            "x" * 300,
        ]
    ),
    st.lists(
        st.one_of(st.none(), st.integers(), st.text(max_size=3)), max_size=3
    ),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.builds(Odd),
    st.builds(lambda: iter([1, "a"])),
    st.builds(lambda: np.array([[1.0, math.nan]])),
    st.just(3 + 4j),
    st.just(Odd),
    st.just({1, 2}),
)

_fields = st.sampled_from(
    [
        *("score", "plain", "empty_score", "judged", "text", "group_no"),
        *("model", "model.label", "model.confidence", "model.logits"),
        *("truth", "truth.label", "vector", "tags", "id", "_id", "filepath"),
        *("objects", "objects.detections", "objects.detections.score"),
        *("metadata", "metadata.width", "created_at", "nothing", "frames."),
        *("tv", "iqa_failure"),
    ]
)
_names = st.one_of(_fields, st.lists(_fields, max_size=3))
_texts = st.one_of(
    st.text(max_size=5), st.lists(st.text(max_size=5), max_size=3)
)
_collections = st.sampled_from(["dataset", "empty", "view", "patches", "gone"])
_counts = st.integers(-3, 40)
_shares = st.floats(-0.5, 1.5)

# What is almost right, by parameter; ``_junk`` is always among the rest
STRATEGIES = {
    "adjustment": st.floats(-1, 2),
    "checkpoint_dir": st.sampled_from(["new/c", "a.png", "full", "/proc/1/x"]),
    "checkpoints": st.sampled_from(
        ["full", "a.png", "no-such", "resnet18//no-such.pt", [["a.png"]]]
    ),
    "edges": st.lists(st.floats(), max_size=3),
    "epochs": st.integers(-1, 2),
    "evaluate_on": st.sampled_from(["dataset", "empty", "other", "gone"]),
    "folds": st.integers(-1, 40),
    "image_size": st.integers(0, 16),
    "learning_rate": st.floats(-1, 1),
    "logits": _names,
    "probabilities": st.just("probabilities"),
    "seeds": st.integers(-1, 2),
    "step_size": st.floats(-1, 1),
    "store_predictions": st.booleans(),
    "train_on": _collections,
    "backgrounds": st.one_of(
        _fields,
        st.sampled_from([{}, {"mixed_same": "no-such", "mixed_rand": 1}]),
    ),
    "brain_key": st.sampled_from(["iqa", "a b", "1", "run_1", "a.b"]),
    "by": _names,
    "cache": st.booleans(),
    "classes": st.one_of(_names, _texts),
    "copy": st.booleans(),
    "correctness": _fields,
    "corruptions": st.one_of(
        st.just("fog"), st.lists(st.sampled_from(["contrast", "Fog", ""]))
    ),
    "cue_conflict": st.sampled_from(["no-such", "", " ", "x" * 200]),
    "dataset": st.sampled_from(["no-such", "", " ", "&", "x" * 200]),
    "dataset_name": st.sampled_from(["", " ", "&", "x" * 200]),
    "dataset_type": st.sampled_from(
        ["COCODetectionDataset", "Dataset", "__doc__", "ImageDirectory"]
    ),
    "device": st.sampled_from(["cpu", "cuda:99", "meta", "no", "cpu:-1", ""]),
    "dir": st.sampled_from(["", "a.png", ".", "/proc/self/fd"]),
    "dry_run": st.just(True),
    "encoder": st.sampled_from(
        [
            "ViT-B-32/no-such-tag",
            "lite:no-such-join",
            "no/such/folder",
            "zoo:no-such",
            "/",
            "//",
            "a//b",
            "zoo:",
        ]
    ),
    "epsilons": st.one_of(_shares, st.lists(_shares, max_size=3)),
    "eval_key": st.sampled_from(["eval", "objects", "no-such"]),
    "export_dir": st.sampled_from(
        ["new/a", "a.png", "full", "a.zip", "~nobody/x", "/proc/1/x", "."]
    ),
    "field": _fields,
    "field_prefix": st.sampled_from(["a", "a_", "_", "1a", "a.b", "a b", "é"]),
    "fields": _names,
    "good_quantile": _shares,
    "ground_truth": _fields,
    "group_by": _names,
    "higher_is_better": st.booleans(),
    "image_format": st.sampled_from(["png", "jpg", "gif", "PNG"]),
    "images_dir": st.sampled_from(["new/i", "a.png", "full", "/proc/1/x"]),
    "include_clean": st.booleans(),
    "label_field": _names,
    "labels": st.sampled_from(["name", "synset", "Name"]),
    "mapping": st.dictionaries(st.text(max_size=3), st.text(max_size=3)),
    "mappings": st.dictionaries(
        st.sampled_from(["samples", "shape_bias", "speed"]),
        st.dictionaries(st.text(max_size=3), st.text(max_size=3)),
    ),
    "max_attacked": _counts,
    "max_corrupted": _counts,
    "max_per_condition": _counts,
    "max_slices": _counts,
    "metric": _fields,
    "metrics": st.one_of(
        _names, st.sampled_from(["tv", "zsclip", "pyiqa:", "pyiqa:no", ":"])
    ),
    "min_n": _counts,
    "min_sources": _counts,
    "model": st.sampled_from(
        [
            "resnet34",
            "resnet34/no",
            "resnet34//",
            "resnet34//a.png",
            "resnet34//no-such.pt",
            "timm:",
            "timm:resnet18",
            "timm:no//a.png",
            "zoo:",
            "zoo:no-such",
            "/",
            "//",
        ]
    ),
    "models": st.one_of(
        st.sampled_from(["resnet34//no", "timm:", "/", "resnet34//a.png", ""]),
        st.lists(st.sampled_from(["a", "timm:", "zoo:no-such"]), max_size=2),
    ),
    "oracle": st.sampled_from(["lite:no-such-join", "zoo:no-such", "/"]),
    "generator": st.one_of(
        st.sampled_from(["style", "corruption", "vqgan//a.png", "vqgan", ""]),
        st.lists(st.sampled_from(["style", "Style"]), max_size=2),
    ),
    "budget": _counts,
    "output": st.sampled_from(["", " ", "&", "x" * 200]),
    "n_resamples": _counts,
    "normalisation": st.nothing(),
    "num_workers": st.integers(-2, 1),
    "ood": st.one_of(_fields, st.sampled_from([{}, {"a": "no-such"}])),
    "overwrite": st.booleans(),
    "batch_size": _counts,
    "p": _shares,
    "path": st.sampled_from(["a.png", ".", "full", "null.json", "list.json"]),
    "persistent": st.booleans(),
    "precision": st.sampled_from(["fp32", "auto", "fp8", "FP32"]),
    "predictions": _fields,
    "prior": st.just("prior"),
    "progress": st.sampled_from([True, False, lambda bar: None]),
    "protocol": st.sampled_from(["native", "imagenet-c", "Native"]),
    "quality": st.integers(-5, 120),
    "quantile": _shares,
    "reason": st.text(max_size=20),
    "samples": st.sampled_from(
        ["dataset", "empty", "view", "patches", "gone"]
    ),
    "seed": st.sampled_from([0, 1, -1, 2**32, 2**63, 2**64]),
    "severities": st.one_of(
        st.integers(-1, 7), st.lists(st.integers(0, 6), max_size=3)
    ),
    "skip_failures": st.booleans(),
    "slug": st.sampled_from(["a", "A", "a b", "_"]),
    "source": _fields,
    "store_logits": st.booleans(),
    "temperature": st.one_of(st.just("model"), st.floats(-1, 2)),
    "templates": _texts,
    "texture": _fields,
    "threshold": st.floats(),
    "transform": st.nothing(),
    "variants": st.booleans(),
    "view": _collections,
    "worker_type": st.sampled_from(["thread", "process", "fibre"]),
    "executor": st.sampled_from(["local", "nowhere"]),
}


def parameters(name):
    found = inspect.signature(getattr(fiqa, name)).parameters.values()
    return [p.name for p in found if p.kind is not p.VAR_KEYWORD]


def test_every_function_and_parameter_is_known():
    assert set(CALLS) == set(FUNCTIONS)
    names = {p for function in FUNCTIONS for p in parameters(function)}
    assert names == set(STRATEGIES), "give it a strategy here"
    assert names == set(CHECKS), "give it a check in arguments.py"
    unchecked = [
        name
        for name in FUNCTIONS
        if parameters(name) and not hasattr(getattr(fiqa, name), "__wrapped__")
    ]
    assert unchecked == [], "decorate it with @checked"


class World:
    """A small dataset, a folder, and what may be passed by a name."""

    def __init__(self, folder, paths):
        self.folder, self.paths = folder, paths
        (folder / "full").mkdir()
        (folder / "full" / "letter.txt").write_text("mine")
        (folder / "null.json").write_text("null")
        (folder / "list.json").write_text("[1, {}]")
        shutil.copyfile(paths[0], folder / "a.png")
        self.dataset = None
        self.make()
        self.prior = self._prior()

    def make(self):
        import fiftyone as fo

        self.end()
        samples = []
        for i, path in enumerate(self.paths):
            label = "cat" if i % 2 else "dog"
            samples.append(
                fo.Sample(
                    filepath=path,
                    score=i / 10,
                    plain=float(i),
                    model=fo.Classification(label=label, confidence=0.5),
                    truth=fo.Classification(label="cat"),
                    judged=bool(i % 2),
                    iqa_correct=bool(i % 3),
                    text=f"t{i}",
                    group_no=i % 2,
                    vector=np.zeros(3),
                    objects=fo.Detections(
                        detections=[
                            fo.Detection(
                                label=label,
                                bounding_box=[0.1, 0.1, 0.5, 0.5],
                                score=i / 7,
                            )
                        ]
                    ),
                    tags=[label],
                )
            )
        self.dataset = fo.Dataset()
        self.dataset.add_samples(samples)
        self.dataset.add_sample_field("empty_score", fo.FloatField)
        self.dataset.add_dynamic_sample_fields()
        for field in ("score", "empty_score"):
            fiqa.use_quality_field(self.dataset, field, higher_is_better=True)
        self._empty = fo.Dataset()
        # Images that the dataset does not have
        self.other = fo.Dataset()
        self.other.add_samples([sample.copy() for sample in samples[:4]])
        fiqa.use_quality_field(self.other, "score", higher_is_better=True)

    def collection(self, name):
        """Returns what a name drawn for a collection stands for."""
        import fiftyone as fo

        if name == "gone":
            gone = fo.Dataset()
            gone.delete()
            return gone
        if name == "patches":
            return self.dataset.to_patches("objects")
        known = {
            "dataset": self.dataset,
            "empty": self._empty,
            "view": self.dataset.limit(3),
            "other": self.other,
        }
        return known.get(name, name)

    def _prior(self):
        results = fiqa.build_quality_prior(
            self.dataset, "score", n_resamples=10, brain_key=None
        )
        return results.prior("score")

    def end(self):
        import fiftyone as fo

        for name in fo.list_datasets():
            fo.delete_dataset(name)
        for path in self.folder.iterdir():
            if path.name in ("new",):
                shutil.rmtree(path)

    def state(self):
        """Everything that a refused call must leave as it was.

        Read from the database itself, past FiftyOne's caches.
        """
        import fiftyone.core.odm as foo

        database = foo.get_db_conn()
        made = {"sample_collection_name": {"$regex": "^samples"}}
        state = {
            "datasets": list(database.datasets.find(made)),
            "samples": list(
                database[self.dataset._sample_collection_name].find()
            ),
            "runs": list(database.runs.find({}, ["_id"])),
            "views": list(database.views.find({}, ["_id"])),
            "workspaces": list(database.workspaces.find({}, ["_id"])),
            "files": sorted(map(str, self.folder.rglob("*"))),
        }
        for document in state["datasets"]:
            for time in ("last_loaded_at", "last_modified_at"):
                document.pop(time, None)
        return repr(state)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    from .conftest import save_images

    folder = tmp_path_factory.mktemp("world")
    paths = save_images(tmp_path_factory.mktemp("images"), 12, (16, 16))
    here = os.getcwd()
    os.chdir(folder)
    world = World(folder, paths)
    yield world
    os.chdir(here)
    world.end()


def resolved(world, arguments):
    """Puts what cannot be drawn in the place of its name."""
    found = dict(arguments)
    for name in ("samples", "view", "dataset", "train_on", "evaluate_on"):
        if isinstance(found.get(name), str):
            found[name] = world.collection(found[name])
    if found.get("prior") == "prior":
        found["prior"] = world.prior
    if isinstance(found.get("probabilities"), str):
        found["probabilities"] = np.full((1, 2, 12, 2), 0.5)
    return found


def run(world, name, arguments):
    """Calls a function; checks that a refusal is clean. Returns the error."""
    arguments = resolved(world, arguments)
    before = world.state()
    try:
        with time_limit(60):
            getattr(fiqa, name)(**arguments)
    except ALLOWED as e:
        said = str(e)
        assert said.strip() and "Traceback" not in said
        assert not re.search(r"\bobject at 0x", said), said
        assert world.state() == before, f"half made, after: {said}"
        return said
    if world.state() != before:
        world.make()
    return None


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_mistake_is_one_sentence(name, world, caplog):
    known = parameters(name)
    if not known:
        getattr(fiqa, name)()
        return
    base = dict(CALLS[name])
    for first in ("samples", "view", "dataset"):
        if first in known and known[0] == first:
            base[first] = "dataset"

    @settings(
        max_examples=4 * len(known),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def check(data):
        arguments = dict(base)
        names = data.draw(
            st.lists(st.sampled_from(known), min_size=1, max_size=2)
        )
        for spoilt in names:
            strategy = st.one_of(STRATEGIES[spoilt], _junk)
            arguments[spoilt] = data.draw(strategy, label=spoilt)
        run(world, name, arguments)

    with contextlib.suppress(AttributeError):
        caplog.set_level("ERROR")
    check()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_unspoilt_calls_are_not_refused(name, world):
    # Or all of the above would stop at the same sentence
    known = parameters(name)
    base = dict(CALLS[name])
    if known and known[0] in ("samples", "view", "dataset"):
        base[known[0]] = "dataset"
    said = run(world, name, base)
    needs_a_file = ("no-such" in str(base.values())) or name in (
        "compute_predictions",
        "get_encoder",
        "get_task_model",
        "load_imagenet_c",
        "load_prior",
    )
    assert (said is not None) == needs_a_file, said
