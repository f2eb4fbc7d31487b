"""The wheel, the plugin in it, and the two scripts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from fiftyone_iqa import plugin

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent


def run(*command, check=True, **kwargs):
    kwargs = {"capture_output": True, "text": True, **kwargs}
    result = subprocess.run([str(c) for c in command], **kwargs)
    assert not check or result.returncode == 0, result.stdout + result.stderr
    return result


def build_wheel(source, folder):
    run(
        *(sys.executable, "-m", "pip", "wheel", source, "--no-deps"),
        *("--no-build-isolation", "--quiet", "-w", folder),
    )
    (path,) = Path(folder).glob("fiftyone_iqa-*.whl")
    return path


def plugin_files(folder):
    """Maps a plugin folder's files to their bytes."""
    files = [folder / "fiftyone.yml", folder / "requirements.txt"]
    for name in ("operators", "skills"):
        files += (folder / name).rglob("*")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in files
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@pytest.fixture(scope="module")
def manifest():
    import yaml

    return yaml.safe_load((ROOT / "fiftyone.yml").read_text("utf-8"))


@pytest.fixture(scope="module")
def fresh_bin(wheel, tmp_path_factory):
    """The bin folder of a fresh environment with the wheel in it.

    It sees the packages of the environment that runs the tests, after its
    own. Their ``.pth`` files, an editable install's for one, are not read.
    """
    folder = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", folder)
    bin_dir = folder / ("Scripts" if os.name == "nt" else "bin")
    run(
        *(bin_dir / "python", "-m", "pip", "install", "--quiet"),
        *("--no-deps", "--no-index", wheel),
    )
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site,) = folder.rglob("site-packages")
    (site / "main_environment.pth").write_text("\n".join(sorted(paths)))
    return bin_dir


# The wheel ------------------------------------------------------------------


def test_wheel_has_the_trees_plugin(wheel):
    prefix = "fiftyone_iqa/_plugin/"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        packed = {
            name[len(prefix) :]: archive.read(name)
            for name in names
            if name.startswith(prefix)
        }

    assert packed == plugin_files(ROOT)
    assert not [n for n in names if "__pycache__" in n or n.endswith(".pyc")]
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {
        "fiftyone_iqa"
    }


def test_wheel_from_the_sdist_is_the_same(wheel, tmp_path):
    code = (
        "import sys, hatchling.build as b; print(b.build_sdist(sys.argv[1]))"
    )
    out = run(sys.executable, "-c", code, tmp_path, cwd=ROOT).stdout
    with tarfile.open(tmp_path / out.split()[-1]) as archive:
        archive.extractall(tmp_path / "sdist")

    (source,) = (tmp_path / "sdist").iterdir()
    again = build_wheel(source, tmp_path / "wheel")
    with zipfile.ZipFile(wheel) as a, zipfile.ZipFile(again) as b:
        contents_a = {name: a.read(name) for name in a.namelist()}
        contents_b = {name: b.read(name) for name in b.namelist()}

    assert contents_a == contents_b


def test_installed_wheel_brings_its_operators(fresh_bin, database, tmp_path):
    env = {**os.environ, "FIFTYONE_PLUGINS_DIR": str(tmp_path / "plugins")}
    env.pop("PYTHONPATH", None)
    code = """
import json, sys
import fiftyone_iqa, fiftyone.operators as foo
from fiftyone.operators.registry import OperatorRegistry
uris = [op.uri for op in foo.list_operators(builtin=False)]
found = foo.operator_exists("@fiftyone-iqa/iqa/compute_quality")
if found:
    found = foo.get_operator("@fiftyone-iqa/iqa/compute_quality").name
print("\\n" + json.dumps({"file": fiftyone_iqa.__file__, "uris": uris,
      "found": found, "errors": OperatorRegistry().list_errors()}))
"""

    def look():
        out = run(fresh_bin / "python", "-c", code, env=env, cwd=tmp_path)
        return json.loads(out.stdout.splitlines()[-1])

    command = fresh_bin / "fiftyone-iqa"
    out = run(command, "install-plugin", env=env, cwd=tmp_path).stdout
    assert "Installed @fiftyone-iqa/iqa" in out
    seen = look()
    assert seen["errors"] == []
    assert fresh_bin.parent.resolve() in Path(seen["file"]).resolve().parents
    assert seen["found"] == "compute_quality"
    assert "@fiftyone-iqa/iqa/list_quality_metrics" in seen["uris"]
    (link,) = (tmp_path / "plugins").iterdir()
    assert link.resolve() == Path(seen["file"]).resolve().parent / "_plugin"

    out = run(command, "uninstall-plugin", env=env, cwd=tmp_path).stdout
    assert "Removed" in out
    seen = look()
    assert seen["found"] is False and seen["uris"] == []
    assert (Path(seen["file"]).parent / "_plugin" / "fiftyone.yml").is_file()


# What the files say ---------------------------------------------------------


def test_requirements_equal_the_dependencies(pyproject):
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    listed = [line for line in lines if line and not line.startswith("#")]
    wanted = pyproject["project"]["dependencies"]
    assert len(set(listed)) == len(listed)
    assert {str(Requirement(r)) for r in listed} == {
        str(Requirement(r)) for r in wanted
    }


def test_ranges_hold_the_versions_of_this_run(pyproject):
    from importlib.metadata import PackageNotFoundError, version

    project = pyproject["project"]
    extras = dict(project["optional-dependencies"])
    del extras["all"]
    lines = sum(extras.values(), project["dependencies"])
    seen = 0
    for requirement in map(Requirement, lines):
        operators = {s.operator for s in requirement.specifier}
        assert "<" in operators, f"{requirement} has no upper bound"
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            continue  # an extra that is not installed
        seen += 1
        assert requirement.specifier.contains(found, prereleases=True), (
            f"{requirement}: the tests run with {found}"
        )
    assert seen >= len(project["dependencies"])


def test_all_names_every_extra(pyproject):
    extras = pyproject["project"]["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    assert everything.name == pyproject["project"]["name"]
    assert everything.extras == set(extras) - {"all"}


def test_manifest_agrees_with_the_package(pyproject, manifest):
    project = pyproject["project"]
    assert manifest["name"] == plugin.PLUGIN_NAME
    assert manifest["version"] == project["version"]
    assert manifest["license"] == project["license"]
    (fiftyone,) = [
        r
        for r in map(Requirement, project["dependencies"])
        if r.name == "fiftyone"
    ]
    specifier = fiftyone.specifier
    assert manifest["fiftyone"]["version"].replace(" ", "") in {
        ",".join(map(str, specifier)),
        ",".join(reversed(list(map(str, specifier)))),
    }


def test_manifest_lists_what_is_registered(manifest):
    from fiftyone.plugins.context import PluginContext
    from fiftyone.plugins.definitions import PluginDefinition

    offered = []

    class Recorder(PluginContext):
        # FiftyOne drops what the manifest does not list without a word
        def register(self, cls):
            offered.append(cls(_builtin=False).config.name)
            super().register(cls)

    context = Recorder(PluginDefinition.from_disk(str(ROOT / "fiftyone.yml")))
    context.register_all()
    assert context.errors == []
    listed = [
        *(manifest.get("operators") or []),
        *(manifest.get("panels") or []),
    ]
    assert sorted(offered) == sorted(listed)
    assert sorted(op.name for op in context.instances) == sorted(listed)


def test_import_is_light():
    code = """
import sys
import fiftyone_iqa, fiftyone_iqa.plugin, fiftyone_iqa.cli
heavy = {"cv2", "fiftyone", "pandas", "scipy", "sklearn", "timm", "torch"}
print(sorted(heavy & set(sys.modules)))
"""
    out = run(sys.executable, "-c", code, cwd=ROOT).stdout
    assert out.strip() == "[]"


# The scripts ----------------------------------------------------------------

needs_bash = pytest.mark.skipif(
    os.name == "nt" or not shutil.which("bash"), reason="needs bash"
)


def bare(script, *args, folder):
    """Runs a copy of the scripts where nothing is installed."""
    shutil.copytree(ROOT / "scripts", folder / "scripts", dirs_exist_ok=True)
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    command = ["bash", folder / "scripts" / script, *args]
    result = run(*command, env=env, check=False, cwd=folder, timeout=30)
    assert not (folder / ".venv").exists()
    return result


@needs_bash
@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("script", ["test.sh", "quickstart.sh"])
def test_scripts_help_installs_nothing(script, option, tmp_path):
    result = bare(script, option, folder=tmp_path)
    assert result.returncode == 0
    assert f"Usage: bash scripts/{script}" in result.stdout


@needs_bash
@pytest.mark.parametrize(
    "args, reason",
    [
        (["--no-ap"], "unknown option: --no-ap"),
        (["--no-app", "pictures"], "unknown option: pictures"),
        (["--images"], "--images needs a value"),
        (["--images", "missing"], "no such folder: missing"),
    ],
)
def test_quickstart_refuses_before_it_installs(args, reason, tmp_path):
    result = bare("quickstart.sh", *args, folder=tmp_path)
    assert result.returncode == 2
    assert reason in result.stderr and "--help" in result.stderr


def test_quickstart_script_knows_the_programs_options():
    program = (ROOT / "scripts" / "quickstart.py").read_text("utf-8")
    shell = (ROOT / "scripts" / "quickstart.sh").read_text("utf-8")
    options = set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', program))
    usage, checks = shell.split("TEXT\n}", 1)
    known = r"--[a-z-]+\b"
    assert options and options <= set(re.findall(known, checks))
    assert options <= set(re.findall(known, usage))
