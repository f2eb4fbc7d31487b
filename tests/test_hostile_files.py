"""Hostile files: each costs itself alone, and nothing hangs."""

import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

import fiftyone_iqa as fiqa
from fiftyone_iqa.images import ImageReadError, read_image
from fiftyone_iqa.metrics.pixels import brightness
from fiftyone_iqa.metrics.tv import total_variation

from .hostile_files import encode, make_corpus, many_scans, photograph

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the corpus has pipes and devices"
)

N_FILES, N_GOOD = 309, 90


@contextmanager
def time_limit(seconds):
    """Ends a test that hangs, in a system call too."""

    def stop(*_):
        raise TimeoutError(f"still running after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    entries = make_corpus(tmp_path_factory.mktemp("corpus"))
    assert len(entries) == N_FILES
    assert sum(entry.good for entry in entries) == N_GOOD
    return entries


def check(entry):
    """Returns what is wrong with how a file is read, or None."""
    try:
        pixels = read_image(entry.path)
    except ImageReadError as e:
        said = str(e)
        if entry.good:
            return f"{entry.name}: refused: {said}"
        if not re.search(entry.reason, said):
            return f"{entry.name}: wrong reason: {said}"
        if "\n" in said or "\0" in said or len(said) > 400:
            return f"{entry.name}: not one line: {said}"
        said.encode()  # or no database stores it
        return None

    if not entry.good:
        return f"{entry.name}: has pixels"
    if pixels.shape != entry.pixels.shape or pixels.dtype != np.uint8:
        return f"{entry.name}: {pixels.shape} {pixels.dtype}"
    off = np.abs(pixels.astype(int) - entry.pixels).mean()
    if off > entry.tolerance:
        return f"{entry.name}: {off:.1f} levels off"
    return None


def test_every_file_is_pixels_or_a_reason(corpus):
    with time_limit(120):
        wrong = [w for w in map(check, corpus) if w]
    right = len(corpus) - len(wrong)
    assert wrong == [], f"right {right} of {len(corpus)}"


def test_also_in_threads_under_strict_warnings_and_lenient_pillow(
    corpus, monkeypatch
):
    # pyiqa's dataset modules set it when they are imported
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        with time_limit(120), ThreadPoolExecutor(4) as pool:
            wrong = [w for w in pool.map(check, corpus) if w]
        assert warnings.filters == before
    assert wrong == []
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_a_setting_made_while_images_decode_is_put_back(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
    path = tmp_path / "a.png"
    path.write_bytes(encode(photograph(600, 600), "PNG"))
    stop = threading.Event()

    def read():
        while not stop.is_set():
            read_image(path)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    for _ in range(20):
        read_image(path)
    stop.set()
    for thread in threads:
        thread.join()
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_flipped_bytes_are_pixels_or_a_reason(kind, tmp_path):
    # A format without checksums cannot tell; nothing else may happen
    rng = np.random.default_rng(7)
    data = encode(photograph(), kind)
    noticed = 0
    with time_limit(120):
        for i in range(150):
            broken = bytearray(data)
            for at in rng.integers(0, len(data), 1 + i % 5):
                broken[at] ^= int(rng.integers(1, 256))
            path = tmp_path / "a"
            path.write_bytes(broken)
            try:
                pixels = read_image(path)
            except ImageReadError as e:
                noticed += 1
                str(e).encode()
            else:
                assert pixels.dtype == np.uint8
                assert pixels.ndim == 3 and pixels.size > 0
    if kind == "PNG":
        assert noticed > 130


def test_a_progressive_jpeg_of_many_scans_is_read(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(many_scans(400))
    assert read_image(path).shape == photograph().shape


def test_no_program_is_run_for_a_file(tmp_path, monkeypatch):
    # Pillow gives EPS files, by any name, to the Ghostscript on the path
    ran = tmp_path / "ran"
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    path = tmp_path / "a.jpg"
    image = Image.fromarray(photograph())
    image.save(path, "EPS")
    with pytest.raises(Exception, match=".*"), Image.open(path) as opened:
        opened.load()
    assert ran.exists(), "Pillow alone no longer runs it"
    ran.unlink()
    with pytest.raises(ImageReadError, match="drawing"):
        read_image(path)
    assert not ran.exists()


def test_an_unreadable_file(tmp_path, record_property):
    record_property("fault", "permission to read an image is denied")
    path = tmp_path / "a.png"
    path.write_bytes(encode(photograph(), "PNG"))
    path.chmod(0)
    # root reads everything: become nobody once all is imported
    code = """
import os, sys
from PIL import Image
from fiftyone_iqa.images import ImageReadError, read_image
Image.init()
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    read_image(sys.argv[1])
except ImageReadError as e:
    print(e)
"""
    command = [sys.executable, "-c", code, path]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=60
    )
    assert "no permission to read the file" in result.stdout, result.stderr


def test_a_growing_file_is_read_when_it_is_whole(tmp_path, make_dataset):
    data = encode(photograph(), "JPEG")
    path = tmp_path / "a.jpg"
    path.write_bytes(b"")
    dataset = make_dataset(paths=[path])
    for end in (0, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:end])
        assert fiqa.compute_quality(dataset, metrics="tv").n_failed == 1
        assert dataset.first()["tv"] is None
        assert set(dataset.first()["iqa_failure"]) == {"tv"}
    path.write_bytes(data)
    assert fiqa.compute_quality(dataset, metrics="tv").n_failed == 0
    assert dataset.first()["tv"] > 0
    assert dataset.first()["iqa_failure"] is None


# In a dataset ---------------------------------------------------------------


@pytest.fixture(scope="module")
def storable(corpus):
    """What FiftyOne takes as an image, by its name."""
    import fiftyone.core.media as fom

    found = [
        entry
        for entry in corpus
        if entry.storable and fom.get_media_type(entry.path) == fom.IMAGE
    ]
    assert len(found) > N_FILES - 20
    return found


@pytest.fixture
def dataset(storable, make_dataset, tmp_path, monkeypatch):
    folder = tmp_path / "embedding-cache"
    monkeypatch.setenv("FIFTYONE_IQA_CACHE_DIR", str(folder))
    return make_dataset(
        paths=[entry.path for entry in storable], labels=["cat", "dog"]
    )


def check_values(dataset, entries, fields):
    """Checks a value for every good file, None and a reason for the bad."""
    right = 0
    columns = [dataset.values(field) for field in fields]
    failures = dataset.values("iqa_failure")
    for i, entry in enumerate(entries):
        values = [column[i] for column in columns]
        if entry.good:
            assert failures[i] is None, (entry.name, failures[i])
            assert np.isfinite(values).all(), entry.name
        else:
            assert values == [None] * len(fields), entry.name
            for reason in failures[i].values():
                assert re.search(entry.reason, reason), (entry.name, reason)
        right += 1
    assert right == len(dataset)


@pytest.mark.parametrize("worker_type", ["thread", "process"])
def test_all_in_one_dataset(dataset, storable, worker_type, tmp_path):
    metrics = ("zsclip", "tv", "brightness")
    fields = ("zsclip_qp", "zsclip_ql", "tv", "brightness")
    with time_limit(300):
        report = fiqa.compute_quality(
            dataset,
            metrics=metrics,
            classes=["cat", "dog"],
            encoder="lite",
            worker_type=worker_type,
            num_workers=2,
            batch_size=8,
        )
    n_good = sum(entry.good for entry in storable)
    assert report.n_failed == len(storable) - n_good
    assert [m.scored for m in report.metrics] == [n_good] * 3
    check_values(dataset, storable, fields)

    # As of the pixels themselves, without this file's neighbours
    functions = {"tv": total_variation, "brightness": brightness}
    for name, function in functions.items():
        for value, entry in zip(dataset.values(name), storable):
            if entry.good and entry.tolerance == 0:
                assert value == pytest.approx(function(entry.pixels))

    # And of each alone: no bad image is near
    good = dataset.match_tags("good")
    dataset.select(
        [i for i, e in zip(dataset.values("id"), storable) if e.good]
    ).tag_samples("good")
    assert len(good) == n_good
    together = [good.values(field) for field in fields]
    alone = good.clone()
    try:
        alone.delete_sample_fields([*fields, "zsclip_qh", "zsclip_qm"])
        fiqa.compute_quality(
            alone,
            metrics=metrics,
            classes=["cat", "dog"],
            encoder="lite",
            batch_size=1,
            num_workers=0,
            cache=False,
        )
        for field, values in zip(fields, together):
            assert alone.values(field) == pytest.approx(values, abs=1e-5)
    finally:
        alone.delete()


def test_predictions_of_all(dataset, storable):
    with time_limit(300):
        fiqa.compute_predictions(dataset, "efficientnet_lite0", num_workers=2)
    stem = "efficientnet_lite0"
    check_values(dataset, storable, [f"{stem}_qp", f"{stem}_ql"])
    labels = dataset.values(f"{stem}.label")
    assert [label is not None for label in labels] == [
        entry.good for entry in storable
    ]


def test_corruptions_of_all(dataset, storable, tmp_path):
    with time_limit(300):
        made = fiqa.corrupt_dataset(
            dataset,
            corruptions="contrast",
            severities=1,
            images_dir=tmp_path / "corrupted",
            num_workers=2,
        )
    try:
        ids = dict(zip(dataset.values("id"), storable))
        n_good = sum(entry.good for entry in storable)
        assert made.count_values("corruption") == {
            "clean": n_good,
            "contrast": n_good,
        }
        assert all(ids[id_].good for id_ in made.distinct("source_id"))
        reasons = made.info["iqa_corruptions"]["failures"]
        assert {ids[id_].name for id_ in reasons} == {
            entry.name for entry in storable if not entry.good
        }
        for id_, failure in reasons.items():
            assert re.search(ids[id_].reason, failure["reason"])
    finally:
        made.delete()


def test_exports_of_all_that_are_files(dataset, storable, tmp_path):
    target = tmp_path / "export"
    with time_limit(120), pytest.raises(fiqa.IQAError, match="not there"):
        fiqa.export_slice(dataset, target)
    assert not target.exists()
    # What cannot be decoded can still be handed on
    files = [os.path.isfile(entry.path) for entry in storable]
    view = dataset.select(
        [id_ for id_, there in zip(dataset.values("id"), files) if there]
    )
    with time_limit(120):
        fiqa.export_slice(view, target)
    exported = [p for p in (target / "data").rglob("*") if p.is_file()]
    assert len(exported) == sum(files)
    sizes = sorted(p.stat().st_size for p in exported)
    assert sizes == sorted(map(os.path.getsize, view.values("filepath")))
    assert all(
        Path(os.path.realpath(p)).is_relative_to(target) for p in exported
    )
