import pytest

import fiftyone_iqa as fiqa


@pytest.fixture
def predicted(make_dataset):
    import fiftyone as fo

    dataset = make_dataset(6, labels=["cat", "dog"])
    for sample, label in zip(
        dataset, ["Cat", "cat", "owl", "dog", None, "dog"]
    ):
        if label:
            sample["model"] = fo.Classification(label=label, confidence=0.5)
        sample.save()
    return dataset


def test_single_labels(predicted):
    report = fiqa.compute_correctness(predicted, "model", "ground_truth")
    assert predicted.values("iqa_correct") == [
        *(True, False, False, True),
        *(None, True),
    ]
    assert (report.n, report.n_correct, report.n_missing) == (6, 3, 1)
    assert report.accuracy == pytest.approx(0.6)
    assert "0.600" in str(report)
    info = predicted.get_field("iqa_correct").info["iqa"]
    assert info["identity"]["predictions"] == "model"


def test_a_view_and_again(predicted):
    fiqa.compute_correctness(predicted[:2], "model", "ground_truth")
    assert predicted.count("iqa_correct") == 2
    fiqa.compute_correctness(
        predicted, "model", "ground_truth", mapping={"owl": "cat"}
    )
    assert predicted.values("iqa_correct")[2] is True


def test_an_evaluation_is_read(predicted):
    predicted.evaluate_classifications(
        "model", gt_field="ground_truth", eval_key="ev"
    )
    fiqa.compute_correctness(predicted, eval_key="ev")
    expected = predicted.values("ev")
    assert predicted.values("iqa_correct") == expected


def test_multi_label_is_right_where_both_sets_are_equal(make_dataset):
    import fiftyone as fo

    def labels(*names):
        return fo.Classifications(
            classifications=[fo.Classification(label=n) for n in names]
        )

    dataset = make_dataset(4)
    rows = [
        (("a", "b"), ("b", "A")),
        (("a",), ("a", "b")),
        ((), ()),
        (("a", "b"), ("a",)),
    ]
    for sample, (predictions, truths) in zip(dataset, rows):
        sample["p"], sample["t"] = labels(*predictions), labels(*truths)
        sample.save()
    fiqa.compute_correctness(dataset, "p", "t")
    assert dataset.values("iqa_correct") == [True, False, True, False]


def test_objects_from_a_detection_evaluation(make_dataset):
    import fiftyone as fo

    def boxes(*specs):
        return fo.Detections(
            detections=[
                fo.Detection(label=label, bounding_box=box, confidence=0.9)
                for label, box in specs
            ]
        )

    left, right = [0, 0, 0.4, 0.4], [0.5, 0.5, 0.4, 0.4]
    dataset = make_dataset(2)
    first, second = dataset
    first["t"] = boxes(("cat", left), ("dog", right))
    first["p"] = boxes(("cat", left), ("cat", right))
    first.save()
    second["t"], second["p"] = boxes(("cat", left)), boxes()
    second.save()
    with pytest.raises(fiqa.IQAError, match="evaluate_detections"):
        fiqa.compute_correctness(dataset, "p", "t")

    dataset.evaluate_detections("p", gt_field="t", eval_key="ev")
    report = fiqa.compute_correctness(dataset, eval_key="ev")
    assert dataset.values("p.detections.iqa_correct")[0] == [True, False]
    assert dataset.values("t.detections.iqa_correct") == [
        [True, False],
        [False],
    ]
    assert (report.n, report.n_correct) == (2, 1)

    # Beside object-crop quality, on the same labels
    fiqa.compute_quality(dataset.to_patches("p"), metrics="tv")
    dataset.reload()
    assert None not in dataset.values("p.detections.tv")[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "Pass predictions="),
        ({"predictions": "nope", "ground_truth": "model"}, "no field 'nope'"),
        (
            {"predictions": "filepath", "ground_truth": "model"},
            "no label field 'filepath'",
        ),
        ({"eval_key": "nope"}, "no evaluation 'nope'; it has none"),
        (
            {
                "predictions": "model",
                "ground_truth": "ground_truth",
                "field": "model",
            },
            "is not a correctness field",
        ),
        (
            {
                "predictions": "model",
                "ground_truth": "ground_truth",
                "field": "a.b",
            },
            "field must be",
        ),
    ],
    ids=str,
)
def test_bad_arguments(predicted, arguments, says):
    schema = set(predicted.get_field_schema())
    with pytest.raises(fiqa.IQAError, match=says):
        fiqa.compute_correctness(predicted, **arguments)
    assert set(predicted.get_field_schema()) == schema


def test_vocabularies_that_do_not_meet(predicted):
    import fiftyone as fo

    for sample in predicted:
        sample["other"] = fo.Classification(label="zebra crossing")
        sample.save()
    with pytest.raises(fiqa.IQAError, match="zebra crossing"):
        fiqa.compute_correctness(predicted, "other", "ground_truth")
    assert not predicted.has_field("iqa_correct")


def test_objects_own_fields_are_left_alone(make_dataset):
    import fiftyone as fo

    def boxes(**attributes):
        box = fo.Detection(
            label="cat", bounding_box=[0, 0, 1, 1], confidence=1, **attributes
        )
        return fo.Detections(detections=[box])

    dataset = make_dataset(1)
    sample = dataset.first()
    sample["t"], sample["p"] = boxes(iqa_correct="mine"), boxes()
    sample.save()
    dataset.add_dynamic_sample_fields()
    dataset.evaluate_detections("p", gt_field="t", eval_key="ev")
    with pytest.raises(fiqa.IQAError, match="t.detections.iqa_correct"):
        fiqa.compute_correctness(dataset, eval_key="ev")
    assert dataset.values("t.detections.iqa_correct") == [["mine"]]
    assert not dataset.has_field("p.detections.iqa_correct")
