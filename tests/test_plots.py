import json

import numpy as np
import pytest

import fiftyone_iqa as fiqa
from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.plots import KINDS


@pytest.fixture(scope="module")
def results(database):
    import fiftyone as fo

    rng = np.random.default_rng(0)
    dataset = fo.Dataset()
    quality = rng.normal(size=300)
    dataset.add_samples(
        [
            fo.Sample(
                f"/no/{i}.jpg",
                q=float(q),
                camera=f"camera {i % 6}",
                right=bool(rng.random() < 1 / (1 + np.exp(-q - i % 6 + 3))),
            )
            for i, q in enumerate(quality)
        ],
        progress=False,
    )
    fiqa.use_quality_field(dataset, "q", higher_is_better=True)
    options = {"brain_key": None, "progress": False}
    yield {
        "grouped": fiqa.build_quality_prior(
            dataset, "q", "right", group_by="camera", **options
        ),
        "plain": fiqa.build_quality_prior(dataset, "q", "right", **options),
    }
    dataset.delete()


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_a_figure_of_its_own(results, kind):
    figure = results["grouped"].plot(kind)
    assert figure.data and figure.layout.annotations[0].text
    json.loads(figure.to_json())


def test_overview_has_all_four(results):
    figure = results["grouped"].plot()
    assert len(figure.layout.annotations) == len(KINDS)
    titles = {a.text.partition(" ")[0] for a in figure.layout.annotations}
    assert titles == {"Distribution", "Accuracy", "Reliability", "How"}


def test_bars_count_every_image(results):
    wrong, right, _ = results["plain"].plot("distribution").data
    assert (wrong.name, right.name) == ("wrong", "right")
    assert sum(wrong.y) + sum(right.y) == 300
    accuracy = results["plain"].report["accuracy"]
    assert sum(right.y) == round(300 * accuracy)


def test_points_are_the_groups(results):
    figure = results["grouped"].plot("accuracy")
    assert {trace.name for trace in figure.data} == {
        f"camera {i}" for i in range(6)
    }
    assert sum(sum(trace.customdata) for trace in figure.data) == 300
    assert all(0 <= y <= 1 for trace in figure.data for y in trace.y)


def test_reliability_is_of_left_out_images(results):
    points = results["plain"].plot("reliability").data[1]
    assert sum(points.customdata) == 300
    assert np.all(np.diff(points.x) >= 0)


def test_without_groups_the_overview_says_so(results):
    titles = [a.text for a in results["plain"].plot().layout.annotations]
    assert any("no groups" in title for title in titles)
    with pytest.raises(IQAError, match="no groups"):
        results["plain"].plot("accuracy")


def test_unknown_kind_and_metric(results):
    with pytest.raises(IQAError, match="no plot 'pie'; there are overview"):
        results["plain"].plot("pie")
    with pytest.raises(IQAError, match="no metric 'tv'; it has q"):
        results["plain"].plot(metric="tv")
