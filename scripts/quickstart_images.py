"""The quickstart's images: where they come from, and their dataset."""

from __future__ import annotations

import importlib.util
import os
import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import fiftyone as fo
import fiftyone.core.media as fom
import fiftyone.core.utils as fou
import numpy as np
from PIL import Image

from fiftyone_iqa.corruptions import corrupt
from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.images import read_image

MARKER = "fiftyone_iqa_quickstart"  # in the info of datasets made here
CORRUPTIONS = (
    "gaussian_noise",
    "defocus_blur",
    "contrast",
    "jpeg_compression",
)
SEVERITIES = (1, 3, 5)
LONG_SIDE = 256  # the benchmark's corruptions are meant for 224 pixels
ZOO_IMAGES = 200
SEED = 51

# Photographs inside the wheels of scikit-image and scikit-learn, of things
# with common names: a label for a texture or a tissue means little to a model
PHOTOGRAPHS = {
    "skimage/data": {
        "astronaut.png": "astronaut",
        "camera.png": "photographer",
        "chelsea.png": "cat",
        "coffee.png": "cup of coffee",
        "coins.png": "coins",
        "motorcycle_left.png": "motorcycle",
        "page.png": "printed page",
        "rocket.jpg": "rocket",
        "text.png": "handwriting",
    },
    "sklearn/datasets/images": {
        "china.jpg": "pagoda",
        "flower.jpg": "flower",
    },
}

# ImageNet's names for what some of them show; the rest it has no class for
IMAGENET_NAMES = {
    "Egyptian cat": "cat",
    "tabby": "cat",
    "tiger cat": "cat",
    "espresso": "cup of coffee",
    "cup": "cup of coffee",
    "coffee mug": "cup of coffee",
    "moped": "motorcycle",
    "motor scooter": "motorcycle",
    "tripod": "photographer",
    "reflex camera": "photographer",
    "palace": "pagoda",
    "stupa": "pagoda",
    "missile": "rocket",
    "projectile": "rocket",
}


@dataclass(frozen=True)
class Source:
    """An image and its label, if it has one."""

    path: Path
    label: str | None

    @property
    def id(self) -> str:
        return self.path.stem


def photographs() -> list[Source]:
    """Returns the photographs of the installed packages."""
    sources = []
    for folder, labels in PHOTOGRAPHS.items():
        package, _, inside = folder.partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None:
            continue
        root = Path(spec.submodule_search_locations[0], inside)
        for name, label in labels.items():
            if (root / name).is_file():
                sources.append(Source(root / name, label))

    if not sources:
        raise IQAError(
            "The photographs of scikit-image and scikit-learn are not "
            "installed; give a folder of your own with --images"
        )
    return sources


def zoo_images() -> list[Source]:
    """Downloads the zoo's images and returns a seeded part of them."""
    import fiftyone.zoo as foz

    dataset = foz.load_zoo_dataset(
        "imagenet-sample",
        dataset_name=f"{MARKER}-{os.getpid()}",
        drop_existing_dataset=True,
    )
    try:
        values = dataset.values(["filepath", "ground_truth.label"])
    finally:
        dataset.delete()

    # Dataset.take() draws differently in every dataset
    images = sorted(zip(*values, strict=True))
    images = random.Random(SEED).sample(images, min(ZOO_IMAGES, len(images)))
    return [Source(Path(path), label) for path, label in sorted(images)]


def choose_images() -> list[Source]:
    """Returns the zoo's images where they can be had, else photographs."""
    from fiftyone_iqa.encoders import hub_reachable

    if hub_reachable():
        try:
            return zoo_images()
        except Exception as e:  # any failed download has a way out
            reason = " ".join(str(e).split()) or type(e).__name__
            print(f"The zoo's imagenet-sample cannot be had ({reason}).")
    else:
        print("No internet.")

    sources = photographs()
    print(
        f"Using {len(sources)} photographs that come with scikit-image and "
        "scikit-learn."
    )
    return sources


def folder_images(root: Path, labelled: bool) -> list[Source]:
    """Returns the images of a folder; sub-folders are labels.

    Args:
        root: the folder
        labelled: whether the labels are what to choose among, and have to
            be two or more
    """
    if not root.is_dir():
        raise IQAError(f"There is no folder {root}")

    sources, seen = [], set()
    for folder, children, names in os.walk(root, followlinks=True):
        # A link may lead back to where it came from
        real = os.path.realpath(folder)
        if real in seen:
            children.clear()
            continue
        seen.add(real)
        children[:] = sorted(c for c in children if not c.startswith("."))
        inside = Path(folder).relative_to(root).parts
        for name in sorted(names):
            path = Path(folder, name)
            if name.startswith(".") or fom.get_media_type(name) != fom.IMAGE:
                continue
            sources.append(Source(path, inside[0] if inside else None))

    if not sources:
        raise IQAError(f"There are no images in {root}")
    labels = {source.label for source in sources} - {None}
    if labelled and len(labels) < 2:
        found = f"only the label {labels.pop()!r}" if labels else "no labels"
        raise IQAError(
            f"The images in {root} have {found}: move them into one "
            "sub-folder per label, or name the labels to choose among with "
            "--classes cat,dog"
        )
    return sources


def check_name(name: str) -> None:
    """Refuses the name of a dataset that was not made here."""
    if not fo.dataset_exists(name):
        return
    if not fo.load_dataset(name).info.get(MARKER):
        raise IQAError(
            f"The dataset {name!r} was not made by the quickstart and stays "
            "as it is; choose another name with --name"
        )


def make_dataset(name: str, samples: Iterable[fo.Sample]) -> fo.Dataset:
    """Makes a persistent dataset, in place of an earlier run's."""
    check_name(name)
    if fo.dataset_exists(name):
        fo.delete_dataset(name)

    dataset = fo.Dataset(name, persistent=True)
    dataset.info[MARKER] = True
    dataset.save()
    dataset.add_samples(list(samples), progress=False)
    return dataset


def folder_dataset(name: str, sources: list[Source]) -> fo.Dataset:
    """Makes a dataset of images as they are."""
    return make_dataset(name, (_sample(s, s.path) for s in sources))


def corrupted_dataset(name: str, sources: list[Source]) -> fo.Dataset:
    """Makes a dataset of images and their corrupted variants."""
    folder = Path(fo.config.default_dataset_dir, fou.to_slug(name))
    folder.mkdir(parents=True, exist_ok=True)
    print(
        f"Writing {len(sources)} images and "
        f"{len(CORRUPTIONS) * len(SEVERITIES)} corrupted variants of each "
        f"to {folder}"
    )

    samples = []
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        fou.ProgressBar(total=len(sources)) as progress,
    ):
        written = pool.map(lambda s: write_variants(s, folder), sources)
        for source, variants in zip(sources, progress(written), strict=True):
            for path, corruption, severity in variants:
                sample = _sample(source, path)
                sample["corruption"] = corruption
                sample["severity"] = severity
                sample["source_id"] = source.id
                samples.append(sample)

    return make_dataset(name, samples)


def write_variants(source: Source, folder: Path) -> list[tuple]:
    """Writes an image and its variants, returns their conditions.

    Returns:
        list of ``(path, corruption, severity)``
    """
    image = Image.fromarray(read_image(source.path))
    image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    path = folder / f"{source.id}-clean.png"
    image.save(path)
    variants = [(path, "clean", 0)]

    pixels = np.asarray(image)
    for name in CORRUPTIONS:
        for severity in SEVERITIES:
            path = folder / f"{source.id}-{name}-{severity}.png"
            corrupted = corrupt(pixels, name, severity, seed=source.id)
            Image.fromarray(corrupted).save(path)
            variants.append((path, name, severity))
    return variants


def imagenet_mapping(dataset: fo.Dataset) -> dict[str, str]:
    """Returns which ImageNet names stand for the labels of a dataset."""
    labels = set(dataset.distinct("ground_truth.label"))
    return {
        name: label
        for name, label in IMAGENET_NAMES.items()
        if label in labels and name not in labels
    }


def _sample(source, path):
    sample = fo.Sample(filepath=str(path))
    if source.label is not None:
        sample["ground_truth"] = fo.Classification(label=source.label)
    return sample
