"""Making score fields easy to find and fast to filter in the App."""

from __future__ import annotations

GROUP = "image quality"


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
    if groups is None:
        groups = fo.DatasetAppConfig.default_sidebar_groups(dataset)

    found = next((g for g in groups if g.name == group), None)
    if found is None:
        found = fo.SidebarGroupDocument(name=group, paths=[])
        names = [g.name for g in groups]
        position = names.index("tags") + 1 if "tags" in names else 0
        groups.insert(position, found)

    for other in groups:
        if other is not found:
            other.paths = [p for p in other.paths if p not in fields]
    found.paths = list(dict.fromkeys([*found.paths, *fields]))
    found.expanded = True

    dataset.app_config.sidebar_groups = groups
    dataset.save()


def index_fields(dataset, fields) -> None:
    """Creates database indexes, so that the sidebar filters large datasets.

    Args:
        dataset: a ``fiftyone.core.dataset.Dataset``
        fields: list of field paths; those that have an index are left
    """
    for field in fields:
        dataset.create_index(field)
