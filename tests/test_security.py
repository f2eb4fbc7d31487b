"""What SECURITY.md promises."""

import ast
import os
from pathlib import Path

import pytest

import fiftyone_iqa as fiqa

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(
    path
    for folder in ("fiftyone_iqa", "operators")
    for path in (ROOT / folder).rglob("*.py")
)

# Calls that run code out of data, and the files that may make them. Workers
# read pickles of the process that started them, from their own pipe
DANGEROUS = {
    "eval": set(),
    "exec": set(),
    "compile": set(),
    "__import__": set(),
    "os.system": set(),
    "os.popen": set(),
    "pickle.load": set(),
    "pickle.loads": {"fiftyone_iqa/processes.py"},
    "dill.load": set(),
    "dill.loads": set(),
    "joblib.load": set(),
    "marshal.loads": set(),
    "shelve.open": set(),
    "pd.read_pickle": set(),
    "pandas.read_pickle": set(),
    "yaml.load": set(),
    "yaml.unsafe_load": set(),
    "yaml.full_load": set(),
    "torch.jit.load": set(),
    "torch.hub.load": set(),
    "tempfile.mktemp": set(),
    # pyiqa's own table of metrics, as installed, without importing pyiqa
    "runpy.run_path": {"fiftyone_iqa/metrics/pyiqa_loading.py"},
    "runpy.run_module": set(),
}


def dotted(node):
    """Returns the name of what is called, such as ``torch.load``."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])


def findings(source, file):
    """Returns what in a file's source is not allowed there."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module in (
            "pickle",
            "torch.serialization",
        ):
            found.append(f"{file}:{node.lineno}: from {node.module} import")
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        keywords = {k.arg: k.value for k in node.keywords}
        if file not in DANGEROUS.get(name, {file}):
            found.append(f"{file}:{node.lineno}: {name}")
        if name == "torch.load" and not is_true(keywords.get("weights_only")):
            found.append(f"{file}:{node.lineno}: not weights_only=True")
        if name in ("np.load", "numpy.load") and "allow_pickle" in keywords:
            found.append(f"{file}:{node.lineno}: allow_pickle")
        if is_true(keywords.get("shell")):
            found.append(f"{file}:{node.lineno}: shell=True")
        if is_true(keywords.get("trust_remote_code")):
            found.append(f"{file}:{node.lineno}: trust_remote_code")
    return found


def is_true(node):
    return isinstance(node, ast.Constant) and node.value is True


def test_nothing_runs_code_out_of_data():
    assert len(FILES) > 80
    found = []
    for path in FILES:
        file = path.relative_to(ROOT).as_posix()
        found += findings(path.read_text("utf-8"), file)
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "eval('1')",
        "pickle.load(f)",
        "pickle.loads(b)",
        "from pickle import loads",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "torch.load(p, weights_only=flag)",
        "yaml.load(f)",
        "subprocess.run(c, shell=True)",
        "np.load(p, allow_pickle=True)",
    ],
)
def test_the_search_finds_what_it_is_for(line):
    assert findings(line, "fiftyone_iqa/new.py")


def test_the_exceptions_are_still_needed():
    for name, files in DANGEROUS.items():
        for file in files:
            source = (ROOT / file).read_text("utf-8")
            assert findings(source, f"{file}?"), f"{name} left {file}"


def test_the_readme_leads_here():
    assert "(SECURITY.md)" in (ROOT / "README.md").read_text("utf-8")


# Exports --------------------------------------------------------------------

HOSTILE = [
    "../up",
    "/etc/passwd",
    "..\\up",
    "a/../../b",
    "$where",
    "{{7*7}}",
    "=1+1",
    "line\nbreak",
    "-rf",
    "con",
    "ä" * 50,
    "'; db.dropDatabase(); '",
    "<script>alert(1)</script>",
]


def files_outside(folder, inside):
    return sorted(
        str(path)
        for path in Path(folder).rglob("*")
        if not path.is_relative_to(inside)
    )


@pytest.fixture
def hostile(make_dataset, tmp_path):
    """Images whose names, labels and tags mean harm."""
    import fiftyone as fo
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    names = [f"{i} {n.replace('/', '_')}.png" for i, n in enumerate(HOSTILE)]
    for name in names:
        Image.new("RGB", (8, 8)).save(folder / name)
    dataset = make_dataset(
        paths=[folder / name for name in names], labels=HOSTILE
    )
    for sample, label in zip(dataset, HOSTILE):
        sample.tags = [label]
        sample["objects"] = fo.Detections(
            detections=[
                fo.Detection(label=label, bounding_box=[0.1, 0.1, 0.2, 0.2])
            ]
        )
        sample.save()
    return dataset


@pytest.mark.parametrize(
    ("kind", "label_field"),
    [
        ("FiftyOneDataset", None),
        ("COCODetectionDataset", "objects"),
        ("YOLOv5Dataset", "objects"),
        ("CVATImageDataset", "objects"),
        ("FiftyOneImageClassificationDataset", "ground_truth"),
        ("ImageDirectory", None),
    ],
)
def test_exports_stay_inside_their_folder(
    hostile, kind, label_field, tmp_path
):
    parent = tmp_path / "parent"
    target = parent / "target"
    parent.mkdir()
    before = files_outside(tmp_path, parent)
    fiqa.export_slice(
        hostile, target, kind, label_field, reason="=cmd|' /C calc'!A0"
    )
    assert files_outside(tmp_path, parent) == before
    assert files_outside(parent, target) == []
    assert all(
        Path(os.path.realpath(p)).is_relative_to(target)
        for p in target.rglob("*")
    )


def test_class_folders_that_lead_out_are_refused(hostile, tmp_path):
    before = files_outside(tmp_path, tmp_path / "target")
    with pytest.raises(fiqa.IQAError, match="no name for a folder inside"):
        fiqa.export_slice(
            hostile,
            tmp_path / "target",
            "ImageClassificationDirectoryTree",
            "ground_truth",
        )
    assert files_outside(tmp_path, tmp_path / "target") == before
    assert not (tmp_path / "target").exists()


def test_links_in_the_target_are_not_followed(make_dataset, tmp_path):
    dataset = make_dataset(2, labels=["cat"])
    target, victim = tmp_path / "target", tmp_path / "victim"
    victim.mkdir()
    (victim / "mine.txt").write_text("mine")
    fiqa.export_slice(dataset, target)
    # Where the export's own files were, somebody leaves a link
    for path in (target / "data").iterdir():
        path.unlink()
    (target / "data").rmdir()
    (target / "data").symlink_to(victim)
    with pytest.raises(fiqa.IQAError, match="no export wrote"):
        fiqa.export_slice(dataset, target, overwrite=True)
    assert [p.name for p in victim.iterdir()] == ["mine.txt"]


def test_values_are_never_operators(hostile):
    from fiftyone_iqa.selection import select
    from fiftyone_iqa.slices import find_slices

    fiqa.compute_quality(hostile, metrics="tv", num_workers=0)
    for label in HOSTILE:
        for path in ("ground_truth.label", "objects.detections.label"):
            assert len(select(hostile, {path: label})) == 1
    table = find_slices(
        hostile,
        "tv",
        by=["tags", "ground_truth"],
        min_n=2,
        min_sources=2,
        higher_is_better=True,
    )
    assert len(table) == 0
    for path in ("$where", "$expr", "ground_truth.$where", "a\0b", ""):
        with pytest.raises(fiqa.IQAError):
            select(hostile, {path: "sleep(10)"})
        with pytest.raises(fiqa.IQAError):
            fiqa.find_slices(hostile, "tv", by=path, higher_is_better=True)
        with pytest.raises(fiqa.IQAError):
            fiqa.low_quality_view(hostile, path)
