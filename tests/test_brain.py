"""The brain run: built, stored, loaded, and bad input refused."""

import json
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

import fiftyone_iqa as fiqa
from fiftyone_iqa.errors import ConfigurationMismatchError, IQAError

CONDITIONS = ("blur", "noise", "fog", "snow")
N_SOURCES = 60


def columns(n_sources=N_SOURCES, seed=0):
    """Rows of a corruption grid whose quality tells correctness."""
    rng = np.random.default_rng(seed)
    rows = []
    for source in range(n_sources):
        content = rng.normal()
        for condition in ("clean", *CONDITIONS):
            for severity in [0] if condition == "clean" else range(1, 6):
                latent = content + 1.5 - 0.8 * severity
                latent += 0.3 * CONDITIONS.index(condition) if severity else 0
                right = rng.random() < 1 / (1 + np.exp(-latent))
                rows.append(
                    {
                        "corruption": condition,
                        "severity": severity,
                        "source_id": f"photo{source}",
                        "good": latent + 0.5 * rng.normal(),
                        "worse": -0.4 * latent + rng.normal(),
                        "right": bool(right),
                        "label": "cat" if source % 2 else "dog",
                    }
                )
    return rows


@pytest.fixture(scope="module")
def grid(database):
    import fiftyone as fo

    dataset = fo.Dataset()
    samples = []
    for i, row in enumerate(columns()):
        label = fo.Classification(label=row.pop("label"))
        tags = ["even"] if i % 2 == 0 else ["odd", "all"]
        samples.append(
            fo.Sample(f"/no/{i}.jpg", ground_truth=label, tags=tags, **row)
        )
    dataset.add_samples(samples, progress=False)
    fiqa.use_quality_field(dataset, "good", higher_is_better=True)
    fiqa.use_quality_field(dataset, "worse", higher_is_better=False)
    yield dataset
    dataset.delete()


@pytest.fixture(scope="module")
def results(grid):
    return fiqa.build_quality_prior(
        grid,
        ["worse", "good"],
        "right",
        ground_truth="ground_truth",
        progress=False,
    )


@pytest.fixture(scope="module")
def stored(grid, results):
    grid.clear_cache()
    return grid.load_brain_results("iqa")


def test_what_is_loaded_is_what_was_stored(results, stored):
    assert stored is not results
    assert json.dumps(stored.report) == json.dumps(results.report)
    assert stored.config.serialize() == results.config.serialize()


def test_run_is_managed_by_fiftyone(grid, results):
    import fiftyone as fo

    assert grid.list_brain_runs(type="image_quality") == ["iqa"]
    config = grid.get_brain_info("iqa").config
    assert config.group_by == ["corruption", "severity"]
    assert config.source == "source_id"
    meta = grid._doc.brain_methods["iqa"].results_meta
    assert meta["n"] == len(grid)
    assert meta["auc"]["good"] > meta["auc"]["worse"] > 0.5

    copy = fo.load_dataset(grid.name).clone()
    try:
        copy.rename_brain_run("iqa", "other")
        assert copy.load_brain_results("other").report == results.report
        copy.delete_brain_run("other")
        assert copy.list_brain_runs() == []
        # The run only read these
        assert copy.count("good") == copy.count("right") == len(copy)
    finally:
        copy.delete()


def test_building_again_replaces_the_run(grid, results):
    again = fiqa.build_quality_prior(
        grid, "good", "right", brain_key="twice", progress=False
    )
    fewer = fiqa.build_quality_prior(
        grid.match({"severity": {"$lt": 3}}),
        "good",
        "right",
        brain_key="twice",
        progress=False,
    )
    assert fewer.report["n"] < again.report["n"]
    grid.clear_cache()
    assert grid.load_brain_results("twice").report["n"] == fewer.report["n"]
    assert len(grid.load_brain_view("twice")) == fewer.report["n"]
    grid.delete_brain_run("twice")


def test_loads_without_torch(grid, results):
    code = (
        "import sys, builtins\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('torch', 'torchvision'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from fiftyone_iqa.brain import ImageQualityConfig\n"
        "from fiftyone_iqa.analysis.prior import QualityPrior\n"
        "assert ImageQualityConfig(metrics=['q']).type == 'image_quality'\n"
        "assert not {'torch', 'pyiqa'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_run_keeps_its_worst_slices(grid, results, stored):
    for name in ("good", "worse"):
        own = fiqa.find_slices(
            grid, name, "right", max_slices=30, progress=False
        )
        kept = stored.slices(name)
        assert list(kept) == list(own) and kept.n_tested == own.n_tested
        assert kept.skipped == own.skipped
        assert kept.view(0) == own.view(0)
    assert list(stored.slices()) == list(stored.slices("good"))
    assert len(stored.slices()) > 10
    with pytest.raises(IQAError, match="no metric 'x'"):
        stored.slices("x")


def test_a_run_of_an_earlier_version_has_no_slices(grid, results):
    report = {k: v for k, v in results.report.items() if k != "slices"}
    earlier = type(results)._from_dict(
        {"report": report}, grid, results.config, "iqa"
    )
    assert earlier.metrics == results.metrics and earlier.summary()
    with pytest.raises(IQAError, match=r"find_slices\(samples, 'good'"):
        earlier.slices()


def test_later_schema_is_refused_with_a_sentence(grid, results):
    from fiftyone_iqa.brain import ImageQualityResults

    later = {"report": {**results.report, "schema": 99}}
    with pytest.raises(IQAError, match=r"later version.*upgrade"):
        ImageQualityResults._from_dict(later, grid, results.config, "iqa")


def test_correlation_is_over_corrupted_groups_only(grid, stored):
    table = stored.correlation()
    assert set(table.n_groups) == {20}
    good = table[table.metric == "good"].set_index("coefficient")
    means = {}
    fields = ["corruption", "severity", "good", "right"]
    for row in zip(*grid.values(fields)):
        if row[0] != "clean":
            means.setdefault(row[:2], []).append(row[2:])
    quality, accuracy = np.array(
        [np.mean(v, axis=0) for v in means.values()]
    ).T
    expected = stats.spearmanr(quality, accuracy).statistic
    assert good.signed["SRCC"] == pytest.approx(expected, abs=1e-12)
    worse = table[table.metric == "worse"].set_index("coefficient")
    assert worse.signed["SRCC"] < -0.8
    assert worse.absolute["SRCC"] == -worse.signed["SRCC"]


def test_predictability_table(stored):
    table = stored.predictability().set_index("metric")
    assert list(table.index) == ["good", "worse", "joint"]
    assert table.auc["good"] > table.auc["worse"] > 0.6
    assert table.auc_low["good"] < table.auc["good"] < table.auc_high["good"]
    assert set(table.n_sources) == {N_SOURCES}
    assert (table.cross_entropy < table.base_entropy).all()
    assert "joint" not in set(stored.predictability("paper_raw").metric)


def test_distribution_of_any_field(grid, stored):
    whole = stored.distribution("good")[None]
    assert whole.n == len(grid)
    by = stored.distribution("good", by="severity")
    assert sorted(by) == [0, 1, 2, 3, 4, 5]
    assert by[0].mean > by[5].mean
    pairs = stored.distribution("good", by=["ground_truth.label", "severity"])
    assert ("cat", 5) in pairs
    tags = stored.distribution("good", by="tags")
    assert sorted(tags) == ["all", "even", "odd"]
    assert tags["even"].n + tags["odd"].n == len(grid)
    assert tags["odd"].bin_edges == tags["even"].bin_edges


def test_prior_by_default_predicts_best(stored):
    assert stored.prior().metrics in (("good",), ("worse", "good"))
    assert stored.prior("worse").metrics == ("worse",)
    with pytest.raises(IQAError, match="no prior of 'tv'"):
        stored.prior("tv")


def test_expected_accuracy_of_other_samples(grid, stored):
    view = grid.match({"severity": {"$gte": 4}})
    found = stored.expected_accuracy(view, by="corruption")
    truth = np.mean(view.values("right"))
    assert found.accuracy.low < truth < found.accuracy.high
    assert abs(found.accuracy.value - truth) < 0.08
    assert {s.name for s in found.slices} == set(CONDITIONS)
    assert found.n == len(view)


def test_prior_travels_as_a_file(grid, stored, tmp_path):
    path = tmp_path / "prior.json"
    prior = stored.prior("good")
    prior.save(path)
    view = grid.match({"severity": 3})
    ours = fiqa.expected_accuracy(view, prior).accuracy
    theirs = fiqa.expected_accuracy(view, fiqa.load_prior(path)).accuracy
    assert theirs.value == pytest.approx(ours.value, abs=1e-5)


def test_other_configuration_is_refused(grid, stored):
    import fiftyone as fo

    other = fo.Dataset()
    other.add_samples(
        [fo.Sample(f"/no/{i}.jpg", good=float(i)) for i in range(4)],
        progress=False,
    )
    try:
        with pytest.raises(IQAError, match="no direction"):
            stored.expected_accuracy(other, "good")
        identity = {"encoder": "ViT-B-32", "classes": "abc"}
        field = other.get_field("good")
        field.info = {
            "iqa": {
                "metric": "zsclip",
                "direction": "higher",
                "identity": identity,
            }
        }
        field.save()
        with pytest.raises(ConfigurationMismatchError, match="'good'"):
            stored.expected_accuracy(other, "good")
    finally:
        other.delete()


def test_check_by_class_and_by_condition(grid, stored):
    table = stored.check().set_index("slice")
    assert set(table.index) == {"cat", "dog"}
    assert table.n.sum() == len(grid)
    # Over the data it was learnt from, a prior is right on the whole
    assert abs(np.average(table.difference, weights=table.n)) < 0.01

    table = stored.check(by=["corruption", "severity"], metric="good")
    assert len(table) == 21
    assert (np.diff(table.difference) <= 0).all()


def test_compare(grid, stored):
    table = stored.compare(grid.match({"severity": 5})).set_index("metric")
    assert table.mean_difference["good"] < -1
    assert table.ks["good"] > table.ks["worse"] > 0


def test_cards(stored):
    good, worse = stored.desiderata()
    assert (good.metric, worse.metric) == ("good", "worse")
    assert good.severity_trend < -0.95 and worse.severity_trend < -0.9
    assert good.effect_size > worse.effect_size > 0
    assert good.blind is None and good.agnostic is None  # a stranger's field
    text = stored.summary()
    assert "D3 predictive  AUC" in text and "Best prior" in text
    frame = stored.to_pandas()
    assert list(frame.metric) == ["good", "worse"]
    assert frame.auc_low[0] < frame.auc[0] < frame.auc_high[0]


def test_within_content(stored):
    label, source = stored.within("label"), stored.within("source")
    assert label["n_groups"] == 2 and source["n_groups"] == N_SOURCES
    assert label["mean_raw_auc"][1] > 0.7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": "nothing"}, "has no field 'nothing'; its quality fields"),
        ({"metrics": []}, "metrics is empty"),
        ({"metrics": "tv"}, "has not been computed"),
        ({"metrics": "severity"}, "no direction"),
        ({"metrics": "corruption"}, "is a StringField"),
        ({"correctness": "corruption"}, "no boolean field"),
        ({"correctness": "absent"}, "has no field 'absent'"),
        ({"group_by": "absent"}, "has no field 'absent'"),
        ({"ground_truth": "absent"}, "has no field 'absent'"),
        ({"source": "absent"}, "has no field 'absent'"),
    ],
)
def test_bad_input_is_refused_and_leaves_no_run(grid, arguments, message):
    options = {"metrics": "good", "correctness": "right", **arguments}
    with pytest.raises(IQAError, match=message):
        fiqa.build_quality_prior(grid, brain_key="bad", **options)
    assert "bad" not in grid.list_brain_runs()


def test_no_samples_or_no_key(grid):
    with pytest.raises(IQAError, match="empty"):
        fiqa.build_quality_prior(grid.match({"severity": 9}), "good", "right")
    with pytest.raises(IQAError, match="dataset or view"):
        fiqa.build_quality_prior("grid", "good", "right")
    with pytest.raises(IQAError, match="letters, digits and underscores"):
        fiqa.build_quality_prior(
            grid, "good", "right", brain_key="no key", progress=False
        )


def test_one_outcome_only(grid):
    view = grid.match({"right": True})
    with pytest.raises(IQAError, match="fewer than two source images"):
        fiqa.build_quality_prior(
            view, "good", "right", brain_key="one", progress=False
        )
    assert "one" not in grid.list_brain_runs()


def test_computed_metrics_keep_their_configuration(make_dataset, tmp_path):
    dataset = make_dataset(n=12)
    fiqa.compute_quality(dataset, metrics=("tv", "blur"), progress=False)
    dataset.set_values("right", [i % 3 == 0 for i in range(12)])
    results = fiqa.build_quality_prior(
        dataset, ["tv", "blur"], "right", progress=False
    )
    prior = results.prior("joint")
    prior.save(tmp_path / "prior.json")
    prior = fiqa.load_prior(tmp_path / "prior.json")
    info = dataset.get_field("tv").info["iqa"]
    assert prior.identities[0] == info["identity"]
    assert fiqa.expected_accuracy(dataset, prior).n == 12
    (blur,) = [c for c in results.desiderata() if c.metric == "blur"]
    assert blur.blind and blur.agnostic

    info["identity"]["formula"] = "another one"
    field = dataset.get_field("tv")
    field.info = {"iqa": info}
    field.save()
    with pytest.raises(ConfigurationMismatchError, match="formula was"):
        fiqa.expected_accuracy(dataset, prior)


def test_objects_are_analysed_like_samples(database):
    import fiftyone as fo

    rng = np.random.default_rng(3)
    dataset = fo.Dataset()
    samples = []
    for i in range(80):
        objects = []
        for _ in range(int(rng.integers(0, 5))):
            quality = rng.normal()
            objects.append(
                fo.Detection(
                    label="car",
                    bounding_box=[0, 0, 0.5, 0.5],
                    sharp=quality,
                    found=bool(rng.random() < 1 / (1 + np.exp(-2 * quality))),
                )
            )
        samples.append(
            fo.Sample(
                f"/no/{i}.jpg",
                camera="ab"[i % 2],
                objects=fo.Detections(detections=objects),
            )
        )
    dataset.add_samples(samples, progress=False)
    try:
        path = "objects.detections.sharp"
        dataset.add_dynamic_sample_fields()
        fiqa.use_quality_field(dataset, path, higher_is_better=True)
        results = fiqa.build_quality_prior(
            dataset,
            path,
            "objects.detections.found",
            group_by="camera",
            progress=False,
        )
        report = results.report
        assert report["n"] == dataset.count(path)
        with_objects = [s for s in samples if s.objects.detections]
        assert report["n_sources"] == len(with_objects)
        assert results.predictability().auc[0] > 0.75
        assert [g["name"] for g in report["metrics"][path]["groups"]["rows"]]
        assert results.correlation().empty
        dataset.set_values("flat", [1.0] * len(dataset))
        fiqa.use_quality_field(dataset, "flat", True)
        with pytest.raises(IQAError, match="belongs to objects"):
            fiqa.build_quality_prior(
                dataset, "flat", "objects.detections.found", progress=False
            )
        with pytest.raises(IQAError, match="cannot be analysed together"):
            fiqa.build_quality_prior(
                dataset, ["flat", path], "objects.detections.found"
            )
    finally:
        dataset.delete()
