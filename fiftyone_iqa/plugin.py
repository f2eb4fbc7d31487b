"""Puts the FiftyOne plugin where the App looks for it, and takes it away.

FiftyOne finds plugins only as folders below ``fo.config.plugins_dir``; it has
no discovery through installed packages. The plugin's files lie in the wheel
(``fiftyone_iqa/_plugin``) or, in an editable install, in the repository root.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from fiftyone_iqa.errors import IQAError

PLUGIN_NAME = "@fiftyone-iqa/iqa"

FOLDER_NAME = "fiftyone-iqa"
"""Name of the link or folder below the plugins directory."""

PLUGIN_FILES = ("fiftyone.yml", "requirements.txt", "operators", "skills")
"""All that belongs to the plugin, relative to its source folder."""

_MANIFESTS = ("fiftyone.yml", "fiftyone.yaml")
_DEBRIS = ("__pycache__", ".DS_Store")


class PluginInstallError(IQAError):
    """The plugin could not be installed or removed; the message says why."""


class PluginState(NamedTuple):
    """What lies where the plugin belongs.

    Attributes:
        kind: one of

            -   ``"missing"``: nothing
            -   ``"current"``: a link to the source, an equal copy of it, or
                the source itself
            -   ``"ours"``: a link to, or a copy of, another version
            -   ``"checkout"``: a folder with our manifest and other files
            -   ``"foreign"``: anything else
        detail: a phrase for messages
    """

    kind: str
    detail: str


def plugin_source_dir() -> Path:
    """Returns the folder that holds this package's plugin.

    Returns:
        the wheel's ``_plugin`` folder or, for an editable install, the root
        of the repository

    Raises:
        PluginInstallError: if neither is there
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "_plugin", package.parent):
        if _manifest_name(folder) == PLUGIN_NAME:
            return folder

    raise PluginInstallError(
        f"The plugin's files are missing beside {package}; reinstall "
        f"fiftyone-iqa"
    )


def default_plugins_dir() -> Path:
    """Returns ``fo.config.plugins_dir``.

    Importing FiftyOne starts its database, which a look at the configuration
    does not need: where it is not imported yet, another process looks.
    """
    if "fiftyone" in sys.modules:
        import fiftyone as fo

        return Path(fo.config.plugins_dir)

    if os.environ.get("FIFTYONE_PLUGINS_DIR"):
        return Path(os.environ["FIFTYONE_PLUGINS_DIR"])

    import subprocess

    command = "import fiftyone as fo; print('\\n' + fo.config.plugins_dir)"
    env = {**os.environ, "FIFTYONE_DISABLE_SERVICES": "1"}
    run = subprocess.run(
        [sys.executable, "-c", command],
        capture_output=True,
        text=True,
        env=env,
    )
    lines = run.stdout.strip().splitlines()
    if run.returncode or not lines:
        reason = (run.stderr.strip().splitlines() or ["no output"])[-1]
        raise PluginInstallError(
            f"Could not ask FiftyOne for its plugins directory ({reason}); "
            f"name it with --plugins-dir or FIFTYONE_PLUGINS_DIR"
        )

    return Path(lines[-1])


def plugin_state(plugins_dir=None) -> PluginState:
    """Says what lies where the plugin belongs.

    Args:
        plugins_dir (None): the folder that FiftyOne searches, by default
            ``fo.config.plugins_dir``

    Returns:
        a :class:`PluginState`
    """
    return _state(_target(plugins_dir), plugin_source_dir())


def install_plugin(plugins_dir=None, force=False, copy=False) -> Path:
    """Links the plugin into FiftyOne's plugins directory.

    Where links are not possible the plugin's files are copied. What is
    already installed is left as it is.

    Args:
        plugins_dir (None): the folder that FiftyOne searches, by default
            ``fo.config.plugins_dir``. It is created if missing
        force (False): whether to replace another version of this plugin.
            Files that are not this plugin's are never removed
        copy (False): whether to copy rather than link

    Returns:
        the path of the link or folder

    Raises:
        PluginInstallError: if something else lies there
    """
    source = plugin_source_dir()
    target = _target(plugins_dir)
    state = _state(target, source)

    if _is_source(target):
        return target

    want_copy = copy and target.is_symlink()
    if state.kind == "current" and not want_copy and not force:
        return target

    if state.kind in ("foreign", "checkout"):
        raise PluginInstallError(
            f"{target} is {state.detail}; --force does not remove it either: "
            f"move it away first"
        )

    if state.kind != "missing":
        if not force:
            raise PluginInstallError(
                f"{target} is {state.detail}; pass --force to replace it"
            )

        _remove(target)

    target.parent.mkdir(parents=True, exist_ok=True)
    if not copy:
        try:
            target.symlink_to(source, target_is_directory=True)
            return target
        except OSError:
            # Windows without developer mode, some network drives
            pass

    _copy(source, target)
    return target


def uninstall_plugin(plugins_dir=None) -> Path | None:
    """Removes the plugin's link or copy.

    A link is never followed, and a folder that holds more than the plugin's
    own files is never removed.

    Args:
        plugins_dir (None): the folder that FiftyOne searches, by default
            ``fo.config.plugins_dir``

    Returns:
        the path that was removed, or None if there was nothing

    Raises:
        PluginInstallError: if what lies there is not ours to remove
    """
    target = _target(plugins_dir)
    state = _state(target, plugin_source_dir())
    if state.kind == "missing":
        return None

    if state.kind in ("foreign", "checkout") or _is_source(target):
        raise PluginInstallError(
            f"{target} is {state.detail}; remove it by hand if you mean to"
        )

    _remove(target)
    return target


def find_other_installs(plugins_dir=None) -> list[Path]:
    """Finds plugins of the same name elsewhere in the plugins directory.

    ``fiftyone plugins download`` makes such a one; of two plugins with one
    name, FiftyOne runs whichever it meets first.

    Args:
        plugins_dir (None): the folder that FiftyOne searches, by default
            ``fo.config.plugins_dir``

    Returns:
        the folders, other than the one that :func:`install_plugin` makes
    """
    target = _target(plugins_dir)
    found = []
    seen = set()
    # Searched as FiftyOne does, but safe from links that form a circle
    for root, dirs, files in os.walk(target.parent, followlinks=True):
        if any(name in files for name in _MANIFESTS):
            dirs.clear()
            if _manifest_name(Path(root)) == PLUGIN_NAME:
                found.append(Path(root))

            continue

        real = os.path.realpath(root)
        if real in seen:
            dirs.clear()

        seen.add(real)
        dirs[:] = sorted(d for d in dirs if not d.startswith("."))

    return [path for path in found if path != target]


def _target(plugins_dir):
    if plugins_dir is None:
        plugins_dir = default_plugins_dir()

    # The folder's own links are resolved, the target's is what we look at
    return Path(plugins_dir).expanduser().resolve() / FOLDER_NAME


def _state(target, source):
    if target.is_symlink():
        pointee = os.readlink(target)
        if not target.exists():
            return PluginState("ours", f"a dead link to {pointee}")
        if target.resolve() == source:
            return PluginState("current", f"a link to {source}")
        if _manifest_name(target) == PLUGIN_NAME:
            return PluginState("ours", f"a link to {pointee}")

        return PluginState("foreign", f"a link to {pointee}, another plugin")

    if not target.exists():
        return PluginState("missing", "missing")
    if not target.is_dir():
        return PluginState("foreign", "a file")
    if target.resolve() == source:
        return PluginState("current", "the source itself, not an install")
    if _manifest_name(target) != PLUGIN_NAME:
        return PluginState("foreign", "not this plugin")
    if not _only_plugin_files(target):
        return PluginState(
            "checkout", "a folder with more than the plugin's files"
        )
    if _contents(target) == _contents(source):
        return PluginState("current", f"a copy of {source}")

    return PluginState("ours", "a copy of another version")


def _is_source(target):
    return not target.is_symlink() and target.resolve() == plugin_source_dir()


def _only_plugin_files(folder):
    names = {entry.name for entry in folder.iterdir()}
    return names <= {*PLUGIN_FILES, *_DEBRIS}


def _contents(folder):
    """Maps the plugin's files in a folder to their bytes."""
    contents = {}
    for name in PLUGIN_FILES:
        path = folder / name
        files = path.rglob("*") if path.is_dir() else [path]
        for file in files:
            relative = file.relative_to(folder)
            if file.is_file() and not set(_DEBRIS) & set(relative.parts):
                contents[relative.as_posix()] = file.read_bytes()

    return contents


def _copy(source, target):
    # Made beside its place and renamed, so that no half of it is ever found
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        for name in PLUGIN_FILES:
            path = source / name
            if path.is_dir():
                ignore = shutil.ignore_patterns(*_DEBRIS)
                shutil.copytree(path, part / name, ignore=ignore)
            elif path.is_file():
                shutil.copy2(path, part / name)

        part.rename(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _remove(target):
    if target.is_symlink():
        target.unlink()
    else:
        shutil.rmtree(target)


def _manifest_name(folder):
    """Returns the plugin name in a folder's manifest, or None."""
    for manifest in _MANIFESTS:
        try:
            lines = (folder / manifest).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            continue

        # No YAML parser: this module imports nothing but the standard library
        for line in lines:
            key, _, value = line.partition(":")
            if key == "name":
                return value.partition(" #")[0].strip().strip("'\"")

    return None
