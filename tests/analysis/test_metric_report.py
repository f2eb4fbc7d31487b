"""All there is to say of a metric: what is in it, and why something is not."""

import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from fiftyone_iqa.analysis.correlation import correlation, group_means
from fiftyone_iqa.analysis.metric_report import (
    Grouping,
    metric_report,
    prior_report,
    within_report,
)
from fiftyone_iqa.analysis.prior import QualityPrior

KEYS = {
    "by_correctness",
    "distribution",
    "groups",
    "correlation",
    "sensitivity",
    "predictability",
    "paper_raw",
    "prior",
    "notes",
}
CORRUPTIONS = ("blur", "fog", "noise")


class Simulated:
    """Images under three corruptions of five severities, and clean ones.

    Attributes:
        values: quality, about one lower per severity
        correct: right less often where quality is low
        source: the original image of each row
        names: of the groups, the clean one last
    """

    def __init__(self, n_sources=40, seed=0):
        rng = np.random.default_rng(seed)
        groups = [(c, s) for c in CORRUPTIONS for s in range(1, 6)]
        groups.append(("clean", 0))
        self.names = [group for group in groups for _ in range(n_sources)]
        self.source = np.tile(np.arange(n_sources), len(groups))
        severity = np.array([name[1] for name in self.names])
        self.values = -severity + rng.normal(0, 0.7, len(severity))
        p = 1 / (1 + np.exp(-3 - self.values))
        self.correct = (rng.random(len(p)) < p).astype(float)

    def grouping(self, names=None):
        return Grouping(
            self.names if names is None else names,
            ("corruption", "severity"),
            frozenset([("clean", 0)]),
        )

    def report(self, sign=1, **kwargs):
        arguments = {
            "values": sign * self.values,
            "correct": self.correct,
            "name": "q",
            "higher_is_better": sign > 0,
            "source": self.source,
            "grouping": self.grouping(),
            "n_resamples": 50,
            **kwargs,
        }
        return metric_report(**arguments)


@pytest.fixture(scope="module")
def simulated():
    return Simulated()


@pytest.fixture(scope="module")
def report(simulated):
    return simulated.report(identity={"encoder": "lite"})


def test_it_says_all_there_is_as_json(simulated, report):
    assert set(report) >= KEYS
    assert report["notes"] == []
    assert not [key for key in KEYS if report[key] is None]
    stored = json.loads(json.dumps(report, allow_nan=False))
    assert stored["predictability"]["protocol"] == "standardised"
    assert stored["paper_raw"]["protocol"] == "paper_raw"
    prior = QualityPrior.from_dict(stored["prior"])
    assert prior.metrics == ("q",)
    assert prior.identities == ({"encoder": "lite"},)
    assert prior.n_sources == 40
    assert prior.between is not None
    assert stored["distribution"]["n"] == len(simulated.values)


def test_groups_have_their_quality_and_accuracy(simulated, report):
    groups = report["groups"]
    assert groups["fields"] == ["corruption", "severity"]
    rows = groups["rows"]
    assert len(rows) == 16
    assert [row["name"] for row in rows if row["clean"]] == [["clean", 0]]
    means = group_means(simulated.values, simulated.correct, simulated.names)
    assert [tuple(row["name"]) for row in rows] == list(means.names)
    assert [row["n"] for row in rows] == [40] * 16
    for key in ("mean", "accuracy"):
        expected = means.quality if key == "mean" else means.accuracy
        assert [row[key] for row in rows] == pytest.approx(expected, abs=1e-12)
    assert sum(sum(row["counts"]) for row in rows) == 640


def test_correlation_leaves_out_clean_groups(simulated, report):
    means = group_means(simulated.values, simulated.correct, simulated.names)
    assert report["correlation"]["n_groups"] == 15
    expected = correlation(
        means.quality[:-1], means.accuracy[:-1], n_resamples=50
    )
    assert report["correlation"] == expected.to_dict()
    srcc = spearmanr(means.quality[:-1], means.accuracy[:-1]).statistic
    assert report["correlation"]["srcc"]["signed"]["value"] == srcc


def test_clean_groups_do_not_make_up_for_missing_ones(simulated):
    kept = np.array(
        [
            name in {("blur", 1), ("blur", 3), ("fog", 2), ("noise", 5)}
            or name[0] == "clean"
            for name in simulated.names
        ]
    )
    found = simulated.report(values=np.where(kept, simulated.values, np.nan))
    assert found["correlation"] is None
    assert found["notes"] == [
        "correlation over groups needs 5 groups with quality and correctness"
    ]
    # Groups without quality are rows without a mean
    empty = [row for row in found["groups"]["rows"] if row["n"] == 0]
    assert len(empty) == 11
    assert {row["mean"] for row in empty} == {None}
    assert {row["n_missing"] for row in empty} == {40}
    json.dumps(found, allow_nan=False)


def test_sensitivity_has_the_sign_of_quality_in_either_direction(simulated):
    higher = simulated.report()
    lower = simulated.report(sign=-1)
    for found in (higher, lower):
        assert found["sensitivity"]["trend"] == -1
        clean = simulated.values[-40:]
        rest = simulated.values[:-40]
        spread = np.sqrt((clean.var(ddof=1) + rest.var(ddof=1)) / 2)
        effect = (clean.mean() - rest.mean()) / spread
        assert effect > 1
        assert found["sensitivity"]["effect_size"] == pytest.approx(effect)
    # Correlations have the metric's own sign
    assert higher["correlation"]["srcc"]["signed"]["value"] > 0.9
    assert lower["correlation"]["srcc"]["signed"]["value"] < -0.9
    assert lower["correlation"]["srcc"]["absolute"]["value"] > 0.9
    # And a metric that rises as images get worse, declared the wrong way
    wrong = simulated.report(sign=-1, higher_is_better=True)
    assert wrong["sensitivity"]["trend"] == 1
    assert wrong["sensitivity"]["effect_size"] < 0
    # Without a direction it is reported as it is
    plain = simulated.report(sign=-1, higher_is_better=None)
    assert plain["sensitivity"]["trend"] == 1
    assert plain["predictability"]["auc"]["value"] is None


def test_trend_is_the_mean_over_conditions(simulated):
    values = simulated.values.copy()
    severity = np.array([name[1] for name in simulated.names])
    fog = np.array([name[0] == "fog" for name in simulated.names])
    values[fog] = 10.0 + severity[fog]  # better and better, beyond clean
    found = simulated.report(values=values)
    assert found["sensitivity"]["trend"] == pytest.approx((-1 + 1 - 1) / 3)


def test_without_severities_or_clean_images_there_is_no_sensitivity(
    simulated,
):
    names = [(f"camera {i % 7}",) for i in range(640)]
    grouping = Grouping(names, ("camera",))
    found = simulated.report(grouping=grouping)
    assert found["sensitivity"] == {"trend": None, "effect_size": None}
    assert found["correlation"]["n_groups"] == 7


def test_without_groups_there_is_the_rest(simulated):
    found = simulated.report(grouping=None)
    assert set(found) >= KEYS
    assert found["groups"] is None
    assert found["correlation"] is None
    assert found["sensitivity"] is None
    assert found["prior"]["between"] is None
    assert found["predictability"]["auc"]["value"] > 0.8
    json.dumps(found, allow_nan=False)


def test_rows_without_a_group_are_no_group(simulated):
    names = [None if i % 4 == 0 else n for i, n in enumerate(simulated.names)]
    found = simulated.report(grouping=simulated.grouping(names))
    assert [row["n"] for row in found["groups"]["rows"]] == [30] * 16
    assert found["distribution"]["n"] == 640
    assert found["prior"]["n"] == 640


def test_fields_that_are_empty_make_no_groups(simulated):
    grouping = simulated.grouping([None] * 640)
    found = simulated.report(grouping=grouping)
    assert found["groups"] is None
    assert found["notes"] == [
        "no row has a group; fill corruption and severity"
    ]


@pytest.mark.filterwarnings("error")
def test_a_constant_metric_says_why_it_has_nothing(simulated):
    # 0.1 is no binary fraction, and the groups are of different sizes
    rows = np.random.default_rng(0).permutation(640)[:500]
    grouping = simulated.grouping([simulated.names[i] for i in rows])
    found = simulated.report(
        values=np.full(500, 0.1),
        correct=simulated.correct[rows],
        source=simulated.source[rows],
        grouping=grouping,
    )
    assert found["correlation"]["srcc"]["signed"]["value"] is None
    assert found["sensitivity"] == {"trend": None, "effect_size": None}
    assert found["prior"] is None
    assert len(found["notes"]) == 2
    assert "correlation over groups is undefined" in found["notes"][0]
    assert found["notes"][1].startswith("no prior: Metric 'q' has the value")
    json.dumps(found, allow_nan=False)


def test_too_few_sources_leave_a_note(simulated):
    few = simulated.source < 4
    names = [n for n, keep in zip(simulated.names, few) if keep]
    found = simulated.report(
        values=simulated.values[few],
        correct=simulated.correct[few],
        source=simulated.source[few],
        grouping=simulated.grouping(names),
    )
    assert found["prior"] is None
    assert len(found["notes"]) == 1
    assert found["notes"][0].startswith("no prior: A prior needs at least 5")
    json.dumps(found, allow_nan=False)


def test_missing_rows_are_counted(simulated):
    values, correct = simulated.values.copy(), simulated.correct.copy()
    values[:10] = np.nan
    correct[5:20] = np.nan
    found = simulated.report(values=values, correct=correct)
    assert found["distribution"]["n_missing"] == 10
    first = found["groups"]["rows"][0]
    assert (first["n"], first["n_missing"]) == (30, 10)
    assert first["accuracy"] == simulated.correct[20:40].mean()
    assert found["predictability"]["n"] == found["prior"]["n"] == 620
    parts = found["by_correctness"]
    judged = np.isfinite(values) & np.isfinite(correct)
    right = np.nansum(correct[judged])
    assert (sum(parts["right"]), sum(parts["wrong"])) == (right, 620 - right)
    total = np.add(parts["right"], parts["wrong"])
    assert (total <= found["distribution"]["counts"]).all()
    json.dumps(found, allow_nan=False)


def test_a_seed_gives_one_report(simulated, report):
    again = simulated.report(identity={"encoder": "lite"})
    assert json.dumps(again) == json.dumps(report)


def test_prior_of_several_metrics(simulated):
    quality = np.stack([simulated.values, simulated.values[::-1]], axis=1)
    notes = []
    found = prior_report(
        quality,
        simulated.correct,
        ["a", "b"],
        [True, False],
        simulated.source,
        simulated.grouping(),
        [None, None],
        0,
        notes,
    )
    assert notes == []
    assert found["metrics"] == ["a", "b"]
    json.dumps(found, allow_nan=False)


def within(simulated, **kwargs):
    arguments = {
        "quality": simulated.values[:, None],
        "correct": simulated.correct,
        "higher_is_better": [True],
        "source": simulated.source,
        "labels": None,
        **kwargs,
    }
    return within_report(**arguments)


def test_within_sources_needs_ten_rows_of_each(simulated):
    found = within(simulated)
    assert found["label"] is None
    assert found["source"]["n_groups"] == 40
    assert found["source"]["fold_unit"] == "row"
    assert found["source"]["mean_raw_auc"][0] > 0.7
    json.dumps(found, allow_nan=False)

    for n, known in ((10, True), (9, False)):
        rows = slice(0, n * 40)
        some = within(
            simulated,
            quality=simulated.values[rows, None],
            correct=simulated.correct[rows],
            source=simulated.source[rows],
        )
        assert (some["source"] is not None) == known


def test_within_labels_needs_labels(simulated):
    labels = [f"class {i % 4}" for i in simulated.source]
    found = within(simulated, labels=labels)
    assert found["label"]["n_groups"] == 4
    assert found["label"]["fold_unit"] == "source"
    assert found["label"]["mean_raw_auc"][0] > 0.7
    json.dumps(found, allow_nan=False)
    labels[:16] = [None] * 16
    assert within(simulated, labels=labels)["label"]["n_missing"] == 16
    assert within(simulated, labels=[None] * 640)["label"] is None


def test_within_needs_rows_that_have_every_metric(simulated):
    # Two metrics, each computed on images the other was not
    quality = np.stack([simulated.values] * 2, axis=1)
    quality[:300, 0] = np.nan
    quality[300:, 1] = np.nan
    found = within(
        simulated,
        quality=quality,
        higher_is_better=[True, True],
        labels=simulated.source.tolist(),
    )
    assert found == {"label": None, "source": None}
