"""compute_quality on real datasets with a real, small encoder."""

import os

import numpy as np
import pytest

import fiftyone_iqa as fiqa

FIELDS = ["zsclip_qp", "zsclip_qh", "zsclip_ql", "zsclip_qm", "tv"]
PIXELS = ("tv", "blur", "brightness", "contrast")


def values(samples, fields=FIELDS):
    return np.array(samples.values(list(fields)), dtype=float).T


def test_fields_values_and_info(labelled, encoder_names):
    report = fiqa.compute_quality(labelled, encoder=encoder_names[0])
    assert values(labelled).shape == (12, 5)
    assert np.isfinite(values(labelled)).all()
    assert [m.scored for m in report.metrics] == [12, 12]
    assert report.n_failed == 0
    assert report.n_decoded == 12, "one decode for all metrics"
    assert set(labelled.values("iqa_failure")) == {None}

    info = labelled.get_field("zsclip_qh").info["iqa"]
    assert (info["metric"], info["output"]) == ("zsclip", "qh")
    assert info["direction"] == "lower"
    assert info["identity"]["encoder"] == report.encoder
    assert info["identity"]["templates"] == ["a photo of a {}."]
    assert info["identity"]["temperature"] == pytest.approx(1 / 0.07)
    assert info["provenance"]["n_classes"] == 2
    assert labelled.get_field("tv").info["iqa"]["direction"] == "none"
    assert "entropy" in labelled.get_field("zsclip_qh").description


def test_values_equal_the_arrays_way(labelled, encoder_names):
    """The engine adds nothing to encoder + formula, sample by sample."""
    from fiftyone_iqa.images import read_image
    from fiftyone_iqa.metrics.tv import total_variation
    from fiftyone_iqa.metrics.zsclip import zsclip_scores

    fiqa.compute_quality(labelled, encoder=encoder_names[0])
    encoder = fiqa.get_encoder(encoder_names[0], device="cpu")
    texts = encoder.encode_texts(["a photo of a cat.", "a photo of a dog."])
    for sample in labelled:
        image = read_image(sample.filepath)
        row = encoder.encode_images(encoder.preprocess(image)[None])
        scores = zsclip_scores(row, texts, encoder.logit_scale)
        for name in ("qp", "qh", "ql", "qm"):
            assert sample[f"zsclip_{name}"] == pytest.approx(
                scores[name][0], abs=1e-5
            )
        assert sample.tv == total_variation(image)


@pytest.mark.parametrize(
    "how",
    [
        {"batch_size": 1},
        {"batch_size": 5, "num_workers": 0},
        {"batch_size": 100, "num_workers": 3},
        {"num_workers": 2, "worker_type": "process"},
    ],
    ids=str,
)
def test_batches_and_workers_do_not_matter(labelled, encoder_names, how):
    arguments = {
        "metrics": ("zsclip", *PIXELS),
        "encoder": encoder_names[0],
        "cache": False,
    }
    fiqa.compute_quality(labelled, **arguments)
    fiqa.compute_quality(labelled, field_prefix="b", **arguments, **how)
    fields = [*FIELDS, *PIXELS[1:]]
    np.testing.assert_allclose(
        values(labelled, [f"b_{f}" for f in fields]),
        values(labelled, fields),
        atol=1e-5,
    )


def test_what_is_scored_is_skipped(labelled, encoder_names):
    view = labelled[3:7]
    first = fiqa.compute_quality(view, encoder=encoder_names[0])
    assert [m.scored for m in first.metrics] == [4, 4]
    before = values(view)

    second = fiqa.compute_quality(labelled, encoder=encoder_names[0])
    assert [m.scored for m in second.metrics] == [8, 8]
    assert [m.skipped for m in second.metrics] == [4, 4]
    np.testing.assert_array_equal(values(view), before)

    third = fiqa.compute_quality(labelled)
    assert third.n_decoded == 0
    assert third.n_skipped == 24
    assert "24 skipped" not in str(third)  # said per metric: 12


def test_none_takes_the_frozen_configuration(labelled, encoder_names):
    fiqa.compute_quality(
        labelled[:4],
        metrics="zsclip",
        encoder=encoder_names[1],
        classes=["a", "b", "c"],
        templates=["{}", "an image of {}"],
        temperature=3.0,
    )
    report = fiqa.compute_quality(labelled, metrics="zsclip")
    assert report.metrics[0].scored == 8
    info = labelled.get_field("zsclip_qp").info["iqa"]
    assert info["identity"]["temperature"] == 3.0
    assert info["provenance"]["n_classes"] == 3

    # The same from scratch
    fiqa.compute_quality(
        labelled,
        metrics="zsclip",
        encoder=encoder_names[1],
        classes=["a", "b", "c"],
        templates=["{}", "an image of {}"],
        temperature=3.0,
        field_prefix="whole",
    )
    np.testing.assert_allclose(
        values(labelled, FIELDS[:4]),
        values(labelled, [f"whole_{f}" for f in FIELDS[:4]]),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"encoder": 1},
        {"classes": ["cat", "dog", "owl"]},
        {"templates": ["{}"]},
        {"temperature": 1.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_configuration_stops_with_two_ways_out(
    labelled, encoder_names, change
):
    base = {"metrics": "zsclip", "encoder": encoder_names[0]}
    fiqa.compute_quality(labelled, **base)
    before = values(labelled, FIELDS[:4])
    if "encoder" in change:
        change = {"encoder": encoder_names[change["encoder"]]}

    with pytest.raises(fiqa.ConfigurationMismatchError) as error:
        fiqa.compute_quality(labelled[:5], **{**base, **change})
    assert "field_prefix=" in str(error.value)
    assert "overwrite=True" in str(error.value)
    assert "12 scores" in str(error.value)
    np.testing.assert_array_equal(values(labelled, FIELDS[:4]), before)

    # Overwriting a part would leave two configurations in one field
    with pytest.raises(fiqa.ConfigurationMismatchError, match="7 of them"):
        fiqa.compute_quality(
            labelled[:5], overwrite=True, **{**base, **change}
        )
    np.testing.assert_array_equal(values(labelled, FIELDS[:4]), before)

    # The first way out
    fiqa.compute_quality(labelled, field_prefix="x", **{**base, **change})
    np.testing.assert_array_equal(values(labelled, FIELDS[:4]), before)
    # The second
    fiqa.compute_quality(labelled, overwrite=True, **{**base, **change})
    np.testing.assert_allclose(
        values(labelled, FIELDS[:4]),
        values(labelled, [f"x_{f}" for f in FIELDS[:4]]),
        atol=1e-5,
    )


def test_changed_weights_under_the_same_name_are_noticed(
    labelled, tiny_clip, tmp_path
):
    path = tmp_path / "weights.pt"
    path.write_bytes((tiny_clip / "0.pt").read_bytes())
    fiqa.compute_quality(labelled[:4], encoder=f"iqa-tiny/{path}")
    path.write_bytes((tiny_clip / "1.pt").read_bytes())
    with pytest.raises(fiqa.IQAError, match="its weights changed"):
        fiqa.compute_quality(labelled)


def test_overwrite_scores_again_under_the_same_configuration(labelled):
    fiqa.compute_quality(labelled, metrics="tv")
    labelled.set_values("tv", [9.0] * 12)
    assert fiqa.compute_quality(labelled, metrics="tv").n_scored == 0
    fiqa.compute_quality(labelled[:3], metrics="tv", overwrite=True)
    assert max(labelled[:3].values("tv")) < 2
    assert min(labelled[3:].values("tv")) == 9


@pytest.fixture
def broken(labelled):
    """Ruins three of the twelve files; returns their indexes and reasons."""
    paths = labelled.values("filepath")
    with open(paths[2], "r+b") as file:
        file.truncate(os.path.getsize(paths[2]) // 2)
    open(paths[5], "wb").close()
    os.remove(paths[9])
    return {2: "damaged", 5: "empty", 9: "does not exist"}


def test_a_bad_image_costs_itself_alone(labelled, encoder_names, broken):
    report = fiqa.compute_quality(
        labelled, encoder=encoder_names[0], batch_size=4
    )
    failures = labelled.values("iqa_failure")
    scored = values(labelled)
    for index in range(12):
        if index in broken:
            assert set(failures[index]) == {"zsclip", "tv"}
            assert broken[index] in failures[index]["tv"]
            assert labelled.values("tv")[index] is None
            assert labelled.values("zsclip_ql")[index] is None
        else:
            assert failures[index] is None
            assert np.isfinite(scored[index]).all()
    assert report.n_failed == 3
    assert len(report.failures) == 6
    assert len(report.failures_to_pandas()) == 6
    assert "does not exist" in str(report)


def test_a_repaired_image_is_scored_and_its_failure_cleared(
    labelled, encoder_names, broken, write_images
):
    fiqa.compute_quality(labelled, encoder=encoder_names[0])
    paths = labelled.values("filepath")
    (good,) = write_images(1)
    os.replace(good, paths[2])
    report = fiqa.compute_quality(labelled)
    assert report.n_scored == 2
    assert report.n_failed == 2, "failures are retried"
    assert labelled.values("iqa_failure")[2] is None
    assert labelled.values("iqa_failure")[5] is not None


def test_failures_of_other_metrics_stay(labelled, broken):
    fiqa.compute_quality(labelled, metrics="tv")
    fiqa.compute_quality(labelled, metrics="blur")
    assert set(labelled.values("iqa_failure")[5]) == {"tv", "blur"}


def test_skip_failures_false_names_the_file(labelled, broken):
    with pytest.raises(fiqa.ImageFailureError) as error:
        fiqa.compute_quality(
            labelled, metrics="tv", skip_failures=False, batch_size=2
        )
    assert labelled.values("filepath")[2] in str(error.value)
    assert labelled.values("tv")[0] is not None, "what was scored is kept"
    assert labelled.values("tv")[11] is None


def test_a_metric_that_breaks_on_one_image_leaves_the_others(
    labelled, monkeypatch
):
    from fiftyone_iqa.metrics import get_metric

    metric = type(get_metric("blur"))
    original = metric.function
    target = fiqa_mean(labelled, 4)

    def fragile(image):
        if image.mean() == target:
            raise ZeroDivisionError("by chance")
        return original(image)

    monkeypatch.setattr(metric, "function", staticmethod(fragile))
    fiqa.compute_quality(labelled, metrics=("tv", "blur"))
    assert labelled.values("iqa_failure")[4] == {
        "blur": "ZeroDivisionError: by chance"
    }
    assert None not in labelled.values("tv")
    assert labelled.count("blur") == 11


def fiqa_mean(dataset, index):
    from fiftyone_iqa.images import read_image

    return read_image(dataset.values("filepath")[index]).mean()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"metrics": "nope"}, "Unknown metric 'nope'"),
        ({"metrics": ()}, "metrics is empty"),
        ({"metrics": "tv", "batch_size": 0}, "batch_size must be at least 1"),
        ({"metrics": "tv", "num_workers": 1.5}, "must be an integer"),
        ({"metrics": "tv", "worker_type": "fibre"}, "thread, process"),
        ({"metrics": "tv", "field_prefix": "a.b"}, "field_prefix"),
        ({"classes": "nope"}, "no field 'nope'"),
        ({"classes": ["cat"]}, "at least two"),
        ({"temperature": -1}, "temperature must be"),
        ({"temperature": "hot"}, "temperature must be"),
        ({"templates": ["no place"]}, "templates must be"),
        ({"encoder": "no-such-net"}, "Unknown encoder"),
        ({"device": "quantum:0"}, "Device 'quantum:0'"),
    ],
    ids=str,
)
def test_bad_arguments_stop_before_any_work(labelled, arguments, says):
    schema = set(labelled.get_field_schema())
    with pytest.raises(fiqa.IQAError, match=says):
        fiqa.compute_quality(labelled, **{"encoder": "lite", **arguments})
    assert set(labelled.get_field_schema()) == schema
    assert not labelled.info


def test_foreign_fields_are_left_alone(labelled):
    import fiftyone as fo

    labelled.add_sample_field("tv", fo.FloatField)
    labelled.set_values("tv", list(range(12)))
    for overwrite in (False, True):
        with pytest.raises(fiqa.IQAError, match="was not written by metric"):
            fiqa.compute_quality(labelled, metrics="tv", overwrite=overwrite)
    assert labelled.values("tv") == list(range(12))

    labelled.add_sample_field("iqa_failure", fo.StringField)
    with pytest.raises(fiqa.IQAError, match="rename yours first"):
        fiqa.compute_quality(labelled, metrics="blur")


def test_what_is_no_collection_of_images(labelled):
    import fiftyone as fo

    with pytest.raises(fiqa.IQAError, match="not list"):
        fiqa.compute_quality(labelled.values("filepath"))
    with pytest.raises(fiqa.IQAError, match="is empty"):
        fiqa.compute_quality(labelled.limit(3).skip(5))
    with pytest.raises(fiqa.IQAError, match="is empty"):
        fiqa.compute_quality(fo.Dataset())


def test_progress_callback_and_report(labelled):
    seen = []
    report = fiqa.compute_quality(
        labelled,
        metrics="tv",
        batch_size=3,
        progress=lambda bar: seen.append(bar.iteration),
    )
    assert seen[-1] == 12
    assert report.images_per_second > 0
    assert set(report.seconds) >= {"decode", "model", "write", "total"}
    frame = report.to_pandas()
    assert list(frame["scored"]) == [12]
    assert report.to_dict()["scored"] == 12


def test_a_sample_is_written_in_one_update(labelled, encoder_names):
    """Watches the database's own change log of the collection."""
    import fiftyone.core.odm as foo

    database = foo.get_db_conn()
    database.command("profile", 2)
    try:
        fiqa.compute_quality(labelled, encoder=encoder_names[0])
    finally:
        database.command("profile", 0)
    collection = labelled._sample_collection_name
    updates = [
        entry["command"]["u"]["$set"]
        for entry in database["system.profile"].find(
            {
                "op": "update",
                "ns": f"{database.name}.{collection}",
                "command.q._id": {"$exists": True},
            }
        )
        if "tv" in entry["command"].get("u", {}).get("$set", {})
    ]
    database.drop_collection("system.profile")
    assert len(updates) == 12
    for update in updates:
        assert set(FIELDS) <= set(update)


def test_use_quality_field(labelled):
    import fiftyone as fo

    labelled.add_sample_field("sharpness", fo.FloatField)
    fiqa.use_quality_field(labelled, "sharpness", higher_is_better=False)
    info = labelled.get_field("sharpness").info["iqa"]
    assert info["direction"] == "lower"
    assert info["metric"] == "external"
    fiqa.use_quality_field(labelled, "sharpness", higher_is_better=True)
    info = labelled.get_field("sharpness").info["iqa"]
    assert info["direction"] == "higher"


def test_use_quality_field_refuses(labelled):
    fiqa.compute_quality(labelled, metrics="tv")
    for field, better, says in (
        ("nope", True, "no field 'nope'"),
        ("ground_truth", True, "is a EmbeddedDocumentField"),
        ("tv", True, "direction is settled"),
        ("tv", "up", "True or False"),
    ):
        with pytest.raises(fiqa.IQAError, match=says):
            fiqa.use_quality_field(labelled, field, better)
