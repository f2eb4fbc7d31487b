"""Where perturbed images go: a dataset of groups, beside their originals."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from ..errors import IQAError
from ..quality_columns import SOURCE_FIELD
from ..scoring.source import INFO_KEY
from .foundation_plan import ORIGINAL

RECORD_KEY = "iqa_robustness"  # in the info of datasets of perturbed images
METRIC = "foundation_robustness"

_FIELDS = {
    SOURCE_FIELD: "The sample this was made of",
    "fmr_set": "Generator, and the model that steered it",
    "fmr_generator": "What made the image",
    "fmr_guide": "The model whose loss steered the generator",
    "fmr_steps": "Steps until the oracle objected, or the budget was spent",
    "fmr_outcome": "perturbed, or why the original stands in its place: "
    "first step, or original, is not what the oracle takes for the true class",
    "fmr_oracle_score": "The oracle's probability of the true class",
    "fmr_oracle": "The oracle's zero-shot prediction of the original",
}
_CONDITION = "fmr_condition"

PERTURBED, FIRST_STEP, UNRECOGNISED = "perturbed", "first step", "original"


class Output:
    """The dataset of a run: a group per original, a slice per set.

    Nothing is made before :meth:`create`.

    Args:
        name: of the dataset
        images_dir: folder of the files, or None
        plan: the :class:`.foundation_plan.Plan`

    Raises:
        IQAError: if the dataset is not ours, or of another run
    """

    def __init__(self, name, images_dir, plan):
        import fiftyone as fo
        import fiftyone.core.utils as fou

        self._plan = plan
        self.name = name
        self.slices = [ORIGINAL, *(s.name for s in plan.sets)]
        self.dataset = None
        record = {}
        if fo.dataset_exists(name):
            self.dataset = fo.load_dataset(name)
            self.dataset.reload()  # another process may have gone on
            record = dict(self.dataset.info.get(RECORD_KEY) or {})
            if not record:
                raise IQAError(
                    f"Dataset {name!r} exists and holds something else; pass "
                    "another output="
                )
            _check_equal(plan.settings, record["settings"], name)
        try:
            slug = fou.to_slug(name)
        except ValueError as e:
            raise IQAError(f"output= is no name for a dataset: {e}") from None
        known = record.get("images_dir")
        default = Path(fo.config.default_dataset_dir, slug)
        folder = os.path.expanduser(images_dir or known or default)
        self.images_dir = os.path.abspath(folder)
        if known and self.images_dir != known:
            raise IQAError(
                f"Dataset {name!r} has its files in {known}; leave out "
                "images_dir=, or pass another output="
            )
        self._record = {
            "settings": plan.settings,
            "images_dir": self.images_dir,
            "failures": record.get("failures", {}),
        }

    def create(self):
        """Makes what is missing of the folder, the dataset and its fields."""
        import fiftyone as fo

        try:
            os.makedirs(self.images_dir, exist_ok=True)
        except OSError as e:
            raise IQAError(
                f"images_dir {self.images_dir} cannot be written ({e}); pass "
                "another one"
            ) from None
        if self.dataset is None:
            # Persistent, or a killed run could not be resumed
            self.dataset = fo.Dataset(self.name, persistent=True)
        # Before anything else: without it the dataset is nobody's
        self._save_record()
        if self.dataset.group_field is None:
            self.dataset.add_group_field("group", default=ORIGINAL)
        self._declare()

    def done(self) -> set[str]:
        """Returns the originals that are complete; half-made ones go."""
        slices = len(self.slices)
        groups = self._values([SOURCE_FIELD, "id"])
        members: dict[str, list] = {}
        for source, id_ in zip(*groups):
            members.setdefault(source, []).append(id_)
        half = [m for m in members.values() if len(m) != slices]
        if half:
            self.dataset.delete_samples([id_ for m in half for id_ in m])
        return {s for s, m in members.items() if len(m) == slices}

    def add(self, samples) -> None:
        """Adds the samples of some originals, all of their slices at once."""
        self.dataset.add_samples(samples, progress=False)

    def record_failures(self, failures: dict) -> None:
        """Keeps why originals failed, and forgets those that no longer do."""
        self._record["failures"] = failures
        self._save_record()

    def path(self, slice_name, key) -> str:
        """Returns where a set's image of an original lies."""
        return os.path.join(self.images_dir, slice_name, f"{key}.png")

    def _values(self, paths, slice_name=None):
        names = [slice_name] if slice_name else self.dataset.group_slices
        if not names:
            return [[] for _ in paths]
        return self.dataset.select_group_slices(names).values(paths)

    def _save_record(self):
        self.dataset.info[RECORD_KEY] = self._record
        self.dataset.save()

    def _declare(self):
        import fiftyone as fo

        kinds = {
            "fmr_steps": {"ftype": fo.IntField},
            "fmr_oracle_score": {"ftype": fo.FloatField},
            "fmr_oracle": _label_kind(),
        }
        fields = dict(_FIELDS, **{_CONDITION: "Corruption and severity"})
        for name, description in fields.items():
            kind = kinds.get(name, {"ftype": fo.StringField})
            self._add_field(name, description, kind)
        for slug in self._plan.models:
            said = "Prediction of the image in this slice"
            self._add_field(slug, said, _label_kind())
            self._add_field(
                f"{slug}_correct",
                "Whether that prediction is right",
                {"ftype": fo.BooleanField},
            )
        root = self._plan.ground_truth.split(".")[0]
        if not self.dataset.has_sample_field(root):
            self.dataset.add_sample_field(root, **_label_kind())

    def _add_field(self, name, description, kind):
        if not self.dataset.has_sample_field(name):
            info = {INFO_KEY: {"metric": METRIC}}
            self.dataset.add_sample_field(
                name, description=description, info=info, **kind
            )


def _label_kind():
    import fiftyone as fo

    return {
        "ftype": fo.EmbeddedDocumentField,
        "embedded_doc_type": fo.Classification,
    }


def _check_equal(ours, found, name):
    found = json.loads(json.dumps(found))
    for key, value in json.loads(json.dumps(ours)).items():
        if found.get(key) != value:
            raise IQAError(
                f"Dataset {name!r} holds images of a run with another {key}; "
                "pass the same arguments, or another output="
            )


class SetColumns:
    """What a dataset of perturbed images says, as columns.

    Rows are the originals that are complete, in the order of their making.

    Args:
        dataset: an output dataset
        slugs: of the models
        ids: of the samples whose originals are asked for

    Attributes:
        sources: ``(n,)`` ids of the originals' samples
        oracle: ``(n,)`` the oracle's labels of the originals
        steps, accepted, recognised: by set, ``(n,)``
        labels: ``(n,)`` predicted labels by ``(slice, slug)``
        correct: ``(n,)`` bools by ``(slice, slug)``
    """

    def __init__(self, dataset, slugs, ids):
        fields = [SOURCE_FIELD, "fmr_steps", "fmr_outcome", "fmr_oracle.label"]
        fields += [f"{slug}_correct" for slug in slugs]
        fields += [f"{slug}.label" for slug in slugs]
        tables = {}
        for name in dataset.group_slices:
            view = dataset.select_group_slices([name])
            rows = zip(*view.values(fields))
            tables[name] = {row[0]: row[1:] for row in rows}
        complete = set(ids).intersection(*tables.values())
        self.sources = [s for s in tables[ORIGINAL] if s in complete]
        self.steps, self.accepted, self.recognised = {}, {}, {}
        self.correct, self.labels = {}, {}
        k = len(slugs)
        for name, table in tables.items():
            rows = [table[source] for source in self.sources]
            for i, slug in enumerate(slugs):
                self.correct[name, slug] = np.array(
                    [row[3 + i] for row in rows], dtype=bool
                )
                self.labels[name, slug] = [row[3 + k + i] for row in rows]
            if name == ORIGINAL:
                self.oracle = [row[2] for row in rows]
                continue
            outcomes = np.array([row[1] for row in rows], dtype=object)
            self.steps[name] = np.array([row[0] for row in rows], dtype=int)
            self.accepted[name] = outcomes == PERTURBED
            self.recognised[name] = outcomes != UNRECOGNISED

    def __len__(self):
        return len(self.sources)
