import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

import fiftyone_iqa as fiqa


@pytest.fixture(scope="module")
def small_model():
    """A task model of torchvision's, at seeded random weights."""
    import torch
    import torchvision

    from fiftyone_iqa.models import get_task_model
    from fiftyone_iqa.models.preparation import IMAGENET
    from fiftyone_iqa.preprocessing import ResizeCrop

    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=3)
    return get_task_model(
        network,
        device="cpu",
        classes=["cat", "dog", "owl"],
        transform=ResizeCrop(32, 32),
        normalisation=IMAGENET,
        slug="small",
    )


@pytest.fixture
def labelled(make_dataset):
    return make_dataset(8, labels=["cat", "dog"])


def test_one_pass_writes_predictions_and_quality(labelled, small_model):
    from fiftyone_iqa.images import read_image

    report = fiqa.compute_predictions(
        labelled, small_model, metrics="tv", store_logits=True
    )
    assert report.n_decoded == 8
    for sample in labelled:
        image = read_image(sample.filepath)
        batch = small_model.preprocessing(image)[None]
        logits = small_model.logits(batch)[0].astype(np.float64)
        p = softmax(logits)
        assert sample.small.label == small_model.classes[p.argmax()]
        assert sample.small.confidence == pytest.approx(p.max(), abs=1e-5)
        np.testing.assert_allclose(sample.small.logits, logits, atol=1e-5)
        assert sample.small_qp == pytest.approx(p.max(), abs=1e-5)
        assert sample.small_qh == pytest.approx(entropy(p), abs=1e-5)
        assert sample.small_ql == pytest.approx(logits.max(), abs=1e-5)
        assert sample.tv is not None
    info = labelled.get_field("small_qh").info["iqa"]
    assert (info["guidance"], info["direction"]) == ("strong", "lower")

    again = fiqa.compute_predictions(
        labelled, small_model, metrics="tv", store_logits=True
    )
    assert again.n_scored == 0


def test_everything_in_one_pass_decodes_once(
    labelled, small_model, encoder_names
):
    from fiftyone_iqa.metrics.task_model import TaskModelMetric

    report = fiqa.compute_quality(
        labelled,
        metrics=("zsclip", "tv", "blur", TaskModelMetric(small_model)),
        encoder=encoder_names[0],
        cache=False,
    )
    assert report.n_decoded == 8
    assert [m.scored for m in report.metrics] == [8] * 4


def test_field_names_the_stem(labelled, small_model):
    fiqa.compute_predictions(labelled, small_model, field="mine")
    assert labelled.count("mine") == labelled.count("mine_qp") == 8
    assert labelled.first().mine.logits is None


def test_an_unreadable_image_has_no_prediction(labelled, small_model):
    path = labelled.values("filepath")[3]
    open(path, "wb").close()
    fiqa.compute_predictions(labelled, small_model)
    assert labelled.values("small.label")[3] is None
    assert labelled.values("iqa_failure")[3] == {"small": "the file is empty"}
    assert labelled.count("small") == 7


def test_predictions_of_other_weights_are_refused(labelled, small_model):
    import copy

    fiqa.compute_predictions(labelled, small_model)
    other = copy.copy(small_model)
    other.__dict__["id"] = "small@else"
    with pytest.raises(fiqa.ConfigurationMismatchError):
        fiqa.compute_predictions(labelled, other)


def test_correctness_of_predictions(labelled, small_model):
    fiqa.compute_predictions(labelled, small_model)
    report = fiqa.compute_correctness(labelled, "small", "ground_truth")
    assert report.n == 8
    assert report.n_missing == 0


def test_patches_get_predictions_too(make_dataset, small_model):
    import fiftyone as fo

    dataset = make_dataset(2)
    for sample in dataset:
        box = fo.Detection(label="cat", bounding_box=[0, 0, 0.5, 0.5])
        sample["boxes"] = fo.Detections(detections=[box])
        sample.save()
    fiqa.compute_predictions(dataset.to_patches("boxes"), small_model)
    dataset.reload()
    for sample in dataset:
        (detection,) = sample.boxes.detections
        assert detection.small.label in small_model.classes
        assert detection.small_qp > 0


def test_quality_from_stored_logits(labelled):
    import fiftyone as fo

    rng = np.random.default_rng(0)
    logits = rng.normal(size=(8, 5))
    for sample, row in zip(labelled[:7], logits):
        sample["p"] = fo.Classification(label="x", logits=row)
        sample.save()
    names = fiqa.quality_from_predictions(labelled, "p")
    assert names == ["p_qp", "p_qh", "p_ql"]
    p = softmax(logits[:7], axis=1)
    for name, expected in zip(
        names, (p.max(1), entropy(p, axis=1), logits[:7].max(1))
    ):
        np.testing.assert_allclose(labelled.values(name)[:7], expected)
        assert labelled.values(name)[7] is None
    # Again is the same, elsewhere is possible, over others' fields it is not
    assert fiqa.quality_from_predictions(labelled, "p") == names
    assert fiqa.quality_from_predictions(labelled, "p", "q")[0] == "q_qp"


def test_quality_from_stored_confidences(labelled):
    import fiftyone as fo

    for sample in labelled:
        sample["p"] = fo.Classification(label="x", confidence=0.25)
        sample.save()
    assert fiqa.quality_from_predictions(labelled, "p") == ["p_qp"]
    assert set(labelled.values("p_qp")) == {0.25}


def test_quality_from_nothing(labelled):
    with pytest.raises(fiqa.IQAError, match="neither logits nor"):
        fiqa.quality_from_predictions(labelled, "ground_truth")
    with pytest.raises(fiqa.IQAError, match="no field 'nope'"):
        fiqa.quality_from_predictions(labelled, "nope")
    with pytest.raises(fiqa.IQAError, match="no classification field"):
        fiqa.quality_from_predictions(labelled, "metadata")
    import fiftyone as fo

    for sample in labelled:
        sample["p"] = fo.Classification(label="x", confidence=0.25)
        sample.save()
    labelled.add_sample_field("p_qp", fo.FloatField)
    with pytest.raises(fiqa.IQAError, match="pass field="):
        fiqa.quality_from_predictions(labelled, "p")


def test_a_model_that_keeps_the_aspect_ratio(make_dataset, write_images):
    import torch

    from fiftyone_iqa.models import get_task_model

    class Mean(torch.nn.Module):
        def forward(self, x):
            return torch.stack([x.mean((1, 2, 3)), x.amax((1, 2, 3))], 1)

    def transform(image):
        from torchvision.transforms.functional import to_tensor

        return to_tensor(image)

    paths = write_images(3) + write_images(3, size=(60, 40), folder="b")
    dataset = make_dataset(paths=[paths[i] for i in (0, 3, 1, 4, 2, 5)])
    model = get_task_model(
        Mean(), device="cpu", classes=["a", "b"], transform=transform
    )
    fiqa.compute_predictions(dataset, model, num_workers=0)
    assert dataset.count("mean_ql") == 6
