"""The wheel, the plugin in it, the command and the two scripts."""

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

from fiftyone_iqa import cli, plugin

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
    files += (folder / "operators").rglob("*")
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


# Installing the plugin ------------------------------------------------------


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """A stand-in for the repository: no bug may delete the real one."""
    repo = tmp_path / "repo"
    (repo / "operators" / "__pycache__").mkdir(parents=True)
    (repo / ".venv").mkdir()
    shutil.copy(ROOT / "fiftyone.yml", repo)
    (repo / "requirements.txt").write_text("fiftyone\n")
    (repo / "operators" / "__init__.py").write_text("VERSION = 1\n")
    (repo / "operators" / "__pycache__" / "x.pyc").write_text("x")
    (repo / ".venv" / "big").write_text("x")
    (repo / "README.md").write_text("x")
    monkeypatch.setattr(plugin, "plugin_source_dir", lambda: repo)
    return repo


@pytest.fixture
def plugins_dir(tmp_path):
    return tmp_path / "some" / "plugins"


def tree(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


@pytest.fixture(autouse=True)
def untouched(request):
    """After each test the stand-in repository is as it was."""
    if "repo" not in request.fixturenames:
        yield
        return

    repo = request.getfixturevalue("repo")
    before = tree(repo)
    yield
    assert tree(repo) == before


def test_source_is_this_repository():
    assert plugin.plugin_source_dir() == ROOT


def test_link_and_unlink(repo, plugins_dir):
    path = plugin.install_plugin(plugins_dir)
    assert path == plugins_dir / "fiftyone-iqa"
    assert path.is_symlink() and path.resolve() == repo
    assert plugin.install_plugin(plugins_dir) == path
    assert plugin.uninstall_plugin(plugins_dir) == path
    assert tree(plugins_dir) == []
    assert plugin.uninstall_plugin(plugins_dir) is None


def test_copy_holds_only_the_plugin(repo, plugins_dir):
    path = plugin.install_plugin(plugins_dir, copy=True)
    assert not path.is_symlink()
    assert tree(plugins_dir) == [
        "fiftyone-iqa",
        "fiftyone-iqa/fiftyone.yml",
        "fiftyone-iqa/operators",
        "fiftyone-iqa/operators/__init__.py",
        "fiftyone-iqa/requirements.txt",
    ]
    # Equal, so nothing to do; FiftyOne compiles what it runs
    (path / "operators" / "__pycache__").mkdir()
    assert plugin.install_plugin(plugins_dir, copy=True) == path
    assert plugin.install_plugin(plugins_dir) == path
    assert not path.is_symlink()
    assert plugin.uninstall_plugin(plugins_dir) == path
    assert tree(plugins_dir) == []


def test_copies_where_links_are_impossible(repo, plugins_dir, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("a privilege is missing")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    path = plugin.install_plugin(plugins_dir)
    assert path.is_dir() and not path.is_symlink()
    assert plugin.install_plugin(plugins_dir) == path


def test_force_replaces_an_older_copy(repo, plugins_dir):
    path = plugin.install_plugin(plugins_dir, copy=True)
    (path / "operators" / "__init__.py").write_text("VERSION = 0\n")
    for copy in (False, True):
        with pytest.raises(plugin.PluginInstallError, match="--force"):
            plugin.install_plugin(plugins_dir, copy=copy)

    plugin.install_plugin(plugins_dir, force=True, copy=True)
    text = (path / "operators" / "__init__.py").read_text()
    assert text == "VERSION = 1\n"
    plugin.install_plugin(plugins_dir, force=True)
    assert path.is_symlink()
    with pytest.raises(plugin.PluginInstallError, match="--force"):
        plugin.install_plugin(plugins_dir, copy=True)


def test_force_replaces_other_links_of_ours(repo, plugins_dir, tmp_path):
    plugins_dir.mkdir(parents=True)
    target = plugins_dir / "fiftyone-iqa"
    other = tmp_path / "other"
    shutil.copytree(repo, other)
    for pointee in (other, tmp_path / "deleted"):
        target.symlink_to(pointee)
        with pytest.raises(plugin.PluginInstallError, match="--force"):
            plugin.install_plugin(plugins_dir)

        plugin.install_plugin(plugins_dir, force=True)
        assert target.resolve() == repo
        target.unlink()

    assert tree(other) == tree(repo)


@pytest.mark.parametrize("kind", ["folder", "plugin", "file", "link", "clone"])
def test_what_is_not_ours_is_never_removed(repo, plugins_dir, tmp_path, kind):
    plugins_dir.mkdir(parents=True)
    target = plugins_dir / "fiftyone-iqa"
    if kind == "file":
        target.write_text("x")
    elif kind == "clone":
        # Another clone of the repository, made right in the plugins folder
        shutil.copytree(repo, target)
    else:
        folder = tmp_path / "elsewhere" if kind == "link" else target
        folder.mkdir()
        (folder / "precious").write_text("x")
        if kind != "folder":
            (folder / "fiftyone.yml").write_text("name: '@other/plugin'\n")
        if kind == "link":
            target.symlink_to(folder)

    before = tree(plugins_dir), tree(tmp_path)
    for force in (False, True):
        with pytest.raises(plugin.PluginInstallError, match=str(target)):
            plugin.install_plugin(plugins_dir, force=force)

    with pytest.raises(plugin.PluginInstallError, match=str(target)):
        plugin.uninstall_plugin(plugins_dir)

    assert (tree(plugins_dir), tree(tmp_path)) == before


def test_a_clone_in_the_plugins_folder_serves_itself(
    repo, plugins_dir, monkeypatch
):
    target = plugins_dir / "fiftyone-iqa"
    shutil.copytree(repo, target)
    monkeypatch.setattr(plugin, "plugin_source_dir", lambda: target)
    before = tree(plugins_dir)
    assert plugin.install_plugin(plugins_dir) == target
    assert plugin.install_plugin(plugins_dir, force=True) == target
    with pytest.raises(plugin.PluginInstallError, match="by hand"):
        plugin.uninstall_plugin(plugins_dir)

    assert tree(plugins_dir) == before


def test_a_failed_copy_leaves_nothing(repo, plugins_dir, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(plugin.shutil, "copytree", fail)
    with pytest.raises(OSError, match="disk full"):
        plugin.install_plugin(plugins_dir, copy=True)

    assert tree(plugins_dir) == []


def test_downloaded_plugins_are_found(repo, plugins_dir):
    downloaded = plugins_dir / "@fiftyone-iqa" / "iqa"
    downloaded.mkdir(parents=True)
    shutil.copy(repo / "fiftyone.yml", downloaded)
    stranger = plugins_dir / "stranger"
    stranger.mkdir()
    (stranger / "fiftyone.yml").write_text("name: '@other/plugin'\n")
    (stranger / "circle").symlink_to(plugins_dir)
    (plugins_dir / "circle").symlink_to(plugins_dir)
    second_link = plugins_dir / "a-second-link"
    second_link.symlink_to(repo)
    plugin.install_plugin(plugins_dir)
    assert plugin.find_other_installs(plugins_dir) == [
        downloaded,
        second_link,
    ]


def test_default_folder_is_fiftyones(tmp_path):
    env = {
        **os.environ,
        "FIFTYONE_DEFAULT_DATASET_DIR": str(tmp_path / "data"),
    }
    del env["FIFTYONE_PLUGINS_DIR"]
    code = (
        "from fiftyone_iqa import plugin as p; print(p.default_plugins_dir())"
    )
    out = run(sys.executable, "-c", code, cwd=ROOT, env=env).stdout
    assert out.strip() == str(tmp_path / "data" / "__plugins__")


# The command ----------------------------------------------------------------


def test_command_says_what_it_did(repo, plugins_dir, capsys):
    option = ["--plugins-dir", str(plugins_dir)]

    def call(*args):
        status = cli.main([*args, *option])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    assert call("uninstall-plugin")[1].startswith("Nothing to remove")
    status, out, err = call("install-plugin")
    assert (status, err) == (0, "") and f"a link to {repo}" in out
    assert call("install-plugin")[1].startswith("Already installed")
    status, out, err = call("install-plugin", "--copy")
    assert (status, out) == (1, "") and "--force" in err
    status, out, err = call("install-plugin", "--copy", "--force")
    assert status == 0 and f"a copy of {repo}" in out
    (plugins_dir / "downloaded").mkdir()
    shutil.copy(repo / "fiftyone.yml", plugins_dir / "downloaded")
    assert "same name" in call("install-plugin")[2]
    status, out, err = call("uninstall-plugin")
    assert status == 0 and out.startswith("Removed")
    assert "downloaded still holds" in err


def test_command_shows_and_clears_the_cache(monkeypatch, capsys):
    import fiftyone_iqa as fiqa

    info = {
        "path": "/some/where",
        "n_files": 3,
        "n_embeddings": 1200,
        "bytes": 2_500_000,
    }
    cleared = []
    monkeypatch.setattr(fiqa, "cache_info", lambda: info, raising=False)
    monkeypatch.setattr(
        fiqa, "clear_cache", lambda: cleared.append(1), raising=False
    )
    assert cli.main(["cache"]) == 0
    out = capsys.readouterr().out
    assert "/some/where" in out and "1200 embeddings in 3 files" in out
    assert "2.5 MB" in out and not cleared
    assert cli.main(["cache", "--clear"]) == 0
    assert "Cleared /some/where (2.5 MB)" in capsys.readouterr().out
    assert cleared == [1]


def test_command_runs_on_the_real_cache(capsys):
    assert cli.main(["cache"]) == 0
    out = capsys.readouterr().out
    assert os.environ["FIFTYONE_IQA_CACHE_DIR"] in out


def test_module_runs_the_command():
    out = run(sys.executable, "-m", "fiftyone_iqa", "--help", cwd=ROOT).stdout
    assert "install-plugin" in out and "cache" in out
    wrong = run(
        *(sys.executable, "-m", "fiftyone_iqa", "nonsense"),
        cwd=ROOT,
        check=False,
    )
    assert wrong.returncode == 2


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
