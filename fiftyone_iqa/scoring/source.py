"""Where images come from and where values go: the edge to FiftyOne.

Three kinds of collection: samples (values land on samples), object patches
(on the labels) and frames views (on the frames). Each hides how its fields
are declared, read and written.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

from ..errors import IQAError
from ..faults import is_empty, stored
from ..metrics.registry import PREDICTION, Output, Prediction

FAILURE_FIELD = "iqa_failure"
INFO_KEY = "iqa"


@dataclass
class Row:
    """What one update writes to one image or object.

    Attributes:
        index: of the item
        values: by field name
        failures: the whole new ``iqa_failure``, or None to leave it alone
    """

    index: int
    values: dict
    failures: dict | None = None


def open_source(samples) -> SampleSource:
    """Checks a collection and returns its source.

    Raises:
        IQAError: if it is no collection, is empty, or holds no images
    """
    import fiftyone.core.collections as foc
    import fiftyone.core.media as fom

    if not isinstance(samples, foc.SampleCollection):
        raise IQAError(
            "samples must be a FiftyOne dataset or view, not "
            f"{type(samples).__name__}"
        )

    if samples.media_type == fom.GROUP:
        samples = _flatten_groups(samples)
    if samples.media_type == fom.VIDEO:
        raise IQAError(
            "Videos are not scored directly; pass a frames view: "
            "samples.to_frames(sample_frames=True)"
        )
    if is_empty(samples):
        raise IQAError(f"{_name(samples)} is empty: there is nothing to score")
    if samples.media_type != fom.IMAGE:
        raise IQAError(
            f"{_name(samples)} holds {samples.media_type} samples; quality "
            "metrics need images"
        )

    if samples._is_patches:
        return PatchSource(samples)
    if samples._is_frames:
        return FrameSource(samples)
    return SampleSource(samples)


def _name(samples):
    return f"Collection {samples.name or samples.dataset_name!r}"


def _flatten_groups(samples):
    import fiftyone.core.media as fom

    media_types = samples.group_media_types
    if fom.IMAGE not in media_types.values():
        raise IQAError(
            f"{_name(samples)} has no image slices; its group slices are "
            f"{media_types}"
        )
    return samples.select_group_slices(media_type=fom.IMAGE)


class SampleSource:
    """Samples of a dataset or view.

    Attributes:
        dataset: the root dataset, which owns fields and configurations
        samples: the collection to score
    """

    field_root = ""
    view_root = ""
    fields_key = "sample_fields"

    def __init__(self, samples):
        self.samples = samples
        self.dataset = samples._root_dataset

    # -- reading ----------------------------------------------------------

    def check_failure_field(self) -> None:
        """Refuses a field of somebody else's in ``iqa_failure``'s place.

        Raises:
            IQAError: if there is one
        """
        import fiftyone as fo

        field = self.get_field(FAILURE_FIELD)
        if field is not None and not isinstance(field, fo.DictField):
            raise IQAError(
                f"Field {self.field_root + FAILURE_FIELD!r} exists and is a "
                f"{type(field).__name__}; failures are recorded there, so "
                "rename yours first"
            )

    def read(self, field_names) -> tuple[list, list, list, list, dict]:
        """Reads everything a run needs to know, in one aggregation.

        Args:
            field_names: fields whose values decide what is scored already

        Returns:
            ``(ids, filepaths, crop boxes, failures, values)``: four lists of
            length n, and ``{field name: list of n values}`` of the fields
            that exist
        """
        present = [f for f in field_names if self.has_field(f)]
        paths = ["id", "filepath", *map(self._value_path, present)]
        has_failures = self.has_field(FAILURE_FIELD)
        if has_failures:
            paths.append(self.view_root + FAILURE_FIELD)
        boxes_path = self._boxes_path()
        if boxes_path:
            paths.append(boxes_path)

        columns = list(self.samples.values(paths))
        ids, filepaths = columns[0], columns[1]
        boxes = columns.pop() if boxes_path else [None] * len(ids)
        failures = columns.pop() if has_failures else [None] * len(ids)
        self._ids = ids
        return ids, filepaths, boxes, failures, dict(zip(present, columns[2:]))

    def has_field(self, name: str) -> bool:
        """Whether the collection itself has the field to read."""
        return self.samples.has_field(self.view_root + name)

    def get_field(self, name: str):
        """Returns the ``fo.Field`` on the root dataset, or None."""
        return self.dataset.get_field(self.field_root + name)

    def count_values(self, name: str) -> int:
        """Returns how many values the field has in the whole dataset."""
        if self.get_field(name) is None:
            return 0
        return self.dataset.count(self.field_root + name)

    def count_values_here(self, name: str) -> int:
        """Returns how many values the field has in this collection."""
        return (
            self.samples.count(self.view_root + name)
            if self.has_field(name)
            else 0
        )

    def stored(self, names) -> tuple[dict, dict]:
        """Reads what the database says, not what this process remembers.

        Returns:
            ``({name: the field's info, or None if there is no such field},
            the dataset's info)``

        Raises:
            DatasetDeletedError: if the dataset has been deleted
        """
        found = stored(self.dataset, self.fields_key, "info")
        infos = {}
        for name in names:
            fields, info = found[self.fields_key], None
            for part in (self.field_root + name).split("."):
                if part == "frames" and self.fields_key == "frame_fields":
                    continue
                field = next((f for f in fields if f["name"] == part), {})
                fields = field.get("fields") or []
            if field:
                info = field.get("info") or {}
            infos[name] = info
        return infos, found.get("info") or {}

    # -- declaring --------------------------------------------------------

    def declare(self, name: str, output: Output, info: dict) -> None:
        """Makes sure an output's field exists and carries ``info["iqa"]``."""
        import fiftyone as fo

        description = output.description
        ftype, options = fo.FloatField, {}
        if output.kind == PREDICTION:
            ftype = fo.EmbeddedDocumentField
            options = {"embedded_doc_type": fo.Classification}

        field = self.get_field(name)
        info = {**(field.info or {} if field else {}), INFO_KEY: info}
        if field is None:
            self._add_field(
                name, ftype, description=description, info=info, **options
            )
        elif (field.description, field.info) != (description, info):
            field.description = description
            field.info = info
            field.save()
        self._mirror_field(name, ftype, description=description, **options)

    def declare_failures(self) -> None:
        """Makes sure ``iqa_failure`` exists."""
        import fiftyone as fo

        description = (
            "Why a quality metric could not be computed: metric → reason; "
            "empty where all is well"
        )
        if self.get_field(FAILURE_FIELD) is None:
            self._add_field(
                FAILURE_FIELD, fo.DictField, description=description
            )
        self._mirror_field(
            FAILURE_FIELD, fo.DictField, description=description
        )

    def clear(self, names) -> None:
        """Sets fields to None in the whole dataset."""
        for name in names:
            if self.get_field(name) is not None:
                self._clear_field(name)

    def _add_field(self, name, ftype, **kwargs):
        self.dataset.add_sample_field(self.field_root + name, ftype, **kwargs)

    def _mirror_field(self, name, ftype, **kwargs):
        """Declares the field in a generated view's own dataset, if any."""

    def _clear_field(self, name):
        self.dataset.clear_sample_field(self.field_root + name)

    # -- writing ----------------------------------------------------------

    def write(self, rows: list[Row]) -> None:
        """Writes rows, each in one update, so that none is half written."""
        from bson import ObjectId
        from pymongo import UpdateOne

        ids = [self._ids[row.index] for row in rows]
        operations = [
            UpdateOne({"_id": ObjectId(id_)}, {"$set": update})
            for id_, update in zip(ids, map(self._update, rows))
        ]
        self.dataset._bulk_write(operations, ids=ids)

    def check_there(self) -> None:
        """Refuses a dataset that has been deleted meanwhile.

        Raises:
            DatasetDeletedError: if it has
        """
        stored(self.dataset)

    def _update(self, row, root=""):
        update = {
            root + name: _to_mongo(value) for name, value in row.values.items()
        }
        if row.failures is not None:
            update[root + FAILURE_FIELD] = row.failures or None
        # FiftyOne's own writes keep this field up to date
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        update["last_modified_at"] = now
        return update

    def _value_path(self, name):
        """Returns what to read to know whether a field has a value."""
        import fiftyone as fo

        path = self.view_root + name
        # Whole predictions, with logits, would be a lot to read
        field = self.samples.get_field(path)
        if isinstance(field, fo.EmbeddedDocumentField):
            return f"{path}.label"
        return path

    def _boxes_path(self):
        return None


def _to_mongo(value):
    if not isinstance(value, Prediction):
        return value

    import fiftyone as fo

    label = fo.Classification(
        label=value.label, confidence=value.confidence, logits=value.logits
    )
    return label.to_dict()


class FrameSource(SampleSource):
    """Frames of a frames view; values land on the frames of the dataset."""

    field_root = "frames."
    fields_key = "frame_fields"

    def __init__(self, samples):
        super().__init__(samples)
        import fiftyone.core.media as fom

        path = samples.first().filepath
        if fom.get_media_type(path) == fom.VIDEO:
            raise IQAError(
                "This frames view has no image files; make it with "
                "to_frames(sample_frames=True)"
            )

    def _add_field(self, name, ftype, **kwargs):
        self.dataset.add_frame_field(name, ftype, **kwargs)

    def _mirror_field(self, name, ftype, **kwargs):
        if not self.has_field(name):
            self.samples._dataset.add_sample_field(name, ftype, **kwargs)

    def _clear_field(self, name):
        self.dataset.clear_frame_field(name)
        if self.has_field(name):
            self.samples._dataset.clear_sample_field(name)

    def write(self, rows):
        """Writes rows to the view and to the dataset's frames."""
        from bson import ObjectId
        from pymongo import UpdateOne

        ids = [self._ids[row.index] for row in rows]
        operations = [
            UpdateOne({"_id": ObjectId(id_)}, {"$set": update})
            for id_, update in zip(ids, map(self._update, rows))
        ]
        # The dataset first: it is the truth, the view a copy
        self.dataset._bulk_write(operations, ids=ids, frames=True)
        self.samples._dataset._bulk_write(operations, ids=ids)


class PatchSource(SampleSource):
    """Object patches; values land on the labels of the source dataset."""

    def __init__(self, samples):
        super().__init__(samples)
        import fiftyone as fo

        labels = samples._label_fields
        if len(labels) != 1:
            raise IQAError(
                f"A patches view of one label field is needed; this one has "
                f"{list(labels)}. Make it with samples.to_patches(field)"
            )
        if samples._source_collection._is_frames:
            raise IQAError(
                "Patches of frames are not scored; pass the frames view, or "
                "patches of an image dataset"
            )

        (self._label,) = labels
        label_type = samples.get_field(self._label).document_type
        if not issubclass(label_type, fo.Detection):
            raise IQAError(
                f"Patches need bounding boxes; {self._label!r} holds "
                f"{label_type.__name__} labels"
            )

        # FiftyOne makes patches of lists of labels only
        _, self._path = self.dataset._get_label_field_path(self._label)
        self.field_root = f"{self._path}."
        self.view_root = f"{self._label}."

    def read(self, field_names):
        """See :meth:`SampleSource.read`."""
        result = super().read(field_names)
        self._sample_ids = self.samples.values("sample_id")
        self._label_ids = self.samples.values(f"{self._label}.id")
        return result

    def _boxes_path(self):
        return f"{self._label}.bounding_box"

    def _mirror_field(self, name, ftype, **kwargs):
        if not self.has_field(name):
            self.samples._dataset.add_sample_field(
                self.view_root + name, ftype, **kwargs
            )

    def _clear_field(self, name):
        super()._clear_field(name)
        if self.has_field(name):
            self.samples._dataset.clear_sample_field(self.view_root + name)

    def write(self, rows):
        """Writes rows to the labels of the dataset and of the view."""
        from bson import ObjectId
        from pymongo import UpdateOne

        to_source, to_view, source_ids = [], [], []
        for row in rows:
            sample_id = self._sample_ids[row.index]
            source_ids.append(sample_id)
            query = {
                "_id": ObjectId(sample_id),
                f"{self._path}._id": ObjectId(self._label_ids[row.index]),
            }
            update = self._update(row, f"{self._path}.$.")
            to_source.append(UpdateOne(query, {"$set": update}))

            query = {"_id": ObjectId(self._ids[row.index])}
            update = self._update(row, self.view_root)
            to_view.append(UpdateOne(query, {"$set": update}))

        # The dataset first: it is the truth, the view a copy
        self.dataset._bulk_write(to_source, ids=source_ids)
        ids = [self._ids[row.index] for row in rows]
        self.samples._dataset._bulk_write(to_view, ids=ids)
