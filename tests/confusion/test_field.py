"""The SDK call: what lands in the dataset."""

import math

import numpy as np
import pytest

import fiftyone_iqa as fiqa

from .conftest import CLASSES

QUICK = {
    "model": "resnet8",
    "seeds": 2,
    "epochs": 4,
    "image_size": 16,
    "batch_size": 16,
    "progress": False,
    "device": "cpu",
}


def test_trained_here_and_held_out(striped, own_cache):
    dataset = striped()
    report = fiqa.confusion_score(
        dataset, "truth", store_predictions=True, **QUICK
    )
    assert report.metrics[0].scored == 72
    scores = np.array(dataset.values("confusion"))
    assert ((scores >= 0) & (scores <= math.log(2))).all()
    info = dataset.get_field("confusion").info["iqa"]
    assert info["direction"] == "lower"
    assert info["guidance"] == "strong"
    assert info["identity"]["folds"] == 3
    assert info["identity"]["model"] == "resnet8"
    assert info["provenance"]["n_trained_on"] == 60
    label = dataset.first()["confusion_prediction"]
    assert label.label in CLASSES
    p = np.exp(label.logits)
    assert p.sum() == pytest.approx(1, abs=1e-5)
    assert label.confidence == pytest.approx(p.max(), abs=1e-6)
    # Nothing of the run is left behind
    assert not list((own_cache / "confusion").glob("*"))

    again = fiqa.confusion_score(
        dataset, "truth", store_predictions=True, **QUICK
    )
    assert again.metrics[0].skipped == 72
    assert again.seconds["total"] < 1


def test_it_is_a_metric_like_any_other(striped):
    dataset = striped()
    call = {**QUICK, "epochs": 2, "folds": 2}
    fiqa.confusion_score(dataset, "truth", store_predictions=True, **call)
    fiqa.compute_correctness(dataset, "confusion_prediction", "truth")
    results = fiqa.build_quality_prior(
        dataset, ["confusion"], n_resamples=20, brain_key="run"
    )
    assert results.metrics == ["confusion"]
    hard = fiqa.low_quality_view(dataset, "confusion", quantile=0.25)
    worst = sorted(dataset.values("confusion"))[-18:]
    assert sorted(hard.values("confusion")) == worst
    fiqa.find_slices(dataset, "confusion", by=["truth"], min_n=2)
    removed = fiqa.delete_everything(dataset)
    assert {"confusion", "confusion_prediction"} <= set(removed.fields)
    assert not dataset.has_field("confusion")


def test_folds_hold_out_whole_originals(striped, monkeypatch):
    from fiftyone_iqa.confusion.ensemble import Ensemble

    dataset = striped(36)
    sources = [f"original {i // 4}" for i in range(36)]
    dataset.set_values("source_id", sources)
    seen = []
    score = Ensemble.score

    def watched(ensemble, rows, *args):
        seen.append((ensemble.members[0].objective.rows, rows))
        return score(ensemble, rows, *args)

    monkeypatch.setattr(Ensemble, "score", watched)
    fiqa.confusion_score(dataset, "truth", **{**QUICK, "epochs": 1})
    assert sorted(i for _, rows in seen for i in rows) == list(range(36))
    for trained, scored in seen:
        trained = {sources[i] for i in trained}
        assert len(trained) and not trained & {sources[i] for i in scored}


def test_trained_on_others(striped):
    train, other = striped(36), striped(12, seed=1)
    fiqa.confusion_score(other, "truth", train_on=train, **QUICK)
    assert other.count("confusion") == 12
    assert not train.has_field("confusion")
    info = other.get_field("confusion").info["iqa"]
    assert info["identity"]["folds"] == 0
    assert info["provenance"]["n_trained_on"] == 30

    # Without labels they get the same scores, and a prior carries over
    other.rename_sample_field("confusion", "before")
    other.delete_sample_field("truth")
    fiqa.confusion_score(other, "truth", train_on=train, **QUICK)
    assert other.values("confusion") == other.values("before")
    again = other.get_field("confusion").info["iqa"]
    assert again["identity"] == info["identity"]
    with pytest.raises(fiqa.IQAError, match="no field 'nope'"):
        fiqa.confusion_score(other, "nope", train_on=train, **QUICK)
    with pytest.raises(fiqa.IQAError, match="with train_on= leave it out"):
        fiqa.confusion_score(other, "truth", train_on=train, folds=2, **QUICK)


def test_a_broken_image_costs_itself_alone(striped, monkeypatch):
    dataset = striped(36)
    with open(dataset.first().filepath, "wb") as file:
        file.write(b"no image")
    call = {**QUICK, "epochs": 1}
    report = fiqa.confusion_score(dataset, "truth", **call)
    assert report.n_failed == 1
    assert dataset.count("confusion") == 35
    assert "confusion" in dataset.first()["iqa_failure"]
    # Nothing is trained again for an image that is still broken
    monkeypatch.delattr("fiftyone_iqa.confusion_training.Ensemble.score")
    again = fiqa.confusion_score(dataset, "truth", **call)
    assert again.metrics[0].skipped == 35


def test_embeddings_and_a_head(striped, encoder_names):
    dataset = striped(36)
    call = {"seeds": 2, "epochs": 5, "batch_size": 8, "progress": False}
    fiqa.confusion_score(
        dataset, "truth", model="linear", encoder=encoder_names[0], **call
    )
    assert dataset.count("confusion") == 36
    info = dataset.get_field("confusion").info["iqa"]
    assert info["identity"]["encoder"].startswith("iqa-tiny")
    with pytest.raises(fiqa.ConfigurationMismatchError, match="36 scores"):
        fiqa.confusion_score(
            dataset, "truth", model="mlp", encoder=encoder_names[0], **call
        )


@pytest.mark.parametrize(
    ("n", "size"), [(2, 8), (200, 8), (300, 16), (3000, 128), (10**6, 128)]
)
def test_small_collections_get_small_batches(n, size):
    from fiftyone_iqa.confusion_training import default_batch_size

    assert default_batch_size(n) == size


def test_objects(striped):
    import fiftyone as fo

    dataset = striped(24)
    for i, sample in enumerate(dataset.iter_samples(autosave=True)):
        sample["objects"] = fo.Detections(
            detections=[
                fo.Detection(
                    label=CLASSES[i % 2], bounding_box=[0, 0.5 * j, 1, 0.5]
                )
                for j in range(2)
            ]
        )
    fiqa.confusion_score(
        dataset.to_patches("objects"), "objects", **{**QUICK, "epochs": 1}
    )
    assert dataset.count("objects.detections.confusion") == 48


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "resnet9"}, "did you mean"),
        ({"encoder": "lite"}, "encoder= does not apply"),
        ({"model": "mlp"}, "image_size= does not apply"),
        ({"model": "alexnet"}, "takes no input"),
        ({"epochs": 0}, "at least 1"),
        ({"folds": 1}, "at least 2"),
        ({"folds": 50}, "fewer folds"),
        ({"label_field": "nope"}, "no field 'nope'"),
        ({"label_field": "filepath"}, "one label per image"),
        ({"classes": ["across"]}, "two classes at least"),
        ({"classes": ["across", "up"]}, "'up' has no readable image"),
        ({"learning_rate": 0}, "above 0"),
    ],
)
def test_mistakes_leave_nothing(striped, own_cache, options, said):
    dataset = striped(12)
    call = {"label_field": "truth", **QUICK, **options}
    with pytest.raises(fiqa.IQAError, match=said):
        fiqa.confusion_score(dataset, **call)
    assert not dataset.has_field("confusion")
    assert not (own_cache / "confusion").exists()
