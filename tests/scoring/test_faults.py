"""A database that is killed, a dataset that is deleted, two at once."""

import json
import os
import sys
import time

import pytest

import fiftyone_iqa as fiqa
from fiftyone_iqa.errors import (
    ConfigurationMismatchError,
    DatabaseUnreachableError,
    DatasetDeletedError,
)
from fiftyone_iqa.images import read_image
from fiftyone_iqa.metrics.pixels import brightness
from fiftyone_iqa.metrics.tv import total_variation

from ..faults import Mongod, kill_all, python

METRICS = ("tv", "brightness")

# Kills the database while it carries out a bulk write, and calls again when
# it is told that there is a database
_KILLED_DATABASE = """
import os, signal, sys, threading, time
import pymongo.monitoring


class Killer(pymongo.monitoring.CommandListener):
    flushes = 0

    def started(self, event):
        updates = event.command.get("updates", ())
        if event.command_name == "update" and len(updates) > 99:
            self.flushes += 1
            if self.flushes == 2:
                threading.Timer(0.005, os.kill, (pid, signal.SIGKILL)).start()

    def succeeded(self, event):
        pass

    failed = succeeded


pid, paths = int(sys.argv[1]), sys.argv[2:]
pymongo.monitoring.register(Killer())
import fiftyone as fo
import fiftyone_iqa as fiqa
from fiftyone_iqa.scoring import pipeline
pipeline._FLUSH_ROWS = 400
dataset = fo.Dataset("flushed", persistent=True)
dataset.add_samples([fo.Sample(p) for p in paths * 60], progress=False)


def score():
    try:
        report = fiqa.compute_quality(dataset, ("tv", "brightness"))
        print("scored", *[(m.scored, m.skipped) for m in report.metrics])
    except Exception as e:
        print(type(e).__name__, e, "cause:", e.__cause__)
    sys.stdout.flush()


score()
sys.stdin.readline()
score()
"""


def test_the_database_is_killed_during_a_flush(
    tmp_path, write_images, record_property
):
    import pymongo

    record_property("fault", "SIGKILL of mongod during a bulk write")
    paths = write_images(20, size=(24, 32))
    n = 20 * 60
    mongod = Mongod(tmp_path / "mongod")
    mongod.start()
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "FIFTYONE_DATABASE_URI": mongod.uri,
        "FIFTYONE_DATABASE_NAME": "faults",
    }
    process = python(
        _KILLED_DATABASE,
        mongod.process.pid,
        *paths,
        env=env,
        stdin=-1,
        stdout=-1,
    )
    client = pymongo.MongoClient(mongod.uri)
    try:
        said = process.stdout.readline()
        assert "DatabaseUnreachableError The connection to FiftyOne's" in said
        assert "call again to do the rest" in said and "cause: None" in said
        assert mongod.process.wait(5), "it was killed"

        mongod.start()
        (samples,) = (
            collection
            for collection in client["faults"].list_collection_names()
            if collection.startswith("samples.")
        )
        samples = client["faults"][samples]
        query = {"tv": {"$type": "double"}}
        n_written = samples.count_documents(query)
        both = {**query, "brightness": {"$type": "double"}}
        assert samples.count_documents(both) == n_written, "none half written"
        assert 400 <= n_written < n
        process.stdin.write("go\n")
        process.stdin.flush()
        counts = (n - n_written, n_written)
        assert process.stdout.readline() == f"scored {counts} {counts}\n"

        functions = {"tv": total_variation, "brightness": brightness}
        for path in paths:
            image = read_image(path)
            found = list(samples.find({"filepath": path}))
            assert len(found) == 60
            for metric, function in functions.items():
                values = [sample[metric] for sample in found]
                assert values == pytest.approx([function(image)] * 60)
    finally:
        kill_all(process, mongod.process)
        client.close()


@pytest.mark.parametrize("same_process", [True, False])
@pytest.mark.parametrize("when", ["before it writes", "while it writes"])
def test_the_dataset_is_deleted(
    make_dataset, encoder_names, record_property, when, same_process
):
    import fiftyone as fo
    import fiftyone.core.odm as foo

    record_property("fault", f"the dataset is deleted {when}")
    dataset = make_dataset(12, labels=["cat", "dog"])
    name, database = dataset.name, foo.get_db_conn()
    collection = dataset._sample_collection_name
    n_images = {"before it writes": 2, "while it writes": 12}[when]

    def delete(bar):
        # The first bar is of the two classes
        if bar.total == n_images and name in fo.list_datasets():
            if same_process:
                dataset.delete()
            else:  # what another process's deletion is to this one
                foo.delete_dataset(name)

    with pytest.raises(DatasetDeletedError, match=f"{name}.*deleted") as e:
        fiqa.compute_quality(
            dataset,
            ("zsclip", "tv"),
            encoder=encoder_names[0],
            batch_size=4,
            cache=False,
            progress=delete,
        )
    assert "another dataset" in str(e.value)
    assert e.value.__cause__ is None
    assert e.value.__context__ is None or e.value.__suppress_context__
    # Nothing of it rises again
    assert name not in fo.list_datasets()
    assert collection not in database.list_collection_names()
    assert database.datasets.find_one({"name": name}) is None
    if same_process:
        with pytest.raises(fiqa.IQAError, match=f"{name}' has been deleted"):
            fiqa.compute_quality(dataset, "tv")
    fo.Dataset(name).delete()


_SECOND_SCORER = """
import sys
import fiftyone as fo
import fiftyone_iqa as fiqa
dataset = fo.load_dataset(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
report = fiqa.compute_quality(dataset, ("tv", "brightness"), batch_size=4)
print([m.scored + m.skipped for m in report.metrics], report.n_failed)
"""


def test_two_scorers_at_once(make_dataset, write_images, record_property):
    record_property("fault", "two processes score one dataset at once")
    paths = write_images(20, size=(150, 200))
    dataset = make_dataset(paths=paths * 6)
    n = len(dataset)
    process = python(_SECOND_SCORER, dataset.name, stdin=-1, stdout=-1)
    try:
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        report = fiqa.compute_quality(dataset, METRICS, batch_size=4)
        assert process.stdout.readline() == f"[{n}, {n}] 0\n"
        assert process.wait(30) == 0
    finally:
        kill_all(process)
    assert [m.scored + m.skipped for m in report.metrics] == [n] * 2
    dataset.reload()
    images = [read_image(path) for path in paths]
    expected = [total_variation(image) for image in images] * 6
    assert dataset.values("tv") == pytest.approx(expected)
    expected = [brightness(image) for image in images] * 6
    assert dataset.values("brightness") == pytest.approx(expected)
    again = fiqa.compute_quality(dataset, METRICS)
    assert [m.skipped for m in again.metrics] == [n] * 2


def collection_of(kind, make_dataset, paths):
    """Returns a collection of a kind, and where its dataset has a score."""
    import fiftyone as fo

    if kind == "frames":
        dataset = make_dataset(paths=["a.mp4"])
        sample = dataset.first()
        for number, path in enumerate(paths, 1):
            sample.frames[number] = fo.Frame(filepath=path)
        sample.save()
        return dataset.to_frames(), "frames.brightness"
    dataset = make_dataset(paths=paths)
    if kind == "samples":
        return dataset, "brightness"
    dataset.set_values(
        "boxes",
        [
            fo.Detections(
                detections=[fo.Detection(bounding_box=[0, 0, 0.5, 0.5])]
            )
            for _ in paths
        ],
    )
    return dataset.to_patches("boxes"), "boxes.detections.brightness"


@pytest.mark.parametrize("kind", ["samples", "patches", "frames"])
def test_fields_that_another_process_overwrites_are_declared_again(
    kind, make_dataset, write_images, record_property
):
    """FiftyOne writes lists of fields as a whole; the last one wins.

    Of two processes that start at the same instant, in one of 40 trials.
    """
    import fiftyone.core.odm as foo

    record_property("fault", "another process overwrites the list of fields")
    samples, path = collection_of(kind, make_dataset, write_images(8))
    dataset = samples._root_dataset
    datasets, query = foo.get_db_conn().datasets, {"name": dataset.name}
    lists = datasets.find_one(query, {"sample_fields": 1, "frame_fields": 1})
    overwritten = []

    def overwrite(bar):
        if not overwritten:
            overwritten.append(datasets.update_one(query, {"$set": lists}))

    fiqa.compute_quality(samples, METRICS, progress=overwrite)
    assert overwritten[0].modified_count == 1
    dataset.reload()
    info = dataset.get_field(path).info
    assert info["iqa"]["metric"] == "brightness"
    assert len(dataset.values(path, unwind=True)) == 8
    assert None not in dataset.values(path, unwind=True)
    failures = path.replace("brightness", "iqa_failure")
    assert dataset.get_field(failures) is not None
    again = fiqa.compute_quality(samples, METRICS)
    assert [m.skipped for m in again.metrics] == [8, 8]


def test_a_configuration_that_changes_meanwhile_is_noticed(
    labelled, encoder_names, record_property
):
    """Two calls at once that ask for different things of one field."""
    record_property("fault", "another process reconfigures a field meanwhile")

    def reconfigure(bar):
        field = labelled.get_field("zsclip_qp")
        if field is not None:
            info = json.loads(json.dumps(field.info))
            info["iqa"]["identity"]["temperature"] = 3.5
            field.info = info
            field.save()

    with pytest.raises(ConfigurationMismatchError, match="3.5.*overwrite=T"):
        fiqa.compute_quality(
            labelled,
            "zsclip",
            encoder=encoder_names[0],
            progress=reconfigure,
        )


def test_a_database_that_is_not_there(
    make_dataset, monkeypatch, record_property
):
    """Any public function, not compute_quality alone."""
    import fiftyone.core.odm as foo
    import pymongo

    record_property("fault", "no database answers")
    dataset = make_dataset(2)
    nowhere = pymongo.MongoClient(
        "mongodb://127.0.0.1:9", serverSelectionTimeoutMS=100
    )
    monkeypatch.setattr(foo.database, "_client", nowhere)
    started = time.monotonic()
    with pytest.raises(DatabaseUnreachableError, match="call again"):
        fiqa.low_quality_view(dataset, "tv", higher_is_better=True)
    assert time.monotonic() - started < 20
    nowhere.close()
