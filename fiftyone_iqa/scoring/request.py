"""What one call asks of the metrics it configures."""

from __future__ import annotations

from ..encoders import Encoder, get_encoder
from ..errors import IQAError
from ..labels import LabelSet, label_set_of, make_label_set
from .cache import EmbeddingCache, Source
from .configuration import LABEL_SETS_KEY

_TEXT_CHUNK = 64


class Request:
    """The open arguments of a call, resolved once and shared by its metrics.

    Args:
        dataset: the root dataset
        classes, encoder, templates, temperature, device: as given to
            :func:`fiftyone_iqa.compute_quality`
        cache: whether embeddings may be read from and written to disk
        progress: callable, ``(total, label)`` to a context manager that
            yields a function to call with each step's size
    """

    def __init__(
        self,
        dataset,
        classes,
        encoder,
        templates,
        temperature,
        device,
        cache,
        progress,
    ):
        self._dataset = dataset
        self._classes = classes
        self._encoder = encoder
        self.templates = templates
        self.temperature = temperature
        self.device = device
        self.cache = cache
        self._progress = progress
        self._loaded: dict[str | None, Encoder] = {}

    def label_set(self, frozen: dict) -> LabelSet:
        """Returns the label set asked for, else the frozen one."""
        frozen_hash = frozen.get("identity", {}).get("classes")
        if self._classes is not None or frozen_hash is None:
            return label_set_of(self._dataset, self._classes)

        stored = self._dataset.info.get(LABEL_SETS_KEY) or {}
        if frozen_hash in stored:
            source = frozen.get("provenance", {}).get("classes_from", "")
            return make_label_set(stored[frozen_hash], source)

        # Somebody cleared dataset.info; the dataset may still say the same
        labels = label_set_of(self._dataset, None)
        if labels.hash != frozen_hash:
            raise IQAError(
                "The label set these scores were made with is no longer in "
                f"dataset.info[{LABEL_SETS_KEY!r}]; pass it as classes=[...]"
            )
        return labels

    def encoder(self, frozen: dict) -> Encoder:
        """Returns the encoder asked for, else the frozen one."""
        name = frozen.get("provenance", {}).get("encoder_name")
        if self._encoder is not None:
            return self._load(self._encoder)

        encoder = self._load(name)
        frozen_id = frozen.get("identity", {}).get("encoder")
        if frozen_id is not None and encoder.id != frozen_id:
            raise IQAError(
                f"The scores were made with encoder {frozen_id}, but "
                f"{name!r} is now {encoder.id}: its weights changed. Pass the "
                "old weights as encoder=, or field_prefix='other' for a new "
                "field"
            )
        return encoder

    def encode_texts(self, encoder: Encoder, texts: list[str]):
        """Embeds texts, from the cache where they are known.

        Returns:
            ``(k, d)`` float32 unit rows
        """
        import numpy as np

        cache = EmbeddingCache(f"{encoder.id} texts") if self.cache else None
        sources = [Source.of_text(text) for text in texts]
        rows = cache.get(sources) if cache else [None] * len(texts)
        missing = [i for i, row in enumerate(rows) if row is None]
        if missing:
            with self._progress(len(missing), "Embedding classes") as step:
                for start in range(0, len(missing), _TEXT_CHUNK):
                    part = missing[start : start + _TEXT_CHUNK]
                    vectors = encoder.encode_texts([texts[i] for i in part])
                    for i, vector in zip(part, vectors):
                        rows[i] = vector
                    if cache:
                        cache.put([sources[i] for i in part], vectors)
                    step(len(part))
        if cache:
            cache.close()
        return np.stack(rows)

    def _load(self, encoder):
        key = (
            encoder if isinstance(encoder, (str, type(None))) else id(encoder)
        )
        if key not in self._loaded:
            self._loaded[key] = get_encoder(encoder, self.device)
        return self._loaded[key]
