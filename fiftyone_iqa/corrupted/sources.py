"""What variants are made of: the source images, and what they carry over."""

from __future__ import annotations

import logging

from ..corruptions import CLEAN
from ..corruptions.protocols import IMAGENET_C
from ..errors import IQAError
from ..faults import is_empty
from ..scoring.source import FAILURE_FIELD, INFO_KEY
from .target import FIELD_DESCRIPTIONS

logger = logging.getLogger(__name__)


class Sources:
    """The images to be corrupted.

    Args:
        samples: a dataset or view of images
        target (None): name of the dataset the variants go to

    Attributes:
        samples: the collection
        dataset: its root dataset
        ids: of the samples that are not themselves corrupted
        filepaths: theirs

    Raises:
        IQAError: if there is no image to corrupt
    """

    def __init__(self, samples, target=None):
        import fiftyone.core.collections as foc
        import fiftyone.core.media as fom

        if not isinstance(samples, foc.SampleCollection):
            raise IQAError(
                "samples must be a FiftyOne dataset or view, not "
                f"{type(samples).__name__}"
            )
        if is_empty(samples):
            raise IQAError(
                "The collection is empty: there is nothing to corrupt"
            )
        if samples.media_type == fom.GROUP:
            raise IQAError(
                "Groups are not corrupted as such; pass one of their slices: "
                "samples.select_group_slices(name)"
            )
        generated = samples._is_patches or samples._is_frames
        if samples.media_type != fom.IMAGE or generated:
            kind = "patches or frames" if generated else samples.media_type
            raise IQAError(
                f"Only datasets and views of images can be corrupted, not of "
                f"{kind}; export those to images first"
            )

        self.samples = samples
        self.dataset = samples._root_dataset
        names = ("corruption", "source_id")
        names = [name for name in names if samples.has_sample_field(name)]
        ids, paths, *columns = samples.values(["id", "filepath", *names])
        row = dict(zip(names, columns))
        nothing = [None] * len(ids)
        same = target == self.dataset.name
        kept = [
            i
            for i, (id_, corruption, source) in enumerate(
                zip(
                    ids,
                    row.get("corruption", nothing),
                    row.get("source_id", nothing),
                )
            )
            if corruption in (None, CLEAN)
            # Also the clean variants among its own samples
            and not (same and source not in (None, id_))
        ]
        if not kept:
            raise IQAError(
                "All samples are corrupted variants already; pass their "
                "source images"
            )
        if len(kept) < len(ids):
            logger.info(
                "%d samples are corrupted variants already and are no sources",
                len(ids) - len(kept),
            )
        self.ids = [ids[i] for i in kept]
        self.filepaths = [paths[i] for i in kept]

    def __len__(self):
        return len(self.ids)


class Carried:
    """The fields that variants take over from their sources.

    Args:
        sources: the :class:`Sources`
        fields: their names, or None for all label fields that do not hold
            predictions
        protocol: one of :data:`fiftyone_iqa.corruptions.PROTOCOLS`

    Attributes:
        names: of the fields
        spatial: those of them whose labels have a place in the image

    Raises:
        IQAError: if a field does not exist, or is about another geometry
    """

    def __init__(self, sources, fields, protocol):
        import fiftyone as fo

        samples, dataset = sources.samples, sources.dataset
        spatial_types = (
            fo.Detection,
            fo.Detections,
            fo.Heatmap,
            fo.Keypoint,
            fo.Keypoints,
            fo.Polyline,
            fo.Polylines,
            fo.Segmentation,
        )
        labels = samples.get_field_schema(
            ftype=fo.EmbeddedDocumentField, embedded_doc_type=fo.Label
        )
        evaluations = {
            key: dataset.get_evaluation_info(key).config
            for key in dataset.list_evaluations()
        }
        self._stale = {FAILURE_FIELD}
        for key in evaluations:
            self._stale |= {key, f"{key}_id", f"{key}_iou"}

        asked = fields is not None
        if asked:
            self.names = _asked_fields(samples, fields)
        else:
            predicted = {
                getattr(config, "pred_field", None)
                for config in evaluations.values()
            }
            self.names = [
                name
                for name in labels
                if name not in predicted
                and not _is_prediction(samples, name, labels[name])
            ]

        self.spatial = [
            name
            for name in self.names
            if name in labels
            and issubclass(labels[name].document_type, spatial_types)
        ]
        if protocol == IMAGENET_C and self.spatial:
            places = ", ".join(self.spatial)
            if asked:
                raise IQAError(
                    f"Labels in {places} have places in the image, which the "
                    "protocol 'imagenet-c' resizes and crops; leave them out "
                    "of fields= or use protocol='native'"
                )
            logger.warning(
                "Labels in %s are left out: the protocol 'imagenet-c' "
                "resizes and crops the image",
                places,
            )
            self.names = [n for n in self.names if n not in self.spatial]
            self.spatial = []

        for path, field in dataset.get_field_schema(flat=True).items():
            root, _, attribute = path.rpartition(".")
            if root.split(".")[0] in self.names and _is_ours(field):
                self._stale.add(attribute)

    def values(self, sample) -> dict:
        """Returns copies of a sample's fields and tags, for a new sample."""
        values = {"tags": list(sample.tags)}
        for name in self.names:
            value = sample[name]
            if hasattr(value, "copy"):
                value = value.copy()
            self._strip(value)
            values[name] = value
        return values

    def _strip(self, label):
        """Removes scores and evaluations, which are about the old pixels."""
        root = getattr(label, "_LABEL_LIST_FIELD", None)
        elements = label[root] if root else [label]
        for element in elements:
            names = getattr(element, "field_names", ())
            for name in self._stale.intersection(names):
                element.clear_field(name)


def _asked_fields(samples, fields):
    fields = [fields] if isinstance(fields, str) else list(fields)
    taken = ("id", "filepath", "metadata", *FIELD_DESCRIPTIONS)
    for name in fields:
        if name in taken or name not in samples.get_field_schema():
            raise IQAError(
                f"fields= names {name!r}, which is no field of the samples "
                "that can be carried over"
            )
    return [name for name in fields if name != "tags"]


def _is_ours(field):
    return INFO_KEY in (field.info or {})


def _is_prediction(samples, name, field):
    """Whether labels were written by a model: they have confidences."""
    if _is_ours(field):
        return True
    root = getattr(field.document_type, "_LABEL_LIST_FIELD", None)
    element = f"{name}.{root}" if root else name
    path = f"{element}.confidence"
    return samples.has_field(path) and samples.count(path) > 0
