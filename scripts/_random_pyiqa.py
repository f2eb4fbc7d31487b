"""pyiqa's networks without their weights: what the table and checks run on."""

import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import numpy as np


class _Nothing(dict):
    """A checkpoint without arrays: whatever is looked up is another."""

    def __missing__(self, key):
        return _Nothing()

    def __delitem__(self, key):
        self.pop(key, None)


@contextmanager
def random_weights():
    """Within it, pyiqa builds its networks at seeded random weights.

    A download leaves an empty file; reading that gives random parameters of
    the right shapes where pyiqa computes with the file's content, else a
    checkpoint without arrays, and loading this leaves a network as it was
    initialised. CLIP, whose architecture is read off its file, gets a file.
    """
    import clip.clip
    import scipy.io
    import timm
    import torch
    import transformers
    from facexlib.utils import misc as facexlib_misc
    from pyiqa.archs import afineclip_model, clip_model, topiq_swin
    from pyiqa.utils import download_util

    touched = []

    def touch(url, path, *args, **kwargs):
        touched.append(Path(path))
        touched[-1].touch()

    def reading(read):
        def read_or_make(file, *args, **kwargs):
            if isinstance(file, (str, Path)) and not os.path.getsize(file):
                return _random_content(os.path.basename(file))
            if hasattr(file, "seek"):
                # CLIP's loader tries one format after the other
                file.seek(0)
            return read(file, *args, **kwargs)

        return read_or_make

    def loading(load):
        def load_if_any(self, state_dict, *args, **kwargs):
            if not state_dict:
                return torch.nn.modules.module._IncompatibleKeys([], [])
            return load(self, state_dict, *args, **kwargs)

        return load_if_any

    def untrained(make):
        return lambda *args, **kw: make(*args, **{**kw, "pretrained": False})

    def clip_vision(*args, **kwargs):
        config = transformers.CLIPVisionConfig(patch_size=16)
        return transformers.CLIPVisionModel(config)

    with ExitStack() as stack:
        for owner, name, new in (
            (torch.hub, "download_url_to_file", touch),
            (download_util, "download_url_to_file", touch),
            (facexlib_misc, "download_url_to_file", touch),
            (clip_model, "_download", _random_clip),
            (afineclip_model, "_download", _random_clip),
            (clip.clip, "_download", _random_clip),
            (torch, "load", reading(torch.load)),
            (torch.jit, "load", reading(torch.jit.load)),
            (scipy.io, "loadmat", reading(scipy.io.loadmat)),
            (timm, "create_model", untrained(timm.create_model)),
            (topiq_swin, "create_swin", untrained(topiq_swin.create_swin)),
            (transformers.CLIPVisionModel, "from_pretrained", clip_vision),
            (
                torch.nn.Module,
                "load_state_dict",
                loading(torch.nn.Module.load_state_dict),
            ),
        ):
            stack.enter_context(mock.patch.object(owner, name, new))
        stack.callback(lambda: [path.unlink() for path in touched])
        yield


def _random_content(file):
    """Returns what pyiqa computes with from a file, or nothing."""
    import torch

    rng = np.random.default_rng(0)

    def gaussian(d):
        rows = rng.normal(size=(2 * d, d))
        return rng.normal(size=(1, d)), rows.T @ rows / len(rows)

    if file == "brisque_svm_weights.pth":
        return torch.randn(50), torch.randn(50, 36)
    if file == "brisque_matlab.mat":
        return {"sv": rng.normal(size=(50, 36)), "sv_coef": np.ones((50, 1))}
    if file.startswith("niqe_"):
        mean, covariance = gaussian(36)
        return {"mu_prisparam": mean, "cov_prisparam": covariance}
    if file == "ILNIQE_templateModel.mat":
        model = (
            *gaussian(430),
            rng.normal(size=(1, 468)),
            rng.normal(size=(468, 430)),
        )
        return {"templateModel": [model]}
    if file == "NRQM_model.mat":
        return {"model": _random_forests(rng)}
    if file.startswith("regressor_"):
        return torch.jit.script(torch.nn.Linear(4096, 1))
    if file.startswith("CLIP-IQA%2B_learned"):
        return torch.randn(2, 16, 512) / 50
    if file == "QualiCLIP.pth":
        features = torch.nn.functional.normalize(torch.randn(14, 1024))
        return _Nothing(prompts_features=features)
    return _Nothing()


def _random_forests(rng):
    """Returns three forests of stumps as pyiqa reads them from a file."""
    forests = np.empty((1, 3), dtype=object)
    for i in range(3):
        trees = np.ones((3, 10), dtype=int)
        stump = np.array([[[2], [0], [0]], [[3], [0], [0]]]) * trees
        forest = np.empty((1, 1), dtype=object)
        forest[0, 0] = (
            *stump,
            None,
            None,
            rng.normal(size=(3, 10)),
            rng.uniform(0, 10, (3, 10)),
            trees,
        )
        forests[0, i] = forest
    parts = {"linear": np.ones((4, 1)) / 4, "rf": forests}
    boxes = {}
    for key, part in parts.items():
        boxes[key] = np.empty((1, 1), dtype=object)
        boxes[key][0, 0] = part
    return boxes


def _random_clip(url, folder):
    """Writes a CLIP of the architecture an address stands for."""
    import torch
    from pyiqa.archs.clip_model import CLIP

    path = Path(torch.hub.get_dir(), "random", Path(url).name)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        arguments = {
            "RN50": (1024, 224, (3, 4, 6, 3), 64, None, 512, 8),
            "ViT-B-32": (512, 224, 12, 768, 32, 512, 8),
            "ViT-L-14": (768, 224, 24, 1024, 14, 768, 12),
        }[path.stem]
        *vision, width, heads = arguments
        state = torch.random.get_rng_state()
        torch.manual_seed(0)
        network = CLIP(*vision, 77, 49408, width, heads, 12)
        torch.random.set_rng_state(state)
        torch.save(network.half().state_dict(), path)
    return str(path)
