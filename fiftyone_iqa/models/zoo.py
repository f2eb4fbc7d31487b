"""FiftyOne models that classify, such as those of its zoo."""

from __future__ import annotations

import difflib

import numpy as np

from ..encoders.base import digest_of_arrays
from ..encoders.hub import hub_reachable
from ..errors import IQAError
from ..network import head
from ..preprocessing import TorchTransform
from .base import ModelUnavailableError, TaskModel
from .torch_models import described


def load_zoo_model(name: str, device: str, classes=None):
    """Loads ``"zoo:<model name>"``.

    Args:
        name: the name with its prefix
        device: a torch device name
        classes (None): passed to the zoo, whose zero-shot models need them

    Returns:
        a ``fiftyone.core.models.Model``

    Raises:
        IQAError: if the zoo has no such model
        ModelUnavailableError: if it cannot be loaded
    """
    import fiftyone.zoo as foz

    model_name = name.removeprefix("zoo:")
    known = foz.list_zoo_models()
    if model_name not in known:
        close = difflib.get_close_matches(model_name, known, 3)
        raise IQAError(
            f"FiftyOne's zoo has no model {model_name!r}"
            + (f"; did you mean {', '.join(close)}?" if close else "")
        )

    _require_weights(name, foz.get_zoo_model(model_name))
    kwargs = {} if classes is None else {"classes": list(classes)}
    try:
        return foz.load_zoo_model(model_name, device=device, **kwargs)
    except Exception as e:  # downloads and loaders raise anything
        raise ModelUnavailableError(
            f"Zoo model {model_name!r} could not be loaded: {e}"
        ) from e


class ZooTaskModel(TaskModel):
    """A ``fiftyone.core.models.Model`` that classifies with logits.

    Its own transforms prepare the images. Where they keep the aspect ratio,
    images of different shapes cannot share a batch.

    Args:
        model: the model, on its device
        slug: the stem of its fields
        name (None): what to call it, by default after its class
        classes (None): its labels, by default the model's own

    Raises:
        IQAError: if it gives no logits, or has no classes or transforms
    """

    def __init__(self, model, slug: str, name=None, classes=None):
        kind = type(model).__name__
        self.name = name or f"model:{kind}"
        self.slug = slug
        classes = classes or getattr(model, "classes", None)
        config = getattr(model, "config", None)
        for missing, what in (
            (not getattr(model, "has_logits", False), "gives no logits"),
            (not classes, "names no classes"),
            (getattr(model, "transforms", None) is None, "has no transforms"),
            (
                getattr(config, "confidence_thresh", None)
                or getattr(config, "filter_classes", None),
                "leaves out some predictions (confidence_thresh or "
                "filter_classes)",
            ),
        ):
            if missing:
                raise IQAError(
                    f"{self.name!r} cannot be a task model: it {what}"
                )

        import torch

        self.classes = tuple(classes)
        # FiftyOne's classes choose it themselves
        self.precision = "model"
        self.device = getattr(model, "device", torch.device("cpu"))
        self.preprocessing = TorchTransform(
            _PixelValues(model.transforms), described(model.transforms)
        )
        self._model = model
        self._takes_mapping = _gives_mapping(model.transforms, self.name)

    def logits(self, batch) -> np.ndarray:
        """See :meth:`TaskModel.logits`."""
        import torch

        batch = torch.as_tensor(batch)
        if self._takes_mapping:
            batch = {"pixel_values": batch}
        model = self._model
        kept = model.preprocess, model.store_logits
        model.preprocess, model.store_logits = False, True
        try:
            with torch.inference_mode():
                labels = model.predict_all(batch)
        finally:
            model.preprocess, model.store_logits = kept
        logits = np.stack([label.logits for label in labels])
        if logits.shape[1] != len(self.classes):
            raise IQAError(
                f"{self.name!r} gives {logits.shape[1]} logits for "
                f"{len(self.classes)} classes"
            )
        return logits.astype(np.float32, copy=False)

    @property
    def network(self):
        """See :attr:`TaskModel.network`."""
        return getattr(self._model, "_model", None)

    def _weights_digest(self):
        if self.network is None:
            raise IQAError(f"{self.name} exposes no weights to identify it by")
        return digest_of_arrays(self.network.state_dict().items())


class _PixelValues:
    """Zoo transforms, without what transformers' processors put around."""

    def __init__(self, transforms):
        self._transforms = transforms

    def __call__(self, image):
        prepared = self._transforms(image)
        if hasattr(prepared, "keys"):
            return prepared["pixel_values"][0]
        return prepared


def _gives_mapping(transforms, name):
    """Tries a grey image: such models want back what their processor gives."""
    from PIL import Image

    prepared = transforms(Image.new("RGB", (64, 64), (128, 128, 128)))
    if not hasattr(prepared, "keys"):
        return False

    others = set(prepared.keys()) - {"pixel_values", "fo_image_size"}
    if "pixel_values" not in prepared or others:
        raise IQAError(
            f"{name!r} cannot be a task model: it wants more than images "
            f"({', '.join(sorted(others))})"
        )
    return True


def _require_weights(name, zoo_model):
    """Raises, in seconds, if weights are neither cached nor reachable."""
    import fiftyone as fo
    import fiftyone.zoo as foz
    from huggingface_hub import try_to_load_from_cache

    if zoo_model.manager is not None:
        url = getattr(zoo_model.manager.config, "url", None)
        if (
            url is None
            or foz.is_zoo_model_downloaded(zoo_model.name)
            or head(url) is not None
        ):
            return
        raise ModelUnavailableError(
            f"The weights of {name!r} are not cached "
            f"({zoo_model.get_path_in_dir(fo.config.model_zoo_dir)} does not "
            f"exist) and {url} cannot be reached. Fetch that file on another "
            "machine and place it there"
        )

    config = zoo_model.default_deployment_config_dict.get("config", {})
    repository = config.get("name_or_path")
    if repository is None or hub_reachable():
        return
    folder = fo.config.model_zoo_dir
    path = try_to_load_from_cache(repository, "config.json", cache_dir=folder)
    if not isinstance(path, str):
        raise ModelUnavailableError(
            f"The weights of {name!r} are not cached (looked for {repository} "
            f"in {folder}) and no hub can be reached. Fetch them on another "
            f"machine with huggingface-cli download {repository} --cache-dir "
            "FOLDER and copy the folder's contents there"
        )
