"""Confusion of arrays, of logits fields and of saved models."""

import json

import numpy as np
import pytest
import torch

import fiftyone_iqa as fiqa
from fiftyone_iqa.confusion.score import confusion_scores

from .conftest import CLASSES
from .test_field import QUICK


def softmax(logits):
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(size=(3, 2, 12, 4)) * 3


def test_arrays(make_dataset, logits):
    dataset = make_dataset(12)
    p = softmax(logits)
    names = list("abcd")
    fiqa.confusion_score(
        dataset, probabilities=p, store_predictions=True, classes=names
    )
    np.testing.assert_allclose(
        dataset.values("confusion"), confusion_scores(p), atol=1e-12
    )
    expected = [names[i] for i in p[-1].mean(axis=0).argmax(axis=1)]
    assert dataset.values("confusion_prediction.label") == expected
    again = fiqa.confusion_score(
        dataset,
        probabilities=iter(p),
        store_predictions=True,
        classes=names,
    )
    assert again.metrics[0].skipped == 12
    with pytest.raises(fiqa.ConfigurationMismatchError, match="12 scores"):
        fiqa.confusion_score(dataset, probabilities=p[:1])
    fiqa.confusion_score(dataset, probabilities=p[:1], overwrite=True)
    np.testing.assert_allclose(
        dataset.values("confusion"), confusion_scores(p[:1]), atol=1e-12
    )


def test_fields_of_logits(make_dataset, logits):
    import fiftyone as fo

    dataset = make_dataset(12)
    grid = [[f"e{e}s{s}" for s in range(2)] for e in range(3)]
    for row, values in zip(grid, logits):
        for name, member in zip(row, values):
            labels = [fo.Classification(label="x", logits=v) for v in member]
            dataset.set_values(name, labels)
    dataset.set_values("e1s0", {dataset.first().id: None}, key_field="id")
    report = fiqa.confusion_score(dataset, logits=grid)
    scores = dataset.values("confusion")
    assert scores[0] is None
    assert "no logits" in dataset.first()["iqa_failure"]["confusion"]
    assert report.n_failed == 1
    expected = confusion_scores(softmax(logits))[1:]
    np.testing.assert_allclose(scores[1:], expected, atol=1e-12)

    # A plain list is one epoch; without logits there is nothing to read
    fiqa.confusion_score(dataset, logits=grid[2], field_prefix="one")
    expected = confusion_scores(softmax(logits[2:]))
    np.testing.assert_allclose(
        dataset.values("one_confusion"), expected, atol=1e-12
    )
    dataset.set_values("bare", [fo.Classification(label="x")] * 12)
    for name in ("bare", "filepath", "nope"):
        with pytest.raises(fiqa.IQAError, match="no logits|no classification"):
            fiqa.confusion_score(dataset, logits=name, field_prefix="x")


def test_what_was_trained_scores_others(striped, tmp_path):
    train, other = striped(36), striped(12, seed=1)
    folder = tmp_path / "ensemble"
    call = {**QUICK, "epochs": 2, "folds": 0}
    fiqa.confusion_score(train, "truth", checkpoint_dir=folder, **call)
    assert len(list(folder.rglob("*.safetensors"))) == 4
    assert not list(folder.rglob("*.pt"))
    assert not list(folder.glob("inputs*"))

    # The same images get the same scores, whoever asks
    again = {"checkpoints": folder, "device": "cpu", "progress": False}
    fiqa.confusion_score(
        train, field_prefix="b", store_predictions=True, **again
    )
    np.testing.assert_allclose(
        train.values("confusion"), train.values("b_confusion"), atol=1e-5
    )
    assert set(train.distinct("b_confusion_prediction.label")) <= set(CLASSES)
    fiqa.confusion_score(other, **again)
    assert other.count("confusion") == 12

    with pytest.raises(fiqa.IQAError, match="is not empty"):
        fiqa.confusion_score(
            train,
            "truth",
            checkpoint_dir=folder,
            field_prefix="c",
            **{**call, "seed": 5},
        )
    next(folder.rglob("*.safetensors")).unlink()
    with pytest.raises(fiqa.IQAError, match="are missing"):
        fiqa.confusion_score(other, field_prefix="d", **again)
    (folder / "ensemble.json").write_text(json.dumps([1]))
    with pytest.raises(fiqa.IQAError, match="does not describe"):
        fiqa.confusion_score(other, field_prefix="d", **again)
    (folder / "ensemble.json").unlink()
    with pytest.raises(fiqa.IQAError, match="holds no ensemble"):
        fiqa.confusion_score(other, field_prefix="d", **again)


def test_checkpoints_of_any_classifier(make_dataset, tmp_path):
    from torchvision.models import get_model

    dataset = make_dataset(6)
    grid = [[tmp_path / f"{e}-{s}.pt" for s in range(2)] for e in range(2)]
    for i, path in enumerate(p for row in grid for p in row):
        torch.manual_seed(i)
        network = get_model("squeezenet1_1", num_classes=3)
        torch.save(network.state_dict(), path)
    names = ["a", "b", "c"]
    fiqa.confusion_score(
        dataset,
        checkpoints=grid,
        model="squeezenet1_1",
        classes=names,
        device="cpu",
        progress=False,
    )
    # Against what compute_predictions reads from the same files
    fields = []
    for row in grid:
        fields.append([])
        for path in row:
            model = fiqa.get_task_model(
                f"squeezenet1_1//{path}", "cpu", classes=names
            )
            field = f"p{path.stem.replace('-', '_')}"
            fiqa.compute_predictions(
                dataset, model, field, store_logits=True, num_workers=0
            )
            fields[-1].append(field)
    fiqa.confusion_score(dataset, logits=fields, field_prefix="l")
    np.testing.assert_allclose(
        dataset.values("confusion"), dataset.values("l_confusion"), atol=1e-5
    )
    with pytest.raises(fiqa.IQAError, match="as many members"):
        fiqa.confusion_score(
            dataset,
            checkpoints=[grid[0], grid[1][:1]],
            model="squeezenet1_1",
            classes=names,
            field_prefix="x",
        )


def test_one_source_is_asked_for(make_dataset):
    dataset = make_dataset(2)
    with pytest.raises(fiqa.IQAError, match="Pass one of label_field="):
        fiqa.confusion_score(dataset)
    with pytest.raises(fiqa.IQAError, match="got label_field and logits"):
        fiqa.confusion_score(dataset, "truth", logits="a")
    with pytest.raises(fiqa.IQAError, match="3 images and 2 samples"):
        fiqa.confusion_score(dataset, probabilities=np.full((1, 1, 3, 2), 0.5))
    assert not dataset.has_field("confusion")
