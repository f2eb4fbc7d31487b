"""The ``fiftyone-iqa`` command."""

from __future__ import annotations

import argparse
import sys

from fiftyone_iqa import plugin
from fiftyone_iqa.errors import IQAError


def main(argv=None) -> int:
    """Runs the command.

    Args:
        argv (None): the arguments, by default those of the process

    Returns:
        the exit status
    """
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except (IQAError, OSError) as e:
        print(f"fiftyone-iqa: {e}", file=sys.stderr)
        return 1

    return 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="fiftyone-iqa",
        description="Image quality for models, in FiftyOne.",
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True
    )

    install = commands.add_parser(
        "install-plugin",
        help="link the plugin into FiftyOne's plugins directory",
        description="Links the plugin into FiftyOne's plugins directory, so "
        "that the App finds its operators. Copies where links are not "
        "possible.",
    )
    install.add_argument(
        "--force",
        action="store_true",
        help="replace another version of this plugin",
    )
    install.add_argument(
        "--copy", action="store_true", help="copy rather than link"
    )
    install.set_defaults(run=_install)

    uninstall = commands.add_parser(
        "uninstall-plugin",
        help="remove the plugin's link or copy",
        description="Removes the plugin's link or copy from FiftyOne's "
        "plugins directory. The package itself stays installed.",
    )
    uninstall.set_defaults(run=_uninstall)

    for command in (install, uninstall):
        command.add_argument(
            "--plugins-dir",
            metavar="DIR",
            help="the plugins directory (default: FiftyOne's)",
        )

    cache = commands.add_parser(
        "cache",
        help="show or clear the embedding cache",
        description="Shows where the embedding cache lies and what it holds.",
    )
    cache.add_argument("--clear", action="store_true", help="empty the cache")
    cache.set_defaults(run=_cache)
    return parser


def _version():
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"fiftyone-iqa {version('fiftyone-iqa')}"
    except PackageNotFoundError:
        return "fiftyone-iqa (not installed)"


def _install(args):
    plugins_dir = args.plugins_dir or plugin.default_plugins_dir()
    before = plugin.plugin_state(plugins_dir)
    path = plugin.install_plugin(plugins_dir, force=args.force, copy=args.copy)
    how = plugin.plugin_state(plugins_dir).detail
    done = before.kind == "current" and before.detail == how
    if done and not args.force:
        print(f"Already installed: {path} ({how})")
    else:
        print(f"Installed {plugin.PLUGIN_NAME}: {path} ({how})")
        print("Restart the App to see its operators.")

    for other in plugin.find_other_installs(plugins_dir):
        print(
            f"Note: {other} holds a plugin of the same name; FiftyOne runs "
            f"only one of the two. Remove that one "
            f"(fiftyone plugins delete) or this one "
            f"(fiftyone-iqa uninstall-plugin).",
            file=sys.stderr,
        )


def _uninstall(args):
    plugins_dir = args.plugins_dir or plugin.default_plugins_dir()
    path = plugin.uninstall_plugin(plugins_dir)
    if path is None:
        print("Nothing to remove: the plugin is not installed")
    else:
        print(f"Removed {path}")

    for other in plugin.find_other_installs(plugins_dir):
        print(
            f"Note: {other} still holds a plugin of the same name",
            file=sys.stderr,
        )


def _cache(args):
    import fiftyone_iqa as fiqa

    info = fiqa.cache_info()
    if args.clear:
        fiqa.clear_cache()
        print(f"Cleared {info['path']} ({_size(info['bytes'])})")
        return

    print(f"Embedding cache: {info['path']}")
    print(
        f"{info['n_embeddings']} embeddings in {info['n_spaces']} spaces, "
        f"{_size(info['bytes'])}"
    )


def _size(n_bytes):
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"

    return f"{n_bytes} bytes"


if __name__ == "__main__":
    raise SystemExit(main())
