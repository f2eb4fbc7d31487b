"""The embedding cache: what it serves, what it refuses, what it costs."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import fiftyone_iqa as fiqa
from fiftyone_iqa.scoring.cache import EmbeddingCache, Source


def test_a_new_label_set_needs_no_decoding(labelled, encoder_names):
    first = fiqa.compute_quality(
        labelled, metrics="zsclip", encoder=encoder_names[0]
    )
    assert (first.n_decoded, first.n_from_cache) == (12, 0)

    arguments = {
        "metrics": "zsclip",
        "encoder": encoder_names[0],
        "classes": ["owl", "ant", "bee"],
        "temperature": 2.0,
    }
    cached = fiqa.compute_quality(labelled, field_prefix="c", **arguments)
    assert (cached.n_decoded, cached.n_from_cache) == (0, 12)
    fresh = fiqa.compute_quality(
        labelled, field_prefix="f", cache=False, **arguments
    )
    assert (fresh.n_decoded, fresh.n_from_cache) == (12, 0)
    for name in ("qp", "qh", "ql", "qm"):
        np.testing.assert_allclose(
            labelled.values(f"c_zsclip_{name}"),
            labelled.values(f"f_zsclip_{name}"),
            atol=1e-6,
        )


def test_pixel_metrics_still_decode(labelled, encoder_names):
    fiqa.compute_quality(labelled, metrics="zsclip", encoder=encoder_names[0])
    report = fiqa.compute_quality(
        labelled,
        metrics=("zsclip", "tv"),
        encoder=encoder_names[0],
        field_prefix="x",
    )
    assert (report.n_decoded, report.n_from_cache) == (12, 12)
    assert labelled.count("x_tv") == labelled.count("x_zsclip_qp") == 12


def test_a_changed_file_is_embedded_again(labelled, encoder_names):
    fiqa.compute_quality(labelled, metrics="zsclip", encoder=encoder_names[0])
    path = labelled.values("filepath")[3]
    Image.fromarray(np.zeros((40, 56, 3), dtype=np.uint8)).save(path)
    report = fiqa.compute_quality(
        labelled,
        metrics="zsclip",
        encoder=encoder_names[0],
        overwrite=True,
    )
    assert (report.n_decoded, report.n_from_cache) == (1, 11)


def test_another_encoder_shares_nothing(labelled, encoder_names):
    for prefix, name in zip("ab", encoder_names):
        report = fiqa.compute_quality(
            labelled, metrics="zsclip", encoder=name, field_prefix=prefix
        )
        assert report.n_decoded == 12
    assert labelled.values("a_zsclip_ql") != labelled.values("b_zsclip_ql")


def test_size_is_reported_and_one_call_clears(
    labelled, encoder_names, own_cache
):
    assert fiqa.cache_info()["n_embeddings"] == 0
    fiqa.compute_quality(labelled, metrics="zsclip", encoder=encoder_names[0])
    info = fiqa.cache_info()
    assert info["path"] == str(own_cache)
    assert info["n_embeddings"] == 12 + 2, "images and class prompts"
    on_disk = sum(f.stat().st_size for f in own_cache.iterdir())
    assert info["bytes"] == on_disk > 14 * 32 * 4
    assert fiqa.clear_cache() == on_disk
    assert fiqa.cache_info()["bytes"] == 0
    assert not list(own_cache.iterdir())


def test_cache_false_leaves_no_trace(labelled, encoder_names, own_cache):
    fiqa.compute_quality(
        labelled, metrics="zsclip", encoder=encoder_names[0], cache=False
    )
    assert not own_cache.exists()


def test_crop_boxes_are_different_entries(tmp_path, write_images):
    (path,) = write_images(1)
    cache = EmbeddingCache("space", tmp_path)
    whole, part = Source.of_file(path), Source.of_file(path, [0, 0, 1, 0.5])
    cache.put([whole], np.ones((1, 4)))
    assert cache.get([part]) == [None]
    assert cache.get([whole])[0].tolist() == [1, 1, 1, 1]
    cache.close()


def test_missing_files_are_neither_stored_nor_found(tmp_path):
    cache = EmbeddingCache("space", tmp_path)
    source = Source.of_file(str(tmp_path / "none.png"))
    cache.put([source], np.ones((1, 4)))
    assert cache.get([source]) == [None]
    cache.close()


def test_more_keys_than_one_query_takes(tmp_path):
    cache = EmbeddingCache("space", tmp_path)
    sources = [Source.of_text(str(i)) for i in range(1700)]
    vectors = np.arange(1700 * 3, dtype=np.float32).reshape(1700, 3)
    cache.put(sources, vectors)
    np.testing.assert_array_equal(np.stack(cache.get(sources)), vectors)
    cache.close()


_WRITER = """
import sys
import numpy as np
from fiftyone_iqa.scoring.cache import EmbeddingCache, Source
folder, start = sys.argv[1], int(sys.argv[2])
cache = EmbeddingCache("space", folder)
for i in range(start, start + 300):
    cache.put([Source.of_text(str(i))], np.full((1, 8), i, dtype=np.float32))
cache.close()
"""


def test_processes_write_at_once(tmp_path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path), str(start)],
            env=env,
            stderr=subprocess.PIPE,
            text=True,
        )
        for start in (0, 200, 400)
    ]
    assert [writer.communicate(timeout=60)[1] for writer in writers] == [
        ""
    ] * 3
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    cache = EmbeddingCache("space", tmp_path)
    vectors = cache.get([Source.of_text(str(i)) for i in range(700)])
    assert [float(v[0]) for v in vectors] == list(range(700))
    cache.close()


@pytest.mark.parametrize("space", ["a/b:c", "x" * 500, "ümläut/über"])
def test_any_space_is_a_file_name(tmp_path, space):
    cache = EmbeddingCache(space, tmp_path)
    assert cache.path.parent == tmp_path
    cache.close()


def test_a_file_that_changes_during_the_run_is_not_cached_as_new(
    labelled, encoder_names, monkeypatch
):
    from fiftyone_iqa.encoders.open_clip import OpenCLIPEncoder

    path = labelled.values("filepath")[3]
    encode = OpenCLIPEncoder.encode_images

    def replace_then_encode(self, batch):
        Image.fromarray(np.zeros((40, 56, 3), dtype=np.uint8)).save(path)
        return encode(self, batch)

    arguments = {"metrics": "zsclip", "encoder": encoder_names[0]}
    with monkeypatch.context() as patch:
        patch.setattr(OpenCLIPEncoder, "encode_images", replace_then_encode)
        fiqa.compute_quality(labelled, **arguments)
    report = fiqa.compute_quality(labelled, overwrite=True, **arguments)
    assert (report.n_decoded, report.n_from_cache) == (1, 11)


def test_only_what_is_looked_up_next_is_in_memory(
    labelled, encoder_names, monkeypatch
):
    """Also where nothing is decoded, and so nothing makes the engine wait."""
    from fiftyone_iqa.scoring import pipeline

    arguments = {"metrics": "zsclip", "encoder": encoder_names[0]}
    fiqa.compute_quality(labelled, **arguments)
    monkeypatch.setattr(pipeline, "_CHUNK", 4)
    score, waiting = pipeline.Pipeline._score_inputs, []

    def watched(self, batch):
        waiting.append(len(self._vectors))
        return score(self, batch)

    monkeypatch.setattr(pipeline.Pipeline, "_score_inputs", watched)
    report = fiqa.compute_quality(labelled, overwrite=True, **arguments)
    assert report.n_from_cache == 12
    assert waiting == [4, 4, 4]


def filled(tmp_path, n=50):
    cache = EmbeddingCache("space", tmp_path)
    sources = [Source.of_text(str(i)) for i in range(n)]
    vectors = np.random.default_rng(51).normal(size=(n, 8)).astype("f4")
    cache.put(sources, vectors)
    return cache, sources, vectors


def test_vectors_that_never_reached_the_disk_are_not_served(tmp_path):
    cache, sources, vectors = filled(tmp_path)
    cache.close()
    path = f"{cache.path}.vectors"
    with open(path, "r+b") as file:
        file.truncate(40 * 8 * 4)
        file.seek(10 * 8 * 4)
        file.write(b"\0" * 8 * 4)
    cache = EmbeddingCache("space", tmp_path)
    found = cache.get(sources)
    lost = [i for i, vector in enumerate(found) if vector is None]
    assert lost == [10, *range(40, 50)]
    np.testing.assert_array_equal(found[39], vectors[39])

    # And are stored again
    cache.put([sources[i] for i in lost], vectors[lost])
    np.testing.assert_array_equal(np.stack(cache.get(sources)), vectors)
    cache.close()


def test_a_reader_sees_what_another_writes(tmp_path):
    reader = EmbeddingCache("space", tmp_path)
    assert reader.get([Source.of_text("0")]) == [None]
    writer, sources, vectors = filled(tmp_path, 3)
    np.testing.assert_array_equal(np.stack(reader.get(sources)), vectors)
    more = [Source.of_text(f"more {i}") for i in range(5)]
    writer.put(more, np.ones((5, 8)))
    assert np.stack(reader.get(more)).tolist() == np.ones((5, 8)).tolist()
    writer.put(sources[:1], np.zeros((1, 8)))
    assert reader.get(sources[:1])[0].tolist() == [0] * 8
    reader.close()
    writer.close()


@pytest.mark.parametrize("fault", ["no folder", "no database", "disk full"])
def test_a_cache_that_cannot_be_used_costs_no_score(
    labelled, encoder_names, own_cache, fault, caplog, monkeypatch
):
    arguments = {"metrics": "zsclip", "encoder": encoder_names[0]}
    if fault == "no folder":
        own_cache.write_text("a file")
    elif fault == "no database":
        fiqa.compute_quality(labelled, **arguments)
        for path in own_cache.glob("*.sqlite"):
            path.write_bytes(b"no database at all" * 100)
    elif fault == "disk full":
        own_cache.mkdir()
        monkeypatch.setattr(
            "fiftyone_iqa.scoring.cache._open",
            lambda path: os.fdopen(os.open("/dev/full", os.O_RDWR), "r+b", 0),
        )
    with caplog.at_level("WARNING"):
        report = fiqa.compute_quality(labelled, overwrite=True, **arguments)
    assert report.metrics[0].scored == 12
    assert "Embeddings are not cached" in caplog.text
    assert "FIFTYONE_IQA_CACHE_DIR" in caplog.text
