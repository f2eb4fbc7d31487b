"""pyiqa's metrics, at seeded random weights: real files, read by real code.

The files lie in the session's own ``TORCH_HOME``, where pyiqa looks first.
"""

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fiftyone_iqa as fiqa
from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.metrics import get_metric, pyiqa_loading
from fiftyone_iqa.metrics.pyiqa_metrics import parse_range, slug

pytest.importorskip("pyiqa")

ON_CPU = SimpleNamespace(device="cpu")
BASELINES = ("brisque", "clipiqa", "arniqa")
NAMES = (*BASELINES, "pyiqa:niqe", "pyiqa:piqe", "pyiqa:entropy")
HUB = Path(os.environ["TORCH_HOME"], "hub")


@pytest.fixture(scope="module", autouse=True)
def weights():
    """Seeded random weights where pyiqa looks for them."""
    import scipy.io
    import torch
    import torchvision

    # Small operations: threads cost more than they bring
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    for folder in ("pyiqa", "checkpoints", "clip"):
        (HUB / folder).mkdir(parents=True, exist_ok=True)
    torch.save(
        (torch.randn(50), torch.randn(50, 36)),
        HUB / "pyiqa" / "brisque_svm_weights.pth",
    )
    rows = rng.normal(size=(99, 36))
    scipy.io.savemat(
        HUB / "pyiqa" / "niqe_modelparameters.mat",
        {"mu_prisparam": rows[:1], "cov_prisparam": np.cov(rows.T)},
    )
    resnet = torchvision.models.resnet50(weights=None)
    encoder = torch.nn.Sequential(*list(resnet.children())[:-1])
    renamed = {f"model.{k}": v for k, v in encoder.state_dict().items()}
    torch.save(resnet.state_dict(), HUB / "checkpoints/resnet50-0676ba61.pth")
    torch.save(renamed, HUB / "checkpoints" / "ARNIQA.pth")
    regressor = torch.jit.script(torch.nn.Linear(4096, 1))
    regressor.save(HUB / "pyiqa" / "regressor_koniq10k.pth")
    with pytest.MonkeyPatch.context() as patch:
        _put_clip(HUB / "clip" / "RN50.pt", patch)
        yield
    torch.set_num_threads(threads)
    # Elsewhere these weights are missing
    shutil.rmtree(HUB)


def _put_clip(path, patch):
    """Saves a small CLIP as OpenAI does; its checksum is in its address."""
    import torch
    from pyiqa.archs import clip_model

    clip = clip_model.CLIP(64, 64, (1, 1, 1, 1), 4, None, 77, 49408, 64, 1, 2)
    example = torch.zeros(1, 3, 64, 64), torch.zeros(1, 77, dtype=torch.long)
    torch.jit.trace(clip.eval(), example).save(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    address = f"https://localhost/{digest}/{path.name}"
    patch.setitem(clip_model._MODELS, "RN50", address)


@pytest.fixture(scope="module")
def images(photographs):
    """Seven images in three sizes, neighbours of different sizes."""
    sizes = [(200, 240), (240, 200), (200, 240), (224, 224)] * 2
    return [
        np.ascontiguousarray(photo[50 : 50 + height, 60 : 60 + width])
        for (_, photo), (height, width) in zip(photographs, sizes)
    ][:7]


def scorer_of(name):
    metric = get_metric(name)
    return metric.build(metric.configure(ON_CPU, None), None)


def close(values):
    return pytest.approx(values, rel=1e-4, abs=1e-4)


# Values ---------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_equals_pyiqa_on_each_image_alone(name, images):
    import pyiqa
    from torchvision.transforms.functional import to_tensor

    scorer = scorer_of(name)
    features = scorer.features([scorer.prepare(image) for image in images])
    assert features.shape == (len(images), 1)
    assert features.dtype == np.float64
    own = pyiqa.create_metric(name.removeprefix("pyiqa:"), device="cpu")
    expected = [float(own(to_tensor(image)[None])) for image in images]
    assert list(scorer.score(features)[""]) == close(expected)
    assert len(set(expected)) == len(images)


@pytest.mark.parametrize("name", NAMES)
def test_does_not_depend_on_the_batch(name, images):
    scorer = scorer_of(name)
    together = scorer.features(images)[:, 0]
    alone = [scorer.features([image])[0, 0] for image in images]
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)


def test_the_text_tower_runs_once(images):
    scorer = scorer_of("clipiqa")
    runs = []
    (clip,) = scorer._network.clip_model
    clip.transformer.register_forward_hook(lambda *_: runs.append(1))
    scorer.features(images[:2])
    assert not runs


def test_weights_are_part_of_the_configuration():
    import torch

    def configured(name):
        return get_metric(name).configure(ON_CPU, None)

    first = configured("brisque")
    assert first.identity == configured("brisque").identity
    assert first.provenance["pyiqa_version"]
    assert configured("pyiqa:piqe").identity["weights"] == "none"
    path = HUB / "pyiqa" / "brisque_svm_weights.pth"
    before = path.read_bytes()
    try:
        torch.save((torch.randn(50), torch.randn(50, 36)), path)
        second = configured("brisque")
    finally:
        path.write_bytes(before)
    assert first.identity["weights"] != second.identity["weights"]
    # CLIP is no submodule of its network, and yet its weights are in
    arrays = pyiqa_loading.named_arrays(
        configured("clipiqa").resources["network"]
    )
    assert any("text_projection" in name for name, _ in arrays)


def test_one_decode_for_all(make_dataset):
    dataset = make_dataset(n=3, size=(120, 160))
    report = fiqa.compute_quality(
        dataset, metrics=("tv", "brisque", "pyiqa:piqe"), device="cpu"
    )
    assert report.n_decoded == 3
    for field in ("tv", "brisque", "pyiqa_piqe"):
        assert all(v is not None for v in dataset.values(field))
    info = dataset.get_field("pyiqa_piqe").info["iqa"]
    assert info["direction"] == "lower"


# Specs ----------------------------------------------------------------------


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_say_what_pyiqa_says(name):
    (ours,) = get_metric(name).spec.outputs
    (theirs,) = get_metric(f"pyiqa:{name}").spec.outputs
    assert (ours.direction, ours.range) == (theirs.direction, theirs.range)
    entry = pyiqa_loading.pyiqa_table()[name]
    assert (ours.direction == "lower") == entry.get("lower_better", False)
    assert ours.range == parse_range(entry["score_range"])


def test_every_name_has_a_field_of_its_own_or_is_refused():
    fields = []
    for name, entry in pyiqa_loading.pyiqa_table().items():
        try:
            metric = get_metric(f"pyiqa:{name}")
        except IQAError:
            continue
        assert entry["metric_mode"] == "NR"
        assert metric.spec.name == slug(name)
        assert metric.spec.name.isidentifier()
        (output,) = metric.spec.outputs
        assert output.range[0] < output.range[1]
        assert "Noncommercial" in metric.spec.licence
        fields.append(metric.spec.name)
    assert len(set(fields)) == len(fields) > 50


def test_metrics_share_one_picklable_preparation():
    scorers = [scorer_of(name) for name in ("brisque", "pyiqa:entropy")]
    assert scorers[0].input_key == scorers[1].input_key
    image = np.zeros((4, 6, 3), np.uint8)[:, ::2]
    for scorer in scorers:
        prepared = pickle.loads(pickle.dumps(scorer.prepare))(image)
        assert prepared.flags.c_contiguous
        np.testing.assert_array_equal(prepared, image)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ssim", "reference image"),
        ("fid", "sets of images"),
        ("inception_score", "set of images"),
        ("clipscore", "text"),
        ("qalign_4bit", "large language model"),
        ("qrealign", "large language model"),
        ("compare2score", "large language model"),
        ("nique", "did you mean .*niqe"),
    ],
)
def test_refusals_say_why(name, reason):
    with pytest.raises(IQAError, match=reason):
        get_metric(f"pyiqa:{name}")


# In a process of its own ----------------------------------------------------


def _python(code, *args):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *args],
        cwd=Path(fiqa.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().splitlines()[-1]


def test_listing_imports_neither_torch_nor_pyiqa():
    assert "none" in _python(
        "import sys\n"
        "from fiftyone_iqa.metrics import get_metric, list_metrics\n"
        "list_metrics(), get_metric('pyiqa:niqe').spec\n"
        "print({'torch', 'pyiqa'} & set(sys.modules) or 'none')"
    )


def test_without_pyiqa_a_sentence_says_what_to_install():
    said = _python(
        "import sys\n"
        "sys.modules['pyiqa'] = None\n"
        "from types import SimpleNamespace\n"
        "from fiftyone_iqa.errors import IQAError\n"
        "from fiftyone_iqa.metrics import get_metric, list_metrics\n"
        "assert len(list_metrics()) > 4\n"
        "said = []\n"
        "for ask in (lambda: get_metric('pyiqa:niqe'),\n"
        "    lambda: get_metric('brisque').configure(\n"
        "        SimpleNamespace(device='cpu'), None)):\n"
        "    try:\n"
        "        ask()\n"
        "    except IQAError as e:\n"
        "        said.append(str(e))\n"
        "assert len(said) == 2 and said[0] == said[1]\n"
        "print(said[0])"
    )
    assert 'pip install "fiftyone-iqa[baselines]"' in said
    assert "PolyForm-Noncommercial" in said


_LARGE_AMONG_SMALL = """
import resource, sys
from types import SimpleNamespace
import numpy as np
from fiftyone_iqa.metrics import get_metric
metric = get_metric(sys.argv[1])
scorer = metric.build(metric.configure(SimpleNamespace(device="cpu"), None), 0)
batches, forward = [], scorer._network.forward
def counted(batch):
    batches.append(len(batch))
    return forward(batch)
scorer._network.forward = counted
rng = np.random.default_rng(0)
images = [rng.integers(0, 256, (96, 128, 3), np.uint8) for _ in range(20)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
images.insert(7, rng.integers(0, 256, (3000, 4000, 3), np.uint8))
assert np.isfinite(scorer.features(images)).all()
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(sorted(batches), (after - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="kilobytes on Linux")
@pytest.mark.parametrize("name", ["pyiqa:piqe", "pyiqa:entropy"])
def test_twelve_megapixels_among_thumbnails(name):
    said = _python(_LARGE_AMONG_SMALL, name)
    batches, megabytes = said.rsplit(" ", 1)
    assert batches == "[1, 20]"
    assert int(megabytes) < 3000
