from fiftyone_iqa.sidebar import index_fields, show_in_sidebar


def groups(dataset):
    dataset.reload()
    return {g.name: g.paths for g in dataset.app_config.sidebar_groups}


def test_fields_move_into_their_group(make_dataset):
    import fiftyone as fo

    dataset = make_dataset(1, labels=["cat"])
    for name in ("a", "b", "c"):
        dataset.add_sample_field(name, fo.FloatField)
    show_in_sidebar(dataset, ["a", "b"])
    found = groups(dataset)
    assert found["image quality"] == ["a", "b"]
    assert "a" not in found["primitives"]
    assert "c" in found["primitives"]
    assert list(found)[:2] == ["tags", "image quality"]

    # Again, with one more: nothing twice, nothing lost
    show_in_sidebar(dataset, ["b", "c"])
    assert groups(dataset)["image quality"] == ["a", "b", "c"]


def test_indexes_are_made_once(make_dataset):
    import fiftyone as fo

    dataset = make_dataset(1)
    dataset.add_sample_field("a", fo.FloatField)
    index_fields(dataset, ["a"])
    index_fields(dataset, ["a"])
    assert dataset.list_indexes().count("a") == 1
