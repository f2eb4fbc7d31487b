"""What confusion is good for in training: groups, weights, GroupDRO."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .analysis.clusters import clustered_mean
from .analysis.estimate import Estimate
from .arguments import checked
from .confusion.networks import check_model
from .confusion.objectives import ERM, GroupDRO
from .confusion_groups import ScoreBands, image_source, read_hardness
from .confusion_inputs import read_inputs, read_rows
from .confusion_training import Recipes, labels_as_numbers
from .errors import IQAError
from .scoring.cache import runs_dir
from .scoring.quality import progress_bar

_OBJECTIVES = ("erm", "group_dro")


@dataclass(frozen=True)
class MitigationReport:
    """Errors of ERM and GroupDRO, by band.

    Attributes:
        bands: of each band ``group``, ``low`` and ``high`` ends of the
            score, ``n_train``, ``n_test``, ``weight`` (GroupDRO's, sums to
            1; mean over seeds) and ``image_weight`` (an image's, 1 on
            average)
        errors: of each band, and of all, the :class:`Estimate` of ``erm``,
            ``group_dro`` and ``difference`` (below 0: GroupDRO errs less)
            over the test images, each the mean over the seeds; intervals
            are clustered by original
        seeds: how many networks of each kind were trained
        files: the weights written, where they were asked for
    """

    bands: tuple[dict, ...]
    errors: tuple[dict[str, Estimate], ...]
    seeds: int
    files: tuple[str, ...] = ()

    def to_dict(self) -> dict:
        """Returns JSON-serialisable values."""
        return {
            "bands": list(self.bands),
            "errors": [
                {name: e.to_dict() for name, e in row.items()}
                for row in self.errors
            ],
            "seeds": self.seeds,
            "files": list(self.files),
        }

    def to_pandas(self):
        """Returns a ``pandas.DataFrame``: a row per band, and one of all."""
        import pandas as pd

        whole = {"group": "all"}
        whole["n_train"] = sum(b["n_train"] for b in self.bands)
        whole["n_test"] = sum(b["n_test"] for b in self.bands)
        rows = []
        for about, errors in zip([*self.bands, whole], self.errors):
            row = dict(about)
            for name, e in errors.items():
                row[name] = e.value
                row[f"{name}_low"], row[f"{name}_high"] = e.low, e.high
            rows.append(row)
        return pd.DataFrame(rows)

    def __str__(self):
        lines = [f"top-1 error, mean over {self.seeds} seeds"]
        names = [
            f"band {b['group']} (n = {b['n_test']:,})" for b in self.bands
        ]
        for name, row in zip([*names, "all"], self.errors):
            lines.append(
                f"  {name}: ERM {row['erm']}, GroupDRO {row['group_dro']}, "
                f"difference {row['difference']}"
            )
        return "\n".join(lines)


@checked
def mitigate_confusion(
    samples,
    label_field,
    evaluate_on,
    metric="confusion",
    quantile=None,
    edges=None,
    higher_is_better=None,
    model="resnet18",
    seeds=3,
    epochs=20,
    image_size=None,
    encoder=None,
    step_size=0.01,
    adjustment=0.0,
    export_dir=None,
    batch_size=None,
    learning_rate=2e-3,
    seed=1000,
    device=None,
    num_workers=None,
    progress=None,
) -> MitigationReport:
    """Trains with bands of confusion as GroupDRO's groups, and without.

    Section 3.4 of Albiero et al. 2023, with the algorithm of Sagawa et al.
    2020: groups are drawn alike, and those with higher losses gain weight.
    The same networks are trained by plain ERM, and both are judged on other
    images, band by band. It may not help: in the paper the hard half's error
    falls by 1.3 points and the easy half's rises by 0.8. Nothing is written
    to the dataset.

    A run that was killed goes on at its last epoch when it is called again.

    Args:
        samples: what to train on; images without a label or a score are left
            out
        label_field: a field of one label per image
        evaluate_on: other images, with labels and scores
        metric ("confusion"): a quality field
        quantile (None): see :func:`confusion_weights`; the share is of the
            training images
        edges (None): see :func:`confusion_weights`
        higher_is_better (None): see :func:`confusion_weights`
        model ("resnet18"): see :func:`fiftyone_iqa.confusion_score`
        seeds (3): networks of each kind
        epochs (20): of training
        image_size (None): see :func:`fiftyone_iqa.confusion_score`
        encoder (None): see :func:`fiftyone_iqa.confusion_score`
        step_size (0.01): how fast the groups' weights follow their losses
        adjustment (0.0): C of Sagawa et al.'s section 3.3, which favours
            small groups
        export_dir (None): a folder for the networks' weights, by default
            none are kept
        batch_size (None): images per step, see
            :func:`fiftyone_iqa.confusion_score`
        learning_rate (2e-3): see :func:`fiftyone_iqa.confusion_score`
        seed (1000): of the first network. Take others than the score's own:
            the hard images were chosen by the mistakes of those
        device (None): torch device
        num_workers (None): images decoded at once
        progress (None): see :func:`fiftyone_iqa.compute_quality`

    Returns:
        a :class:`MitigationReport`

    Raises:
        IQAError: if an argument is unusable, a band is empty, or images to
            train on are among those to judge
    """
    options = {
        "model": model,
        "seeds": seeds,
        "epochs": epochs,
        "image_size": image_size,
        "encoder": encoder,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "device": device,
        "num_workers": num_workers,
    }
    source, test = image_source(samples), image_source(evaluate_on)
    check_model(model)
    # What is judged comes first, as what is scored does
    rows = read_rows(test, label_field, source.samples)
    recipes = Recipes(options, int(rows.train.sum()))
    _check_apart(rows, source)
    field, train_hardness = read_hardness(source, metric, higher_is_better)
    _, test_hardness = read_hardness(test, metric, higher_is_better)
    by_id = dict(zip(source.read([])[0], train_hardness))
    hardness = np.concatenate(
        [test_hardness, [by_id[i] for i in rows.ids[rows.n_scored :]]]
    )
    usable = np.isfinite(hardness) & (labels_as_numbers(rows) >= 0)
    bands = ScoreBands(field, hardness[usable & rows.train], quantile, edges)
    group = np.where(usable, bands.of(np.nan_to_num(hardness)), -1)
    recipes.check_network(len(rows.classes))
    target = _checked_folder(export_dir)
    bands.check(np.bincount(group[usable & rows.train], minlength=bands.n))

    data = [list(map(str, rows.ids)), rows.labels, group.tolist()]
    run = [recipes.identity, data, step_size, adjustment]
    folder = runs_dir() / _digest(run)
    n_train = int((usable & rows.train).sum())
    total = len(rows) + 2 * seeds * epochs * n_train
    with progress_bar(total, "Training", progress) as step:
        array, failures = read_inputs(
            rows, recipes.reader, folder, num_workers, step
        )
        usable[list(failures)] = False
        train = np.flatnonzero(usable & rows.train)
        judged = np.flatnonzero(usable[: rows.n_scored])
        counts = np.bincount(group[train], minlength=bands.n)
        bands.check(counts)
        objectives = {
            "erm": lambda: ERM(train),
            "group_dro": lambda: GroupDRO(train, group, step_size, adjustment),
        }
        trained = {
            name: _trained(
                recipes,
                rows,
                recipes.inputs(array),
                train,
                objectives[name],
                folder / name,
                step,
                name,
            )
            for name in _OBJECTIVES
        }
        wrong = {n: _wrong(e, judged, rows) for n, e in trained.items()}
    files = _exported(trained, target)
    del array
    shutil.rmtree(folder, ignore_errors=True)
    members = trained["group_dro"].members
    return MitigationReport(
        bands.table(
            counts,
            np.bincount(group[judged], minlength=bands.n),
            np.mean([m.objective.weights.numpy() for m in members], axis=0),
            np.mean([m.objective.image_weights() for m in members], axis=0),
        ),
        _errors(
            wrong, group[judged], [rows.group[i] for i in judged], bands.n
        ),
        seeds,
        files,
    )


def _trained(recipes, rows, inputs, train, objective, folder, step, name):
    said = [None]
    ensemble = recipes.ensemble(
        inputs,
        rows,
        train,
        labels_as_numbers(rows),
        objective=objective,
        directory=folder,
    )

    def on_epoch(epoch, losses):
        said[0] = f"[{name}, epoch {epoch}, loss {np.mean(losses):.3f}]"

    ensemble.fit(lambda n: step(n, said[0]), on_epoch)
    return ensemble


def _wrong(ensemble, judged, rows):
    """Returns ``(m,)`` shares of the members that are wrong."""
    truth = labels_as_numbers(rows)
    predicted = [p.argmax(axis=2) for _, p in ensemble.probabilities(judged)]
    return (np.hstack(predicted) != truth[judged]).mean(axis=0)


def _errors(wrong, group, source, n_bands):
    pairs = {**wrong, "difference": wrong["group_dro"] - wrong["erm"]}
    source = np.asarray(source, dtype=object)
    found = []
    for band in [*range(n_bands), None]:
        inside = group == band if band is not None else group >= 0
        found.append(
            {
                name: clustered_mean(values[inside], source[inside])
                if inside.any()
                else Estimate(None)
                for name, values in pairs.items()
            }
        )
    return tuple(found)


def _check_apart(rows, source):
    """Refuses test images that are trained on, or variants of them."""
    if len(rows) != rows.n_scored + len(source.samples):
        raise IQAError(
            "Images of evaluate_on are among the samples to train on; pass "
            "other ones"
        )
    shared = set(rows.group[: rows.n_scored]) & set(
        rows.group[rows.n_scored :]
    )
    if shared:
        raise IQAError(
            f"evaluate_on has variants of {len(shared):,} originals that are "
            "trained on; pass variants of others"
        )


def _checked_folder(export_dir):
    if export_dir is None:
        return None
    folder = Path(export_dir)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise IQAError(
            f"export_dir {str(folder)!r} is no empty folder; pass another"
        )
    return folder


def _exported(trained, folder):
    from safetensors.torch import save_file

    if folder is None:
        return ()
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, ensemble in trained.items():
        for member in ensemble.members:
            path = folder / f"{name}-seed-{member.seed}.safetensors"
            state = {
                key: tensor.contiguous().clone()
                for key, tensor in member.module.state_dict().items()
            }
            save_file(state, path)
            files.append(str(path))
    return tuple(files)


def _digest(value):
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12]
