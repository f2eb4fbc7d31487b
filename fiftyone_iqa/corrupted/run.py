"""Makes variants of source images, and their samples, in one pass."""

from __future__ import annotations

import logging
import os

from ..corruptions import CLEAN
from ..corruptions.protocols import NATIVE
from ..scoring.decode import default_num_workers
from .sources import Carried
from .target import Target
from .writer import Job, Variant, WriterPool

logger = logging.getLogger(__name__)

_CHUNK = 2000  # samples added at once


class Run:
    """Makes variants and their samples.

    Everything is checked here; nothing is made before :meth:`make`.

    Args:
        sources: a :class:`.sources.Sources`
        dataset: see :class:`.target.Target`
        name_pattern: of a new dataset, with ``{}`` for the sources'
        settings: a :class:`.writer.Settings`
        images_dir: see :class:`.target.Target`
        plan: what else must be equal in all calls that add to the dataset
        fields: see :class:`.sources.Carried`
        num_workers: number of processes, or None

    Raises:
        IQAError: if an argument is unusable
    """

    def __init__(
        self,
        sources,
        dataset,
        name_pattern,
        settings,
        images_dir,
        plan,
        fields,
        num_workers,
    ):
        self._num_workers = (
            default_num_workers() if num_workers is None else num_workers
        )
        self._sources = sources
        self._settings = settings
        self._target = Target(
            dataset,
            name_pattern.format(self._sources.dataset.name),
            settings,
            images_dir,
            plan,
            self._sources.dataset,
        )
        self._carried = Carried(self._sources, fields, settings.protocol)
        self._target.check_carried(self._carried, self._sources.dataset)

    def make(self, conditions_of, conditions, progress):
        """Makes the variants.

        Args:
            conditions_of: function of a source's index: the ``(corruption,
                severity)`` pairs to be made of it
            conditions: all that may occur
            progress: see :func:`corrupt_dataset`

        Returns:
            the ``fo.Dataset``
        """
        import fiftyone.core.utils as fou

        self._say_what_moves(conditions)
        target = self._target
        target.create(self._carried, self._sources.dataset)
        self._there = target.existing()
        self._failures, self._done, self._pending = {}, set(), []
        counts = [len(conditions_of(i)) for i in range(len(self._sources))]
        logger.info(
            "Writing %d variants to %s", sum(counts), target.images_dir
        )
        pool = WriterPool(
            self._settings, min(self._num_workers, len(self._sources))
        )
        try:
            with fou.ProgressBar(total=sum(counts), progress=progress) as bar:
                results = pool.map(self._jobs(conditions_of))
                for result, count in zip(results, counts):
                    self._take(result)
                    bar.update(count)
        finally:
            # Also on Ctrl-C and a full disk: what is made is kept
            pool.close()
            self._flush()
            target.record_failures(self._failures, self._done)
        self._say_what_failed()
        return target.dataset

    def _jobs(self, conditions_of):
        suffix = self._settings.image_format
        native = self._settings.protocol == NATIVE
        for index, key in enumerate(self._sources.ids):
            job = Job(key, self._sources.filepaths[index])
            for corruption, severity in conditions_of(index):
                parts = corruption, str(severity), f"{key}.{suffix}"
                path = os.path.join(self._target.images_dir, *parts)
                if corruption == CLEAN and native:
                    if (key, corruption, severity) in self._there:
                        continue
                    path = None
                job.variants.append(Variant(corruption, severity, path))
            yield job

    def _take(self, result):
        """Notes a finished job; its samples are added with others."""
        job = result.job
        if result.error is not None:
            self._failures[job.key] = {
                "filepath": job.filepath,
                "reason": result.error,
            }
            return

        self._done.add(job.key)
        new = [
            v
            for v in job.variants
            if (job.key, v.corruption, v.severity) not in self._there
        ]
        if new:
            self._pending.append((job, new))
        if sum(len(new) for _, new in self._pending) >= _CHUNK:
            self._flush()

    def _flush(self):
        if not self._pending:
            return

        pending, self._pending = self._pending, []
        keys = [job.key for job, _ in pending]
        fields = ["tags", *self._carried.names]
        view = self._sources.samples.select(keys).select_fields(fields)
        by_id = {sample.id: sample for sample in view}
        own = self._target.dataset.name == self._sources.dataset.name
        samples, clean = [], []
        for job, variants in pending:
            for variant in variants:
                if own and variant.path is None:
                    clean.append(job.key)
                    continue
                samples.append(self._sample(job, variant, by_id[job.key]))
        self._target.dataset.add_samples(samples, progress=False)
        self._mark_clean(clean)

    def _sample(self, job, variant, source):
        import fiftyone as fo

        return fo.Sample(
            filepath=variant.path or job.filepath,
            **self._carried.values(source),
            corruption=variant.corruption,
            severity=variant.severity,
            source_id=job.key,
            corruption_protocol=self._settings.protocol,
        )

    def _mark_clean(self, ids):
        """Declares samples of the dataset itself to be the clean variants."""
        if not ids:
            return
        columns = {
            "corruption": dict.fromkeys(ids, CLEAN),
            "severity": dict.fromkeys(ids, 0),
            "source_id": {id_: id_ for id_ in ids},
            "corruption_protocol": dict.fromkeys(ids, NATIVE),
        }
        for name, values in columns.items():
            self._target.dataset.set_values(name, values, key_field="id")

    def _say_what_moves(self, conditions):
        if self._carried.spatial and any(
            corruption == "elastic_transform" for corruption, _ in conditions
        ):
            logger.warning(
                "elastic_transform moves pixels, by up to 49 at severities 1 "
                "and 2; the labels in %s stay where they were",
                ", ".join(self._carried.spatial),
            )

    def _say_what_failed(self):
        if not self._failures:
            return
        first = next(iter(self._failures.values()))
        logger.warning(
            "%d of %d images could not be corrupted, e.g. %s: %s",
            len(self._failures),
            len(self._sources),
            first["filepath"],
            first["reason"],
        )
