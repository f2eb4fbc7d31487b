"""Where variants go: a dataset, and a folder of image files."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from ..errors import IQAError

RECORD_KEY = "iqa_corruptions"  # in the info of datasets with variants
_MANIFEST = "corruptions.json"  # in the folder of their files

FIELD_DESCRIPTIONS = {
    "corruption": "Condition of ImageNet-C; 'clean' for none",
    "severity": "Severity of the corruption, 1 to 5; 0 for clean images",
    "source_id": "The image this is a variant of",
    "corruption_protocol": "Size at corruption: native or imagenet-c",
}


def declare_fields(dataset) -> None:
    """Makes sure a dataset has the fields of corrupted samples."""
    import fiftyone as fo

    for name, description in FIELD_DESCRIPTIONS.items():
        if not dataset.has_sample_field(name):
            ftype = fo.IntField if name == "severity" else fo.StringField
            dataset.add_sample_field(name, ftype, description=description)


def check_fields(dataset) -> None:
    """Refuses fields of other types under the names of ours.

    Raises:
        IQAError: if there is one
    """
    import fiftyone as fo

    for name in FIELD_DESCRIPTIONS:
        field = dataset.get_field(name)
        ftype = fo.IntField if name == "severity" else fo.StringField
        if field is not None and not isinstance(field, ftype):
            raise IQAError(
                f"Field {name!r} of dataset {dataset.name!r} is a "
                f"{type(field).__name__}; corrupted samples need it as a "
                f"{ftype.__name__}, so rename yours first"
            )


class Target:
    """The dataset that variants are added to, and the folder of their files.

    Nothing is made before :meth:`create`.

    Args:
        dataset: an ``fo.Dataset``, a name, or None for ``default_name``
        default_name: a name
        settings: the :class:`Settings`
        images_dir: the folder, or None
        plan: what else must be equal in all calls that add to the dataset
        source: the sources' dataset

    Attributes:
        dataset: the ``fo.Dataset``, None where it is to be made
        images_dir: absolute path

    Raises:
        IQAError: if the dataset is not ours to add to, or it or the folder
            holds variants of other settings
    """

    def __init__(
        self, dataset, default_name, settings, images_dir, plan, source
    ):
        import fiftyone as fo
        import fiftyone.core.utils as fou

        if not isinstance(dataset, (fo.Dataset, str, type(None))):
            raise IQAError(
                "dataset must be a FiftyOne dataset or the name of one, not "
                f"{type(dataset).__name__}"
            )

        given = isinstance(dataset, fo.Dataset)
        self._name = dataset.name if given else dataset or default_name
        self.dataset = dataset if given else None
        if not given and fo.dataset_exists(self._name):
            self.dataset = fo.load_dataset(self._name)
            ours = RECORD_KEY in self.dataset.info
            if not ours and self._name != source.name:
                raise IQAError(
                    f"Dataset {self._name!r} exists; pass another dataset=, "
                    "or the dataset itself, "
                    f"dataset=fo.load_dataset({self._name!r}), to add to it"
                )

        self._settings = {**asdict(settings), **plan}
        self._record = {}
        if self.dataset is not None:
            self._check_dataset()
        try:
            slug = fou.to_slug(self._name)
        except ValueError as e:
            raise IQAError(f"dataset= is no name for a dataset: {e}") from None
        known = self._record.get("images_dir")
        images_dir = images_dir or known
        images_dir = images_dir or Path(fo.config.default_dataset_dir, slug)
        self.images_dir = os.path.abspath(os.path.expanduser(images_dir))
        if known and self.images_dir != known:
            raise IQAError(
                f"Dataset {self._name!r} has its files in {known}; leave out "
                "images_dir=, or pass another dataset="
            )
        self._files = asdict(settings)
        self._check_folder()

    def _check_dataset(self):
        import fiftyone.core.media as fom

        if self.dataset.media_type not in (None, fom.IMAGE):
            raise IQAError(
                f"Dataset {self._name!r} holds {self.dataset.media_type} "
                "samples; corrupted images need a dataset of images"
            )
        check_fields(self.dataset)
        self._record = dict(self.dataset.info.get(RECORD_KEY) or {})
        if self._record:
            place = f"Dataset {self._name!r}"
            _check_equal(
                self._settings, self._record["settings"], place, "dataset"
            )

    def _check_folder(self):
        manifest = Path(self.images_dir, _MANIFEST)
        if manifest.is_file():
            found = json.loads(manifest.read_text("utf-8"))
            place = f"Folder {self.images_dir}"
            _check_equal(self._files, found, place, "images_dir")
        elif os.path.exists(self.images_dir) and not os.path.isdir(
            self.images_dir
        ):
            raise IQAError(
                f"images_dir {self.images_dir} is a file; pass a folder"
            )

    def check_carried(self, carried, source) -> None:
        """Refuses fields that are of another type in the target.

        Raises:
            IQAError: if there is one
        """
        if self.dataset is None:
            return
        for name in carried.names:
            mine, theirs = self.dataset.get_field(name), source.get_field(name)
            if mine is not None and (
                type(mine) is not type(theirs)
                or getattr(mine, "document_type", None)
                is not getattr(theirs, "document_type", None)
            ):
                raise IQAError(
                    f"Field {name!r} is of different types in datasets "
                    f"{source.name!r} and {self._name!r}; rename one, or "
                    "leave it out of fields="
                )

    def create(self, carried, source) -> None:
        """Makes what is missing of the folder, the dataset and its fields."""
        import fiftyone as fo

        try:
            os.makedirs(self.images_dir, exist_ok=True)
            manifest = Path(self.images_dir, _MANIFEST)
            if not manifest.exists():
                part = manifest.with_suffix(".part")
                part.write_text(json.dumps(self._files), "utf-8")
                os.replace(part, manifest)
        except OSError as e:
            raise IQAError(
                f"images_dir {self.images_dir} cannot be written ({e}); pass "
                "another one"
            ) from None

        if self.dataset is None:
            # Persistent, or a killed run could not be resumed
            self.dataset = fo.Dataset(self._name, persistent=True)
            _copy_vocabulary(source, self.dataset, carried.names)
        declare_fields(self.dataset)
        self._record.setdefault("failures", {})
        self._record["settings"] = self._settings
        self._record["images_dir"] = self.images_dir
        self._save_record()

    def existing(self) -> set:
        """Returns the ``(source_id, corruption, severity)`` that are there."""
        names = ["source_id", "corruption", "severity"]
        return set(zip(*self.dataset.values(names)))

    def record_failures(self, failures: dict, done: set) -> None:
        """Keeps why sources failed, forgets those that no longer do."""
        known = {
            k: v for k, v in self._record["failures"].items() if k not in done
        }
        self._record["failures"] = {**known, **failures}
        self._save_record()

    def _save_record(self):
        self.dataset.info[RECORD_KEY] = self._record
        self.dataset.save()


def _check_equal(ours, found, place, argument):
    for name, value in ours.items():
        if found.get(name) == value:
            continue
        if name == "sources":
            raise IQAError(
                f"{place} is a mixture of other source images; pass those or "
                f"another {argument}="
            )
        raise IQAError(
            f"{place} holds variants made with {name}="
            f"{found.get(name)!r}, not {value!r}; pass the same settings or "
            f"another {argument}="
        )


def _copy_vocabulary(source, target, fields):
    """Gives a new dataset the classes and mask targets of its source."""
    target.default_classes = source.default_classes
    target.default_mask_targets = source.default_mask_targets
    target.default_skeleton = source.default_skeleton
    for name in ("classes", "mask_targets", "skeletons"):
        known = getattr(source, name)
        setattr(target, name, {k: v for k, v in known.items() if k in fields})
    target.save()
