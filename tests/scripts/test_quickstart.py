"""scripts/quickstart.py: its images, datasets, tables and the main job."""

import uuid
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

fo = pytest.importorskip("fiftyone")

from fiftyone_iqa.errors import IQAError  # noqa: E402
from fiftyone_iqa.images import read_image  # noqa: E402


@pytest.fixture(scope="module")
def images(load_script):
    return load_script("quickstart_images")


@pytest.fixture(scope="module")
def quickstart(load_script, images):
    return load_script("quickstart")


@pytest.fixture
def name(tmp_path, monkeypatch):
    """A dataset name of this test's own, with media in a folder of its own."""
    monkeypatch.setattr(fo.config, "default_dataset_dir", str(tmp_path))
    name = f"quickstart-test-{uuid.uuid4().hex[:8]}"
    yield name
    if fo.dataset_exists(name):
        fo.delete_dataset(name)


@pytest.fixture
def pets(tmp_path):
    """A user's folder: labels, depth, a stray image, things to ignore."""
    root = tmp_path / "my pets"
    rng = np.random.default_rng(0)
    for path in (
        "cat/a.png",
        "cat/old/b.JPEG",
        "dog/c.jpg",
        "stray.png",
        ".hidden/d.png",
        "dog/._e.png",
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(root / path)
    (root / "dog" / "notes.txt").write_text("not an image")
    return root


@pytest.fixture
def photos(images):
    return [s for s in images.photographs() if s.id in ("coffee", "china")]


def test_photographs_are_there_and_distinct(images):
    sources = images.photographs()
    assert {"astronaut", "chelsea", "coffee", "rocket"} <= {
        source.id for source in sources
    }
    assert len({source.id for source in sources}) == len(sources)
    assert len({source.label for source in sources}) == len(sources)
    for source in sources:
        assert read_image(source.path).shape[2] == 3


def test_photographs_missing(monkeypatch, images):
    monkeypatch.setattr(images, "PHOTOGRAPHS", {"no_such_package/data": {}})
    with pytest.raises(IQAError, match="--images"):
        images.photographs()


def test_corrupted_dataset(name, photos, tmp_path, images):
    dataset = images.corrupted_dataset(name, photos)
    assert dataset.persistent and len(dataset) == 2 * 13
    assert dataset.count_values("ground_truth.label") == {
        "cup of coffee": 13,
        "pagoda": 13,
    }
    assert dataset.distinct("severity") == [0, 1, 3, 5]
    clean = dataset.match({"corruption": "clean"})
    assert clean.values("severity") == [0, 0]
    assert set(clean.values("source_id")) == {"coffee", "china"}

    original = read_image(clean.first().filepath).astype(float)
    assert max(original.shape) == images.LONG_SIDE
    assert Path(clean.first().filepath).is_relative_to(tmp_path / name)
    noisy = dataset.match({"corruption": "gaussian_noise"}).sort_by("severity")
    distances = [
        np.abs(read_image(sample.filepath) - original).mean()
        for sample in noisy.match({"source_id": clean.first().source_id})
    ]
    assert distances[0] > 5
    assert np.all(np.diff(distances) > 5)


def test_files_are_the_same_in_every_run(name, photos, images):
    def pixels():
        dataset = images.corrupted_dataset(name, photos)
        return {p: Path(p).read_bytes() for p in dataset.values("filepath")}

    assert pixels() == pixels()


def test_only_datasets_of_its_own_are_replaced(name, photos, images):
    first = images.folder_dataset(name, photos)
    first.add_sample_field("mine", fo.StringField)
    assert not images.folder_dataset(name, photos[:1]).has_field("mine")

    foreign = f"{name}-foreign"
    dataset = fo.Dataset(foreign)
    try:
        with pytest.raises(IQAError, match="--name"):
            images.folder_dataset(foreign, photos)
        assert len(dataset) == 0 and fo.dataset_exists(foreign)
    finally:
        fo.delete_dataset(foreign)


def test_foreign_dataset_stops_before_any_work(
    name, capsys, monkeypatch, quickstart
):
    monkeypatch.setattr(quickstart, "choose_images", pytest.fail)
    fo.Dataset(name)
    assert quickstart.main(["--no-app", "--name", name]) == 1
    error = capsys.readouterr().err
    assert name in error and "--name" in error


def test_sub_folders_are_labels(name, pets, images):
    sources = images.folder_images(pets, labelled=True)
    assert [(s.id, s.label) for s in sources] == [
        ("stray", None),
        ("a", "cat"),
        ("b", "cat"),
        ("c", "dog"),
    ]
    dataset = images.folder_dataset(name, sources)
    assert dataset.values("filepath") == [str(s.path) for s in sources]
    assert dataset.count_values("ground_truth.label") == {
        None: 1,
        "cat": 2,
        "dog": 1,
    }


def test_folders_without_labels(pets, tmp_path, images):
    with pytest.raises(IQAError, match=r"no labels.*--classes"):
        images.folder_images(pets / "cat" / "old", labelled=True)
    with pytest.raises(IQAError, match=r"only the label 'old'.*--classes"):
        images.folder_images(pets / "cat", labelled=True)
    assert images.folder_images(pets / "cat" / "old", labelled=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(IQAError, match="no images"):
        images.folder_images(tmp_path / "empty", labelled=False)
    with pytest.raises(IQAError, match="no folder"):
        images.folder_images(tmp_path / "absent", labelled=False)


def test_without_internet_photographs(monkeypatch, capsys, images):
    monkeypatch.setattr("fiftyone_iqa.encoders.hub_reachable", lambda: False)
    monkeypatch.setattr("fiftyone.zoo.load_zoo_dataset", pytest.fail)
    assert images.choose_images() == images.photographs()
    assert "No internet" in capsys.readouterr().out


def test_failed_download_falls_back(monkeypatch, capsys, images):
    def fail(*args, **kwargs):
        raise OSError("too many\n downloads")

    monkeypatch.setattr("fiftyone_iqa.encoders.hub_reachable", lambda: True)
    monkeypatch.setattr("fiftyone.zoo.load_zoo_dataset", fail)
    assert images.choose_images() == images.photographs()
    assert "(too many downloads)" in capsys.readouterr().out


def test_zoo_images(monkeypatch, images):
    made = []

    def load(name, dataset_name, drop_existing_dataset):
        assert name == "imagenet-sample"
        dataset = fo.Dataset(dataset_name, overwrite=drop_existing_dataset)
        dataset.add_samples(
            fo.Sample(f"/zoo/{i:04}.jpg", ground_truth=_label(f"class {i}"))
            for i in range(300)
        )
        made.append(dataset_name)
        return dataset

    monkeypatch.setattr("fiftyone_iqa.encoders.hub_reachable", lambda: True)
    monkeypatch.setattr("fiftyone.zoo.load_zoo_dataset", load)
    sources = images.choose_images()
    assert len(sources) == images.ZOO_IMAGES
    assert all(s.label == f"class {int(s.id)}" for s in sources)
    assert sources == images.choose_images()
    assert not any(map(fo.dataset_exists, made))


def _label(label):
    return fo.Classification(label=label)


@pytest.fixture
def scored(name, images, quickstart):
    """A function that makes a dataset of samples with these scores."""

    def make(samples, values):
        dataset = images.make_dataset(name, samples)
        for field in quickstart.SCORES:
            dataset.add_sample_field(field, fo.FloatField)
            dataset.set_values(field, values)
        return dataset

    return make


def test_tables_by_condition(scored, quickstart):
    samples = [
        fo.Sample(
            f"/media/{i}-{corruption}-{severity}.jpg",
            ground_truth=_label("cat"),
            corruption=corruption,
            severity=severity,
        )
        for i in range(2)
        for corruption, severity in (("clean", 0), ("blur", 1), ("blur", 5))
    ]
    scores = [0.5, 0.3, 0.2, 0.7, None, 0.1]
    frame = quickstart.scores_frame(scored(samples, scores), None)
    assert quickstart.means_table(frame).splitlines() == [
        "corruption  severity  n  mean Q_l  mean Q_p  mean Q_h  mean TV",
        "clean              0  2    0.6000    0.6000    0.6000   0.6000",
        "blur               1  1    0.3000    0.3000    0.3000   0.3000",
        "blur               5  2    0.1500    0.1500    0.1500   0.1500",
    ]
    assert quickstart.extremes_table(frame, True, count=2).splitlines() == [
        "file          label  corruption  severity     Q_l",
        "1-blur-5.jpg  cat    blur               5  0.1000",
        "0-blur-5.jpg  cat    blur               5  0.2000",
    ]
    best = quickstart.extremes_table(frame, False, count=1)
    assert best.splitlines()[1].startswith("1-clean-0.jpg")
    assert len(quickstart.extremes_table(frame, True).splitlines()) == 6


def test_tables_by_label(scored, pets, monkeypatch, images, quickstart):
    sources = images.folder_images(pets, labelled=True)
    samples = [images._sample(s, s.path) for s in sources]
    dataset = scored(samples, [None, 0.5, 0.4, 0.1])
    frame = quickstart.scores_frame(dataset, pets)
    assert quickstart.means_table(frame).splitlines() == [
        "label       n  mean Q_l  mean Q_p  mean Q_h  mean TV",
        "dog         1    0.1000    0.1000    0.1000   0.1000",
        "cat         2    0.4500    0.4500    0.4500   0.4500",
        "(no label)  0         -         -         -        -",
    ]
    worst = quickstart.extremes_table(frame, True).splitlines()
    assert [line.split()[0] for line in worst] == [
        "file",
        "dog/c.jpg",
        "cat/old/b.JPEG",
        "cat/a.png",
    ]
    monkeypatch.setattr(quickstart, "MAX_TABLE_ROWS", 1)
    table = quickstart.means_table(frame).splitlines()
    assert len(table) == 3 and "2 labels" in table[-1]


def test_tables_when_nothing_could_be_scored(scored, pets, images, quickstart):
    sources = images.folder_images(pets / "cat" / "old", labelled=False)
    dataset = scored([fo.Sample(str(sources[0].path))], [None])
    frame = quickstart.scores_frame(dataset, pets)
    assert "(all images)  0" in quickstart.means_table(frame)
    assert len(quickstart.extremes_table(frame, True).splitlines()) == 1


def test_classes_need_images(capsys, quickstart):
    with pytest.raises(SystemExit):
        quickstart.main(["--classes", "cat,dog"])
    assert "--images" in capsys.readouterr().err


def _mean_ql(dataset, corruption):
    view = dataset.match({"corruption": corruption})
    return {
        severity: view.match({"severity": severity}).mean("zsclip_ql")
        for severity in view.distinct("severity")
    }


def test_the_main_job(name, capsys, monkeypatch, images, quickstart):
    monkeypatch.setattr("fiftyone_iqa.encoders.hub_reachable", lambda: False)
    argv = ["--no-app", "--name", name, "--encoder", "lite"]
    assert quickstart.main(argv) == 0

    dataset = fo.load_dataset(name)
    assert dataset.persistent
    n = 13 * len(images.photographs())
    assert dataset.count("zsclip_ql") == n == len(dataset)

    (clean,) = _mean_ql(dataset, "clean").values()
    for corruption in ("gaussian_noise", "defocus_blur"):
        mean = _mean_ql(dataset, corruption)
        assert clean > mean[1] > mean[3] > mean[5], corruption

    out = capsys.readouterr().out
    (encoder,) = [x for x in out.splitlines() if x.startswith("Encoder: ")]
    assert "lite" in encoder and "because --encoder asks for it" in encoder
    assert "not CLIP" in encoder
    assert len([x for x in out.splitlines() if "defocus_blur " in x]) >= 3

    # A task model ran in the same pass, and its correctness is a column
    assert dataset.count("efficientnet_lite2") == n
    judged = 13 * len(set(images.IMAGENET_NAMES.values()))
    assert dataset.count("iqa_correct") == judged
    assert 0.2 < dataset.values("iqa_correct").count(True) / judged < 0.9
    assert "accuracy" in out and "brisque: not computed" in out

    assert dataset.list_workspaces() == ["iqa"]
    horizontal = dataset.load_workspace("iqa")
    images_side, quality_panel = horizontal.children
    for space in (*images_side.children, quality_panel):
        (panel,) = space.children
        assert space.active_child == panel.component_id
    assert panel.type == "image_quality"
    # Right or wrong for enough originals, or it says what is missing
    assert "uality prior" in out
    quality, condition = dataset.app_config.sidebar_groups[1:3]
    assert quality.name == "image quality"
    assert {*quickstart.SCORES, "blur", "contrast"} <= set(quality.paths)
    assert condition.paths == ["corruption", "severity"]
    active = dataset.app_config.active_fields.paths
    assert active == ["zsclip_ql", "corruption", "severity"]


def test_a_folder_of_ones_own(name, pets, capsys, quickstart):
    before = {p: p.read_bytes() for p in pets.rglob("*") if p.is_file()}
    argv = ["--no-app", "--name", name, "--encoder", "lite"]
    argv += ["--images", str(pets)]
    assert quickstart.main([*argv, "--classes", "cat, dog, cup"]) == 0
    dataset = fo.load_dataset(name)
    assert dataset.count("zsclip_ql") == 4
    assert not dataset.has_field("corruption")
    assert dataset.app_config.active_fields.paths == ["zsclip_ql"]
    assert dataset.count("efficientnet_lite2") == 4
    assert quickstart.main(argv) == 0  # its own dataset is replaced
    assert "(no label)" in capsys.readouterr().out
    after = {p: p.read_bytes() for p in pets.rglob("*") if p.is_file()}
    assert before == after


def test_unavailable_encoder_is_one_sentence(name, pets, capsys, quickstart):
    argv = ["--no-app", "--name", name, "--images", str(pets)]
    assert quickstart.main([*argv, "--encoder", "no-such-model"]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("quickstart: ") and "no-such-model" in error
    assert "Traceback" not in error
