"""Scoring on the workers of a Ray cluster.

The driver resolves and freezes the configuration, as ever, and deals out
shards of ids. Each worker runs the local pipeline over its shard and writes
its own samples; nothing but ids and reports travels. Fields say what is done,
so a shard whose worker died is simply given to another one, which does what
is left.
"""

from __future__ import annotations

import logging
import math
import os
from collections import Counter, deque
from dataclasses import dataclass, replace

from ..errors import IQAError
from .report import QualityReport

logger = logging.getLogger(__name__)

_SHARDS_PER_WORKER = 4
_MIN_SHARD = 200
_MAX_SHARD = 100_000  # ids in one query, of which 16 MB are too much
_ATTEMPTS = 3
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class _Shard:
    number: int
    ids: list[str]
    needed: Counter  # images to score, by metric key
    attempt: int = 1


def score_on_cluster(
    dataset, report: QualityReport, needs: list, call: dict, encoder, step
) -> None:
    """Scores samples on all workers and adds what they did to a report.

    Args:
        dataset: the root dataset, with its fields declared
        report: of the driver, which has counted what is skipped
        needs: ``(id, keys of the metrics to compute)`` of the samples that
            lack values
        call: arguments of ``compute_quality`` for the workers; what a field
            has frozen is left out
        encoder: ``(name, precision)``, or None
        step: callable that advances a progress bar

    Raises:
        IQAError: if Ray is not installed, the database is out of the
            workers' reach, or a shard's workers died three times
    """
    ray = _connected_ray()
    n_workers = _n_workers(ray, call["device"], len(needs))
    if call["num_workers"] is None:
        cores = int(ray.cluster_resources().get("CPU", 1))
        call = {**call, "num_workers": max(1, cores // n_workers)}
    worker_class = _worker_class(ray, call["device"])
    counter = ray.remote(num_cpus=0)(_Counter).remote()

    def start():
        return worker_class.remote(dataset.name, call, encoder, counter)

    waiting = deque(_shards(needs, n_workers))
    running = {}
    workers = [start() for _ in range(n_workers)]
    idle, seen = list(workers), 0
    try:
        while waiting or running:
            while waiting and idle:
                worker, shard = idle.pop(), waiting.popleft()
                future = worker.score.remote(shard.number, shard.ids)
                running[future] = worker, shard
            done, _ = ray.wait(list(running), timeout=_POLL_SECONDS)
            for future in done:
                worker, shard = running.pop(future)
                try:
                    _add(report, ray.get(future), shard)
                except ray.exceptions.RayActorError as e:
                    waiting.append(_again(shard, e))
                    workers.remove(worker)
                    worker = start()
                    workers.append(worker)
                except ray.exceptions.RayTaskError as e:
                    raise e.cause from None
                idle.append(worker)
            total = ray.get(counter.total.remote())
            step(total - seen)
            seen = total
        # Workers do not wait for what they count to arrive
        step(len(needs) - seen)
    finally:
        for actor in [*workers, counter]:
            ray.kill(actor)


def _again(shard, error):
    """Returns the shard for another attempt."""
    if shard.attempt == _ATTEMPTS:
        raise IQAError(
            f"Workers died {_ATTEMPTS} times on the shard of sample "
            f"{shard.ids[0]} ({str(error).strip().splitlines()[0]}). What was "
            "scored is kept; call again to resume"
        ) from None
    logger.warning("A worker died; its shard is given to another one")
    return replace(shard, attempt=shard.attempt + 1)


class _Counter:
    """Counts the images of all workers, for the driver's progress bar."""

    def __init__(self):
        self._done = {}

    def report(self, shard, n):
        self._done[shard] = max(n, self._done.get(shard, 0))

    def total(self):
        return sum(self._done.values())


class _Worker:
    """Scores shards on one machine; keeps its encoder from one to the next."""

    def __init__(self, dataset_name, call, encoder, counter):
        self._dataset_name = dataset_name
        self._call = call
        self._encoder_name = encoder
        self._counter = counter
        self._dataset = None
        self._encoder = None

    def _load(self):
        """Not when the actor is made: an error there is a dead actor's."""
        import fiftyone as fo

        from ..encoders import get_encoder

        if self._dataset is None:
            self._dataset = fo.load_dataset(self._dataset_name)
        if self._encoder is None and self._encoder_name is not None:
            name, precision = self._encoder_name
            self._encoder = get_encoder(name, self._call["device"], precision)

    def score(self, shard, ids):
        from .quality import compute_quality

        self._load()

        def progress(bar):
            # Nobody waits for the answer. A bar of class names comes first
            if bar.total == len(ids):
                self._counter.report.remote(shard, bar.iteration)

        report = compute_quality(
            self._dataset.select(ids),
            encoder=self._encoder,
            progress=progress,
            **self._call,
        )
        self._counter.report.remote(shard, len(ids))
        return report


def _connected_ray():
    try:
        import ray
    except ImportError:
        raise IQAError(
            "executor='ray' needs Ray: pip install 'fiftyone-iqa[ray]'"
        ) from None
    if not ray.is_initialized():
        # A cluster that is started here sends no statistics to Ray's makers
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # RAY_ADDRESS, or a running cluster on this machine, or a new one
        ray.init(ignore_reinit_error=True, log_to_driver=False)
    return ray


def _database_address(ray):
    """Returns the URI of the driver's database, as workers may use it."""
    import fiftyone as fo
    import fiftyone.core.odm as foo

    if fo.config.database_uri:
        return fo.config.database_uri
    machines = {
        node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]
    }
    if len(machines) > 1:
        raise IQAError(
            f"This cluster has {len(machines)} machines, and FiftyOne's own "
            "database serves this one alone; run a MongoDB that all of them "
            "reach and set FIFTYONE_DATABASE_URI"
        )
    host, port = foo.get_db_client().address
    return f"mongodb://{host}:{port}"


def _n_workers(ray, device, n):
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    cores = int(resources.get("CPU", 1))
    available = gpus if gpus and _may_use_gpu(device) else cores
    return max(1, min(available, math.ceil(n / _MIN_SHARD)))


def _worker_class(ray, device):
    import fiftyone as fo

    has_gpu = ray.cluster_resources().get("GPU", 0) > 0
    environment = {
        "FIFTYONE_DATABASE_URI": _database_address(ray),
        "FIFTYONE_DATABASE_NAME": fo.config.database_name,
        "FIFTYONE_DO_NOT_TRACK": "1",
    }
    return ray.remote(_Worker).options(
        num_cpus=1,
        num_gpus=1 if has_gpu and _may_use_gpu(device) else 0,
        runtime_env={"env_vars": environment},
    )


def _may_use_gpu(device):
    return not str(device or "cuda").startswith("cpu")


def _shards(needs, n_workers):
    size = math.ceil(len(needs) / (n_workers * _SHARDS_PER_WORKER))
    size = min(max(size, _MIN_SHARD), _MAX_SHARD)
    for number, start in enumerate(range(0, len(needs), size)):
        part = needs[start : start + size]
        needed = Counter(key for _, keys in part for key in keys)
        yield _Shard(number, [id_ for id_, _ in part], needed)


def _add(report, part, shard):
    """Adds a shard's report.

    What a worker that died had scored counts as scored, though the one after
    it has skipped it.
    """
    by_name = {m.metric: m for m in report.metrics}
    for metric in part.metrics:
        own = by_name[metric.metric]
        own.scored += shard.needed[metric.metric] - metric.failed
        own.failed += metric.failed
    report.failures += part.failures
    report.n_decoded += part.n_decoded
    report.n_from_cache += part.n_from_cache
    report.device = part.device
    for stage, seconds in part.seconds.items():
        if stage != "total":
            report.seconds[stage] = report.seconds.get(stage, 0.0) + seconds
