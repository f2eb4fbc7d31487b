"""Installing the plugin, and the command that does it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fiftyone_iqa import cli, plugin

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """A stand-in for the repository: no bug may delete the real one."""
    repo = tmp_path / "repo"
    (repo / "operators" / "__pycache__").mkdir(parents=True)
    (repo / ".venv").mkdir()
    shutil.copy(ROOT / "fiftyone.yml", repo)
    (repo / "requirements.txt").write_text("fiftyone\n")
    (repo / "operators" / "__init__.py").write_text("VERSION = 1\n")
    (repo / "skills" / "triage").mkdir(parents=True)
    (repo / "skills" / "triage" / "SKILL.md").write_text("x")
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
        "fiftyone-iqa/skills",
        "fiftyone-iqa/skills/triage",
        "fiftyone-iqa/skills/triage/SKILL.md",
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
    out = subprocess.check_output(
        [sys.executable, "-c", code], cwd=ROOT, env=env, text=True
    )
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
        "n_spaces": 3,
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
    assert "/some/where" in out and "1200 embeddings in 3 spaces" in out
    assert "2.5 MB" in out and not cleared
    assert cli.main(["cache", "--clear"]) == 0
    assert "Cleared /some/where (2.5 MB)" in capsys.readouterr().out
    assert cleared == [1]


def test_command_runs_on_the_real_cache(capsys):
    assert cli.main(["cache"]) == 0
    out = capsys.readouterr().out
    assert os.environ["FIFTYONE_IQA_CACHE_DIR"] in out


def test_module_runs_the_command():
    out = subprocess.check_output(
        [sys.executable, "-m", "fiftyone_iqa", "--help"], cwd=ROOT, text=True
    )
    assert "install-plugin" in out and "cache" in out
    wrong = subprocess.run(
        [sys.executable, "-m", "fiftyone_iqa", "nonsense"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert wrong.returncode == 2
