"""Pieces of forms that several operators share."""

from fiftyone.operators import types


def target_section(inputs, target):
    """Says how much there is to score; returns whether it can be."""
    from fiftyone_iqa.errors import IQAError
    from fiftyone_iqa.scoring.source import open_source

    try:
        source = open_source(target)
    except IQAError as e:
        prop = inputs.view("unusable", types.Error(label=str(e)))
        prop.invalid = True
        return False

    n = len(source.samples)
    noun = "object" if source.samples._is_patches else "image"
    inputs.view(
        "target_size",
        types.Notice(label=f"{n:,} {noun if n == 1 else f'{noun}s'}"),
    )
    return True


def storage_section(inputs):
    """Adds what to do with scores that exist, and how to show new ones."""
    inputs.bool(
        "overwrite",
        default=False,
        label="Score again what has scores",
        description="Otherwise only missing scores are computed",
        view=types.SwitchView(),
    )
    inputs.str(
        "field_prefix",
        required=False,
        label="Field prefix",
        description="Keeps scores of another configuration beside the "
        "existing ones",
    )
    inputs.bool(
        "sidebar_group",
        default=True,
        label="Group the fields in the sidebar",
        description="Shows when the dataset is opened the next time",
        view=types.SwitchView(),
    )
    inputs.bool(
        "create_index",
        default=False,
        label="Index the fields",
        description="Makes filtering fast on large datasets",
        view=types.SwitchView(),
    )


def label_field_section(ctx, inputs, name, label, description, kinds):
    """Adds a choice among the dataset's label fields.

    Args:
        ctx: the execution context
        inputs: the form
        name: the parameter
        label: what the App calls it
        description: one line below
        kinds: label classes to offer

    Returns:
        the fields offered
    """
    import fiftyone as fo

    fields = []
    for kind in kinds:
        fields += ctx.dataset.get_field_schema(
            ftype=fo.EmbeddedDocumentField, embedded_doc_type=kind
        )
    choices = types.DropdownView()
    for field in fields:
        choices.add_choice(field, label=field)
    inputs.enum(
        name,
        choices.values(),
        required=True,
        label=label,
        description=description,
        view=choices,
    )
    return fields
