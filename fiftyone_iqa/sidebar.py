"""Making score fields easy to find and fast to filter in the App."""

from __future__ import annotations

GROUP = "image quality"
SIDEBAR_KEY = "iqa_sidebar"  # in dataset.info


def show_in_sidebar(dataset, fields, group: str = GROUP) -> None:
    """Puts fields into a group of the App's sidebar, below the tags.

    Fields are moved there from other groups; fields that are there stay.

    Args:
        dataset: a ``fiftyone.core.dataset.Dataset``
        fields: list of field paths
        group ("image quality"): name of the group
    """
    import fiftyone as fo

    groups = dataset.app_config.sidebar_groups
    noted = dataset.info.get(SIDEBAR_KEY) or {
        "was_default": groups is None,
        "groups": [],
        "moved": [],
    }
    if groups is None:
        groups = fo.DatasetAppConfig.default_sidebar_groups(dataset)

    found = next((g for g in groups if g.name == group), None)
    if found is None:
        found = fo.SidebarGroupDocument(name=group, paths=[], expanded=True)
        names = [g.name for g in groups]
        position = names.index("tags") + 1 if "tags" in names else 0
        groups.insert(position, found)
        noted["groups"].append(group)

    moved = _moved(noted)
    for other in groups:
        if other is found:
            continue
        for place, path in enumerate(other.paths):
            if path in fields and other.name not in noted["groups"]:
                moved.setdefault(path, {"group": other.name, "place": place})
        other.paths = [p for p in other.paths if p not in fields]
    for path in moved.keys() & set(fields):
        moved[path]["to"] = group
    found.paths = list(dict.fromkeys([*found.paths, *fields]))

    # Not by path: keys of the database have no dots
    noted["moved"] = [{"path": p, **how} for p, how in moved.items()]
    dataset.info[SIDEBAR_KEY] = noted
    dataset.app_config.sidebar_groups = groups
    dataset.save()


def groups_made(dataset) -> list[str]:
    """Returns the names of the groups that :func:`show_in_sidebar` made."""
    noted = dataset.info.get(SIDEBAR_KEY) or {"groups": []}
    groups = dataset.app_config.sidebar_groups or ()
    return [g.name for g in groups if g.name in noted["groups"]]


def restore_sidebar(dataset) -> None:
    """Takes back what :func:`show_in_sidebar` did; saving is the caller's.

    Fields that are still there return to where they were, and where there
    were no groups there are none again.
    """
    import fiftyone as fo

    noted = dataset.info.pop(SIDEBAR_KEY, None)
    groups = dataset.app_config.sidebar_groups
    if noted is None or groups is None:
        return
    default = fo.DatasetAppConfig.default_sidebar_groups(dataset)
    homes = {
        path: {"group": g.name, "place": len(g.paths)}
        for g in default
        for path in g.paths
    }
    moved = _moved(noted)
    homes |= moved
    left = []
    for group in groups:
        ours = group.name in noted["groups"]
        for path in list(group.paths):
            if ours or moved.get(path, {}).get("to") == group.name:
                group.paths.remove(path)
                left.append(path)
    groups = [g for g in groups if g.name not in noted["groups"]]
    by_name = {g.name: g for g in groups}
    # In order, so that each finds those before it in their places
    left = [path for path in left if path in homes]
    for path in sorted(left, key=lambda path: homes[path]["place"]):
        home = by_name.get(homes[path]["group"])
        if home is not None:
            home.paths.insert(homes[path]["place"], path)
    if noted["was_default"] and _paths(groups) == _paths(default):
        groups = None
    dataset.app_config.sidebar_groups = groups


def _moved(noted):
    return {
        entry["path"]: {k: v for k, v in entry.items() if k != "path"}
        for entry in noted["moved"]
    }


def _paths(groups):
    """Returns what groups hold, in whatever order within them."""
    return [(g.name, sorted(g.paths)) for g in groups if g.paths]


def index_fields(dataset, fields) -> None:
    """Creates database indexes, so that the sidebar filters large datasets.

    Args:
        dataset: a ``fiftyone.core.dataset.Dataset``
        fields: list of field paths; those that have an index are left
    """
    for field in fields:
        dataset.create_index(field)
