from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely

from buildmap.changes.sorting import sort_layer
from buildmap.changes.streaming import Strips, survey_shift
from buildmap.errors import Stopped
from buildmap.execution.progress import Silent
from buildmap.vector.crs import as_crs
from tests.scenes import UTM, write_layer


def houses(dx: float = 0.0) -> list[shapely.Polygon]:
    return [
        shapely.box(25 * n + dx + n % 3, 25 * m, 25 * n + dx + 9, 25 * m + 9 + m % 2)
        for n in range(5)
        for m in range(8)
    ]


@pytest.fixture
def strips(tmp_path: Path) -> Callable[..., Strips]:
    def sort(height: float, stop: Callable[[], bool] = lambda: False) -> Strips:
        layers = []
        for name, dx in (("before", 0.0), ("after", 2.0)):
            path = write_layer(tmp_path / f"{name}.gpkg", houses(dx))
            layers.append(sort_layer(path, tmp_path, crs=as_crs(UTM), strip_height=height))
        return Strips(before=layers[0], after=layers[1], height=height, progress=Silent(), stop=stop)

    return sort


@pytest.mark.parametrize("height", [10.0, 26.0, 1000.0])
def test_strips_come_from_north_to_south_and_none_reaches_above_what_was_said(
    strips: Callable[..., Strips], height: float
) -> None:
    said, rows = np.inf, []
    for before, after, below in strips(height).walk("compare"):
        for side in (before, after):
            assert (side.store.bounds[:, 3] < said).all()
        said = below
        rows += before.row.tolist()
    assert sorted(rows) == [*range(40)]


@pytest.mark.parametrize("height", [10.0, 26.0, 1000.0])
def test_the_shift_does_not_depend_on_the_strips(strips: Callable[..., Strips], height: float) -> None:
    field = survey_shift(strips(height), tolerance=5.0, block=1000.0, unit_m=1.0)
    np.testing.assert_allclose(field.overall, (2, 0), atol=1e-9)


def test_without_a_tolerance_nothing_is_moved(strips: Callable[..., Strips]) -> None:
    field = survey_shift(strips(50.0), tolerance=0.0, block=1000.0, unit_m=1.0)
    assert field.at(np.array([[50.0, 50.0]])).tolist() == [[0, 0]]


def test_asked_to_stop_it_stops_at_the_next_strip(strips: Callable[..., Strips]) -> None:
    seen: list[float] = []
    with pytest.raises(Stopped):
        seen.extend(below for *_, below in strips(26.0, lambda: len(seen) >= 2).walk("compare"))
    assert len(seen) == 2
