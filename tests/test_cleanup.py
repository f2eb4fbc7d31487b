"""After "delete everything" a dataset is as it was."""

import json

import pytest

import fiftyone_iqa as fiqa
from fiftyone_iqa.cleanup import delete_everything, written
from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.saved_views import tag_view
from fiftyone_iqa.sidebar import index_fields, show_in_sidebar
from fiftyone_iqa.workspace import save_workspace


def snapshot(dataset):
    """Everything a user sees of a dataset, as JSON."""
    from bson import json_util

    dataset.reload()
    document = dataset._doc.to_dict()
    for key in (
        "last_modified_at",
        "last_loaded_at",
        "last_deletion_at",
        "_id",
        "version",
    ):
        document.pop(key, None)
    samples = []
    for sample in dataset._sample_collection.find().sort("_id"):
        sample.pop("last_modified_at")
        samples.append(sample)
    return json.loads(
        json_util.dumps(
            {
                "document": document,
                "samples": samples,
                "schema": {
                    path: (str(field), field.info, field.description)
                    for path, field in dataset.get_field_schema(
                        flat=True
                    ).items()
                },
                "runs": dataset.list_brain_runs(),
                "views": dataset.list_saved_views(info=True),
                "workspaces": dataset.list_workspaces(info=True),
                "stores": stores(dataset),
                "tags": dataset.count_sample_tags(),
                "label_tags": dataset.count_label_tags(),
                "info": dataset.info,
                "indexes": dataset.get_index_information(),
            }
        )
    )


def stores(dataset):
    """What operators and panels keep for a dataset outside of it."""
    from fiftyone.operators.store import ExecutionStoreService

    service = ExecutionStoreService(dataset_id=dataset._doc.id)
    return sorted(service.list_stores())


@pytest.fixture
def dataset(make_dataset):
    """A dataset with things of its own, of every kind."""
    import fiftyone as fo

    dataset = make_dataset(n=12, labels=["cat", "dog", "cat"])
    dataset.set_values("other", [float(i) for i in range(12)])
    dataset.set_values("iqa_like", [float(i) for i in range(12)])
    labels = ["cat", "dog"] * 6
    predictions = [fo.Classification(label=x, confidence=0.5) for x in labels]
    dataset.set_values("said", predictions)
    dataset.set_values(
        "boxes",
        [
            fo.Detections(
                detections=[
                    fo.Detection(label="paw", bounding_box=[0, 0, 0.5, 0.5])
                ]
            )
            for _ in range(12)
        ],
    )
    dataset.limit(2).tag_samples("mine")
    dataset.limit(2).tag_labels("checked", label_fields=["ground_truth"])
    dataset.save_view("mine", dataset.limit(3), description="d")
    dataset.save_view("iqa_of_mine", dataset.limit(3))
    dataset.save_workspace("work", fo.Space(children=[]))
    dataset.save_workspace("iqa_mine", fo.Space(children=[]), "My own")
    dataset.info["mine"] = {"a": 1}
    dataset.create_index("other")
    dataset.save()
    return dataset


def use_everything(dataset):
    import fiftyone as fo

    fiqa.compute_quality(dataset, metrics=("tv", "blur"), progress=False)
    fiqa.compute_quality(
        dataset.to_patches("boxes"), metrics="tv", progress=False
    )
    fiqa.quality_from_predictions(dataset, "said")
    fiqa.use_quality_field(dataset, "other", higher_is_better=True)
    fiqa.compute_correctness(dataset, "said", "ground_truth")
    fields = ["tv", "blur", "said_qp", "other", "iqa_correct"]
    show_in_sidebar(dataset, ["said"], "answers")
    show_in_sidebar(dataset, fields)
    index_fields(dataset, ["tv", "said_qp"])
    dataset.create_index([("tv", 1), ("said_qp", -1)])
    fiqa.build_quality_prior(
        dataset, ["tv", "other"], brain_key="run", progress=False
    )
    fiqa.save_views(dataset, "other", "iqa_correct", brain_key="run")
    table = fiqa.find_slices(
        dataset, "other", min_n=3, min_sources=3, progress=False
    )
    table.save(0)
    tag_view(fiqa.low_quality_view(dataset, "other"), "poor")
    tag_view(dataset.limit(1), "odd", ["said"])
    save_workspace(dataset)
    dataset.app_config.active_fields = fo.ActiveFields(
        paths=["tv", "said_qp", "boxes.detections.tv"]
    )
    # What scoring by classes leaves
    dataset.info["iqa_label_sets"] = {"x": ["cat", "dog"]}
    dataset.save()


def test_a_dataset_is_as_it_was(dataset):
    before = snapshot(dataset)
    use_everything(dataset)
    assert snapshot(dataset) != before
    found = written(dataset)
    assert set(found.fields) == {
        "tv",
        "blur",
        "iqa_failure",
        "boxes.detections.tv",
        "boxes.detections.iqa_failure",
        "said_qp",
        "iqa_correct",
    }
    assert found.declared == ("other",)
    assert found.runs == ("run",)
    assert found.workspaces == ("iqa",)
    assert len(found.views) == 4
    assert "iqa_of_mine" not in found.views
    assert found.tags == ("poor",) and found.label_tags == ("odd",)
    assert len(found.indexes) == 3 and "other" not in found.indexes
    assert found.sidebar_groups == ("image quality", "answers")
    assert json.dumps(found.to_dict())
    assert "runs: run" in str(found)

    middle = snapshot(dataset)
    assert delete_everything(dataset, dry_run=True) == found
    assert snapshot(dataset) == middle

    assert fiqa.delete_everything(dataset) == found
    assert snapshot(dataset) == before
    assert not written(dataset)
    assert str(written(dataset)) == "nothing"
    assert not fiqa.delete_everything(dataset)


def test_a_sidebar_of_ones_own_is_kept(dataset):
    import fiftyone as fo

    dataset.app_config.sidebar_groups = [
        fo.SidebarGroupDocument(name="tags", paths=["tags"]),
        fo.SidebarGroupDocument(name="mine", paths=["other", "said"]),
        fo.SidebarGroupDocument(
            name="primitives", paths=["iqa_like", "filepath", "id"]
        ),
    ]
    dataset.save()
    before = snapshot(dataset)
    fiqa.compute_quality(dataset, metrics="tv", progress=False)
    show_in_sidebar(dataset, ["tv"])
    show_in_sidebar(dataset, ["filepath", "said", "other"], "mine too")
    show_in_sidebar(dataset, ["filepath"])
    fiqa.delete_everything(dataset)
    assert snapshot(dataset) == before


def test_a_group_of_ones_own_is_kept(dataset):
    import fiftyone as fo

    dataset.app_config.sidebar_groups = [
        fo.SidebarGroupDocument(name="tags", paths=["tags"]),
        fo.SidebarGroupDocument(
            name="image quality", paths=["other"], expanded=False
        ),
        fo.SidebarGroupDocument(
            name="labels", paths=["boxes.detections.label", "said", "boxes"]
        ),
    ]
    dataset.save()
    before = snapshot(dataset)
    fiqa.compute_quality(dataset, metrics="tv", progress=False)
    show_in_sidebar(dataset, ["tv", "said", "boxes.detections.label"])
    assert written(dataset).sidebar_groups == ()
    fiqa.delete_everything(dataset)
    assert snapshot(dataset) == before


def test_fields_of_ones_own_stay_active(dataset):
    import fiftyone as fo

    for paths, exclude in ((["said", "other"], None), ([], None), ([], True)):
        dataset.app_config.active_fields = fo.ActiveFields(
            paths=list(paths), exclude=exclude
        )
        dataset.save()
        before = snapshot(dataset)
        fiqa.compute_quality(dataset, metrics="tv", progress=False)
        if paths:
            dataset.app_config.active_fields.paths.insert(1, "tv")
            dataset.save()
        fiqa.delete_everything(dataset)
        assert snapshot(dataset) == before


def test_a_workspace_of_ones_own_is_kept(dataset):
    import fiftyone as fo

    dataset.save_workspace("IQA", fo.Space(children=[]), "My own")
    before = snapshot(dataset)
    with pytest.raises(IQAError, match="was not saved here"):
        save_workspace(dataset)
    fiqa.delete_everything(dataset)
    assert snapshot(dataset) == before


def test_variants_stay_unless_asked_for(dataset, tmp_path):
    before = snapshot(dataset)
    fiqa.corrupt_dataset(
        dataset,
        "gaussian_noise",
        [1, 3],
        images_dir=tmp_path / "variants",
        dataset=dataset,
        num_workers=0,
        progress=False,
    )
    fiqa.compute_quality(dataset, metrics="tv", progress=False)
    found = fiqa.delete_everything(dataset)
    assert found.n_variants == 24 and len(dataset) == 36
    assert dataset.has_sample_field("corruption")
    fiqa.delete_everything(dataset, variants=True)
    assert snapshot(dataset) == before

    other = fiqa.corrupt_dataset(
        dataset,
        "gaussian_noise",
        1,
        images_dir=tmp_path / "more",
        dataset=f"{dataset.name}-grid",
        num_workers=0,
        progress=False,
    )
    try:
        with pytest.raises(IQAError, match="nothing but variants"):
            fiqa.delete_everything(other, variants=True)
        assert fiqa.delete_everything(other).n_variants == 24
        assert len(other) == 24
    finally:
        other.delete()


def test_frames(database, tmp_path, write_images):
    import fiftyone as fo

    dataset = fo.Dataset()
    try:
        sample = fo.Sample("/no/a.mp4")
        sample.frames[1] = fo.Frame(filepath=write_images(1)[0])
        dataset.add_sample(sample)
        schema = list(dataset.get_frame_field_schema())
        fiqa.compute_quality(dataset.to_frames(), "tv", progress=False)
        found = fiqa.delete_everything(dataset)
        assert set(found.fields) == {"frames.tv", "frames.iqa_failure"}
        assert list(dataset.get_frame_field_schema()) == schema
    finally:
        dataset.delete()


def test_only_datasets(dataset):
    for thing in (dataset.limit(1), "name"):
        with pytest.raises(IQAError, match="must be a FiftyOne dataset"):
            fiqa.delete_everything(thing)
