"""Predictability per label and per image, against a scikit-learn loop."""

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import StandardScaler

from fiftyone_iqa.analysis.folds import folds_by_source
from fiftyone_iqa.analysis.group_predictability import predictability_by_group
from fiftyone_iqa.errors import IQAError


def _images(n_ids=80, n_conditions=12, seed=0):
    """Ten images per label; metrics that know much, a little and nothing."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(n_ids), n_conditions)
    latent = rng.normal(size=n_ids)[image]
    latent = latent + 2 * np.tile(rng.normal(size=n_conditions), n_ids)
    noise = rng.normal(size=(len(image), 4)) * [0.5, 1, 1, 1]
    quality = latent[:, None] * [2, -0.3, 0] + noise[:, :3]
    quality = quality * [0.01, 30, 1] + [1, -200, 0]
    # As rows come from a database: in no order
    order = rng.permutation(len(image))
    correct = latent + noise[:, 3] > 0.4
    return quality[order], correct[order], image[order] // 10, image[order]


def _loop(quality, correct, group, fold):
    """One metric, all folds, with scikit-learn."""
    aucs, entropies, bases = {}, [], []
    n_single_class = n_separable = 0
    for g in np.unique(group):
        for f in range(fold.max() + 1):
            train = (group == g) & (fold != f)
            test = (group == g) & (fold == f)
            y, t = correct[train], correct[test]
            if len(set(y)) < 2 or len(set(t)) < 2:
                n_single_class += 1
                continue
            x = quality[train, None]
            if x[y].min() > x[~y].max() or x[y].max() < x[~y].min():
                n_separable += 1
                continue
            scaler = StandardScaler().fit(x)
            model = LogisticRegression(
                C=1.0, tol=1e-10, solver="newton-cholesky"
            )
            model.fit(scaler.transform(x), y)
            z = scaler.transform(quality[test, None])
            p = model.predict_proba(z)[:, 1]
            aucs.setdefault(g, []).append(roc_auc_score(t, p))
            entropies.append(log_loss(t, p))
            bases.append(log_loss(t, np.full(len(t), y.mean())))
    return aucs, entropies, bases, n_single_class, n_separable


@pytest.mark.parametrize("mode", ["label", "image", "row"])
def test_folds_are_judged_as_by_scikit_learn(mode):
    quality, correct, label, image = _images()
    group, source, unit = {
        "label": (label, image, image),
        # A source of its own for each group: folds are of rows
        "image": (image, [f"image {i}" for i in image], None),
        "row": (label, None, None),
    }[mode]
    fold = folds_by_source(unit, 5, 0, group)

    found = predictability_by_group(
        quality, correct, group, source, keep_per_group=True
    )

    assert found.fold_unit == ("source" if mode == "label" else "row")
    assert found.n_groups == len(set(group))
    for j in range(3):
        aucs, entropies, bases, n_single, n_separable = _loop(
            quality[:, j], correct, group, fold
        )
        flat = np.concatenate(list(aucs.values()))
        assert found.n_single_class == n_single
        assert found.n_separable[j] == n_separable
        assert found.n_used[j] == len(flat)
        for value, expected in (
            (found.mean_auc, np.mean(flat)),
            (found.sigma_auc, np.std(flat)),
            (found.mean_cross_entropy, np.mean(entropies)),
            (found.sigma_cross_entropy, np.std(entropies)),
            (found.mean_base_entropy, np.mean(bases)),
        ):
            assert value[j] == pytest.approx(expected, abs=1e-6)
        table = found.per_group.query(f"metric == {j}").set_index("group")
        for g, values in aucs.items():
            assert table.auc[g] == pytest.approx(np.mean(values), abs=1e-9)
    if mode == "image":
        assert found.n_single_class > 0
        assert found.n_separable[0] > 0


def test_outliers_do_not_cost_the_other_rows_their_digits():
    # A held-out value 1e9 times the others' spread, folds almost constant
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(20), 40)
    correct = rng.random(800) < 0.5
    quality = 1e-3 + 1e-6 * (rng.normal(size=800) + correct)
    quality[::40] = 1e3
    quality[40:79] = 0.1
    fold = folds_by_source(None, 5, 0, group)

    found = predictability_by_group(quality, correct, group)

    aucs, entropies, *_ = _loop(quality, correct, group, fold)
    flat = np.concatenate(list(aucs.values()))
    assert found.n_used[0] == len(flat) == 100
    assert found.mean_auc[0] == pytest.approx(flat.mean(), abs=1e-9)
    assert found.mean_cross_entropy[0] == pytest.approx(
        np.mean(entropies), abs=1e-6
    )


def test_raw_auc_is_over_whole_groups_in_the_declared_direction():
    quality, correct, label, image = _images()
    expected = np.array(
        [
            [
                roc_auc_score(correct[label == g], quality[label == g, j])
                for g in range(8)
            ]
            for j in range(3)
        ]
    )
    expected[1] = 1 - expected[1]

    found = predictability_by_group(
        quality, correct, label, image, [True, False, None]
    )

    assert found.mean_raw_auc[:2] == pytest.approx(expected[:2].mean(1))
    assert found.sigma_raw_auc[:2] == pytest.approx(expected[:2].std(1))
    assert found.mean_raw_auc[1] > 0.5
    assert np.isnan(found.mean_raw_auc[2])
    assert found.n_raw == 8


def test_one_metric_is_a_column_of_one():
    quality, correct, label, image = _images()
    found = predictability_by_group(quality[:, 1], correct, label, image)
    among = predictability_by_group(quality, correct, label, image)
    assert found.mean_auc.shape == (1,)
    assert found.mean_auc[0] == among.mean_auc[1]


def test_shuffled_rows_give_the_same_folds_of_sources():
    quality, correct, label, image = _images()
    order = np.random.default_rng(1).permutation(len(image))
    found = predictability_by_group(quality, correct, label, image)
    again = predictability_by_group(
        quality[order], correct[order], label[order], image[order]
    )
    assert again.mean_auc == pytest.approx(found.mean_auc, abs=1e-12)
    reseeded = predictability_by_group(quality, correct, label, image, seed=1)
    assert (reseeded.mean_auc != found.mean_auc).all()


def test_rows_that_lack_anything_are_left_out():
    quality, correct, label, image = _images()
    quality[:5, 1] = np.nan
    some = correct.astype(object)
    some[5:9] = None
    labels = np.array([f"label {g}" for g in label], object)
    labels[9:12] = None

    found = predictability_by_group(quality, some, labels, image)

    assert found.n_missing == 12
    alone = predictability_by_group(
        quality[12:], correct[12:], label[12:], image[12:]
    )
    assert found.mean_auc == pytest.approx(alone.mean_auc, abs=1e-12)


def test_a_metric_constant_in_training_is_chance():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(30), 20)
    correct = rng.random(600) < 0.5
    found = predictability_by_group(np.full(600, 0.1), correct, group)
    assert found.mean_auc[0] == 0.5
    assert found.sigma_auc[0] == 0
    assert found.mean_cross_entropy[0] == pytest.approx(
        found.mean_base_entropy[0], abs=1e-12
    )


def test_noise_is_half_in_the_mean_of_raw_scores():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(500), 76)
    correct = rng.random(len(group)) < 0.6
    found = predictability_by_group(
        rng.normal(size=len(group)), correct, group
    )
    assert found.mean_raw_auc[0] == pytest.approx(0.5, abs=0.01)
    assert found.mean_auc[0] == pytest.approx(0.5, abs=0.02)


def test_nothing_usable_is_said_and_not_invented():
    # Each group all right or all wrong
    group = np.repeat(np.arange(4), 10)
    found = predictability_by_group(
        np.arange(40.0), group % 2 == 0, group, keep_per_group=True
    )
    assert found.n_single_class == 20
    assert found.n_used.tolist() == [0]
    assert found.n_raw == 0
    stored = json.loads(json.dumps(found.to_dict()))
    assert stored["mean_auc"] == stored["mean_raw_auc"] == [None]
    assert "per_group" not in stored
    assert found.per_group.auc.isna().all()
    assert found.per_group.accuracy.tolist() == [1, 0, 1, 0]


def test_separable_folds_are_counted_and_left_to_the_raw_score():
    group = np.repeat(np.arange(3), 20)
    correct = np.tile(np.arange(20) % 2 == 0, 3)
    quality = correct + 0.1 * np.random.default_rng(0).random(60)
    found = predictability_by_group(quality, correct, group)
    assert found.n_separable[0] + found.n_single_class == 15
    assert found.n_separable[0] > 0
    assert found.mean_raw_auc[0] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": [0] * 3}, "group is of shape"),
        ({"source": [None] * 960}, "960 rows have no source"),
        ({"higher_is_better": [True, False]}, "3 metrics and 2 directions"),
        ({"n_folds": 1}, "at least 2"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    quality, correct, label, image = _images()
    arguments = {
        "quality": quality,
        "correct": correct,
        "group": label,
        "source": image,
        **change,
    }
    with pytest.raises(IQAError, match=message):
        predictability_by_group(**arguments)
