"""Exports: what is in them, what comes back, what is refused."""

import csv
import errno
import json
import os
from pathlib import Path

import pytest

import fiftyone_iqa as fiqa
from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.export_folder import list_files, marker

SCORES = [0.5, 0.1, None, float("nan"), 0.9, 0.2]


@pytest.fixture
def dataset(make_dataset, write_images):
    """Six images, the first two of one name in two folders."""
    import fiftyone as fo

    paths = [
        *write_images(2, folder="a", seed=0),
        *write_images(3, folder="b", seed=0, ext="jpg"),
        *write_images(1, folder="c", seed=9, size=(20, 30)),
    ]
    dataset = make_dataset(paths=paths, labels=["cat", "dog", "cat"])
    dataset.set_values("q", SCORES)
    dataset.set_values("right", [True, False, None, True, False, True])
    dataset.set_values("tags", [["x"], [], ["x", "y"], [], [], []])
    dataset.set_values("iqa_failure", [None, None, {"tv": "bad"}, *[None] * 3])
    dataset.set_values(
        "boxes",
        [
            fo.Detections(
                detections=[
                    fo.Detection(
                        label="paw", bounding_box=[0.25, 0.25, 0.5, 0.5]
                    )
                ]
            )
            for _ in SCORES
        ],
    )
    dataset.set_values(
        "boxes.detections.sharp", [[float(i)] for i in range(6)]
    )
    dataset.add_dynamic_sample_fields()
    fiqa.use_quality_field(dataset, "q", True)
    fiqa.use_quality_field(dataset, "boxes.detections.sharp", True)
    yield dataset


@pytest.fixture
def load():
    import fiftyone as fo

    made = []

    def load(folder, kind, **kwargs):
        dataset = fo.Dataset.from_dir(
            dataset_dir=str(folder), dataset_type=kind, **kwargs
        )
        made.append(dataset)
        return dataset

    yield load
    for dataset in made:
        dataset.delete()


def manifest(folder):
    return json.loads((Path(folder) / "manifest.json").read_text("utf-8"))


def test_a_low_quality_slice_comes_back_as_it_was(dataset, load, tmp_path):
    import fiftyone as fo

    view = fiqa.low_quality_view(dataset, "q", threshold=0.5)
    folder = tmp_path / "new" / "out"
    found = fiqa.export_slice(view, folder, metric="q", reason="too poor")
    assert found == {
        "export_dir": str(folder),
        "dataset_type": "FiftyOneDataset",
        "n": 3,
        "manifest": str(folder / "manifest.json"),
    }
    back = load(folder, fo.types.FiftyOneDataset)
    for path in (
        "id",
        "q",
        "right",
        "tags",
        "ground_truth.label",
        "boxes.detections.label",
        "boxes.detections.bounding_box",
        "boxes.detections.sharp",
    ):
        assert back.values(path) == view.values(path), path
    assert back.get_field("q").info == dataset.get_field("q").info
    for old, new in zip(view.values("filepath"), back.values("filepath")):
        assert Path(old).read_bytes() == Path(new).read_bytes()
        assert Path(new).is_relative_to(folder)
    # And works as before
    assert len(fiqa.low_quality_view(back, "q", threshold=0.15)) == 1


def test_the_manifest(dataset, tmp_path):
    folder = tmp_path / "out"
    fiqa.export_slice(dataset, folder, metric="q", reason="why")
    found = manifest(folder)
    assert (found["n"], found["dataset"]) == (6, dataset.name)
    assert found["metric"]["field"] == "q"
    rows = found["samples"]
    assert [row["id"] for row in rows] == dataset.values("id")
    assert [row["filepath"] for row in rows] == dataset.values("filepath")
    for row in rows:
        exported = folder / row["exported"]
        assert exported.read_bytes() == Path(row["filepath"]).read_bytes()
    assert len({row["exported"] for row in rows}) == 6
    assert [row["q"] for row in rows] == [0.5, 0.1, None, None, 0.9, 0.2]
    assert rows[1]["boxes.detections.sharp"] == [1.0]
    assert rows[1]["reasons"] == [
        "why",
        "q 0.1, among the poorest 25 % of the dataset's 4 scores",
    ]
    assert rows[2]["reasons"] == ["why", "q is missing", "tv failed: bad"]
    assert rows[2]["iqa_failure"] == {"tv": "bad"}
    assert set(found["files"]) == set(list_files(folder)) - {
        "manifest.json",
        "manifest.csv",
    }

    with open(folder / "manifest.csv", encoding="utf-8", newline="") as f:
        table = list(csv.DictReader(f))
    assert table[0]["q"] == "0.5" and table[2]["q"] == ""
    assert table[0]["right"] == "true" and table[2]["right"] == ""
    assert json.loads(table[2]["tags"]) == ["x", "y"]
    assert table[0]["ground_truth.label"] == "cat"
    assert [row["exported"] for row in table] == [
        row["exported"] for row in rows
    ]


def test_class_folders_come_back(dataset, load, tmp_path):
    import fiftyone as fo

    folder = tmp_path / "out"
    kind = fo.types.ImageClassificationDirectoryTree
    fiqa.export_slice(dataset, folder, kind, label_field="ground_truth")
    assert sorted(p.name for p in folder.iterdir() if p.is_dir()) == [
        "cat",
        "dog",
    ]
    rows = manifest(folder)["samples"]
    expected = {
        str(folder / row["exported"]): row["ground_truth.label"]
        for row in rows
    }
    assert None not in [row["exported"] for row in rows]
    back = load(folder, kind)
    labels = dict(zip(*back.values(["filepath", "ground_truth.label"])))
    assert labels == expected
    # The scores are in the manifest
    scores = {str(folder / row["exported"]): row["q"] for row in rows}
    assert sorted(scores) == sorted(labels)


def test_coco_comes_back(dataset, load, tmp_path):
    import fiftyone as fo

    folder = tmp_path / "out"
    found = fiqa.export_slice(
        dataset, folder, "COCODetectionDataset", label_field="boxes"
    )
    assert found["dataset_type"] == "COCODetectionDataset"
    back = load(folder, fo.types.COCODetectionDataset)
    assert len(back) == 6
    by_path = {
        str(folder / row["exported"]): row
        for row in manifest(folder)["samples"]
    }
    assert set(back.values("filepath")) == set(by_path)
    for boxes in back.values("detections.detections"):
        (box,) = boxes
        assert box.label == "paw"
        assert box.bounding_box == pytest.approx([0.25, 0.25, 0.5, 0.5])


def test_links(dataset, load, tmp_path):
    import fiftyone as fo

    folder = tmp_path / "out"
    fiqa.export_slice(dataset, folder, copy=False)
    for row in manifest(folder)["samples"]:
        link = folder / row["exported"]
        assert link.is_symlink()
        assert os.readlink(link) == row["filepath"]
    assert len(load(folder, fo.types.FiftyOneDataset)) == 6
    # Replacing the export leaves the images alone
    fiqa.export_slice(dataset, folder, copy=False, overwrite=True)
    assert all(map(os.path.isfile, dataset.values("filepath")))


def test_chosen_fields(dataset, load, tmp_path):
    import fiftyone as fo

    folder = tmp_path / "out"
    fiqa.export_slice(
        dataset.limit(2), folder, fields=["q"], label_field="ground_truth"
    )
    back = load(folder, fo.types.FiftyOneDataset)
    assert back.has_field("q") and back.has_field("ground_truth")
    assert not back.has_field("boxes") and not back.has_field("right")
    row = manifest(folder)["samples"][0]
    assert "right" not in row and row["q"] == 0.5
    assert dataset.has_field("right")


def test_nothing_is_left_over(dataset, tmp_path):
    import fiftyone as fo

    before = fo.list_datasets(), sorted(p.name for p in tmp_path.iterdir())
    fiqa.export_slice(dataset, tmp_path / "out")
    assert fo.list_datasets() == before[0]
    now = sorted(p.name for p in tmp_path.iterdir())
    assert now == sorted([*before[1], "out"])


def test_an_export_is_replaced_only_if_told(dataset, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    fiqa.export_slice(dataset, folder)
    before = {f: (folder / f).read_bytes() for f in list_files(folder)}
    with pytest.raises(IQAError, match="overwrite=True to replace it"):
        fiqa.export_slice(dataset.limit(1), folder)
    assert before == {f: (folder / f).read_bytes() for f in list_files(folder)}
    fiqa.export_slice(dataset.limit(1), folder, overwrite=True)
    assert manifest(folder)["n"] == 1
    assert len(list((folder / "data").iterdir())) == 1
    # A stranger's file in it protects it
    (folder / "data" / "notes.txt").write_text("mine")
    with pytest.raises(IQAError, match="such as data/notes.txt"):
        fiqa.export_slice(dataset, folder, overwrite=True)
    assert (folder / "data" / "notes.txt").read_text() == "mine"


def test_folders_of_others_are_never_touched(dataset, tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years")
    (folder / "manifest.json").write_text("[1]")
    for overwrite in (False, True):
        with pytest.raises(IQAError, match="no export wrote, such as"):
            fiqa.export_slice(dataset, folder, overwrite=overwrite)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IQAError, match="is a link"):
        fiqa.export_slice(dataset, link, overwrite=True)
    with pytest.raises(IQAError, match="is a file"):
        fiqa.export_slice(dataset, folder / "thesis.tex")
    with pytest.raises(IQAError, match="is an archive"):
        fiqa.export_slice(dataset, tmp_path / "out.zip")
    assert not (tmp_path / "elsewhere").exists()
    assert list_files(folder) == ["manifest.json", "thesis.tex"]


@pytest.mark.parametrize("label", ["../../evil", "/tmp/evil", "..", ".", ""])
def test_class_names_do_not_lead_out(dataset, tmp_path, label):
    dataset.set_values("ground_truth.label", ["cat"] * 5 + [label])
    folder = tmp_path / "deep" / "out"
    for field in ("ground_truth", None):
        with pytest.raises(IQAError, match="no name for a folder inside"):
            fiqa.export_slice(
                dataset,
                folder,
                "ImageClassificationDirectoryTree",
                label_field=field,
            )
    assert not folder.parent.exists()
    # Other types do not make folders of them
    fiqa.export_slice(dataset, folder)


def test_odd_file_names(make_dataset, write_images, tmp_path):
    (path,) = write_images(1)
    names = ["..jpg.png", "-x.png", "a b ü.png", "manifest.json.png"]
    paths = [tmp_path / "odd" / name for name in names]
    paths[0].parent.mkdir()
    for odd in paths:
        odd.write_bytes(Path(path).read_bytes())
    dataset = make_dataset(paths=paths)
    folder = tmp_path / "out"
    fiqa.export_slice(dataset, folder)
    rows = manifest(folder)["samples"]
    assert [Path(row["exported"]).name for row in rows] == names


def test_a_failure_midway_leaves_what_was_there(
    dataset, tmp_path, monkeypatch
):
    folder = tmp_path / "out"
    fiqa.export_slice(dataset.limit(2), folder)
    before = {f: (folder / f).read_bytes() for f in list_files(folder)}
    listed = sorted(p.name for p in tmp_path.iterdir())
    # The last image cannot be read, and COCO needs its size
    path = Path(dataset.last().filepath)
    image = path.read_bytes()
    path.write_text("no image")
    with pytest.raises(Exception, match="image"):
        fiqa.export_slice(
            dataset,
            folder,
            "COCODetectionDataset",
            label_field="boxes",
            overwrite=True,
        )
    path.write_bytes(image)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("fiftyone_iqa.export_manifest.csv.writer", full)
    with pytest.raises(IQAError, match="No space.*undone: make room"):
        fiqa.export_slice(dataset, folder, overwrite=True)
    assert before == {f: (folder / f).read_bytes() for f in list_files(folder)}
    with pytest.raises(IQAError, match="No space.*undone: make room"):
        fiqa.export_slice(dataset, tmp_path / "fresh")
    assert sorted(p.name for p in tmp_path.iterdir()) == listed


def test_an_export_that_was_killed_says_so_and_is_replaced(dataset, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    marker(folder).write_text("cut off")
    (folder / "half.png").write_bytes(b"x")
    with pytest.raises(IQAError, match="overwrite=True"):
        fiqa.export_slice(dataset, folder)
    fiqa.export_slice(dataset, folder, overwrite=True)
    assert not (folder / "half.png").exists()
    assert not marker(folder).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset_type": "Nope"}, "must be a type of fiftyone.types"),
        ({"dataset_type": "sys"}, "must be a type of fiftyone.types"),
        ({"label_field": "q"}, "'q' is no label field"),
        ({"fields": ["x"]}, "has no field 'x'"),
        ({"metric": "right"}, "BooleanField|no direction|quality metric"),
        ({"export_dir": ""}, "must be a folder"),
    ],
)
def test_bad_calls_write_nothing(dataset, tmp_path, arguments, message):
    listed = sorted(tmp_path.iterdir())
    arguments = {"export_dir": tmp_path / "out", **arguments}
    with pytest.raises(IQAError, match=message):
        fiqa.export_slice(dataset, **arguments)
    assert sorted(tmp_path.iterdir()) == listed


def test_missing_images_and_images_inside(dataset, tmp_path, load):
    import fiftyone as fo

    folder = tmp_path / "out"
    fiqa.export_slice(dataset, folder)
    back = load(folder, fo.types.FiftyOneDataset)
    with pytest.raises(IQAError, match="lies in export_dir itself"):
        fiqa.export_slice(back, folder, overwrite=True)
    os.remove(dataset.first().filepath)
    with pytest.raises(IQAError, match="1 of 6 images are not there"):
        fiqa.export_slice(dataset, tmp_path / "two")
    assert not (tmp_path / "two").exists()
    with pytest.raises(IQAError, match="empty"):
        fiqa.export_slice(dataset.match({"q": 99}), tmp_path / "two")


def test_images_of_groups(database, write_images, tmp_path, load):
    import fiftyone as fo

    dataset = fo.Dataset()
    try:
        group = fo.Group()
        paths = write_images(2)
        dataset.add_samples(
            [
                fo.Sample(path, g=group.element(side), q=0.5)
                for path, side in zip(paths, ("left", "right"))
            ],
            progress=False,
        )
        fiqa.use_quality_field(dataset, "q", True)
        with pytest.raises(IQAError, match="select_group_slices"):
            fiqa.export_slice(dataset, tmp_path / "out")
        view = fiqa.low_quality_view(dataset, "q")
        fiqa.export_slice(view, tmp_path / "out")
        back = load(tmp_path / "out", fo.types.FiftyOneDataset)
        assert back.values("q") == [0.5, 0.5]
    finally:
        dataset.delete()


def test_patches(dataset, tmp_path):
    folder = tmp_path / "out"
    patches = dataset.limit(2).to_patches("boxes")
    fiqa.export_slice(patches, folder)
    assert manifest(folder)["n"] == 2
