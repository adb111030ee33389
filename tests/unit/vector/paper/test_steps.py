"""The layers of the paper's steps."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from pyproj import CRS

from buildmap.vector.paper.chain import paper_outlines
from buildmap.vector.paper.kinds import thresholds
from buildmap.vector.paper.measures import measure
from buildmap.vector.paper.steps import LAYERS, StepsWriter
from tests.scenes import ORIGIN, UTM
from tests.unit.vector.outlines import pixel_outlines


def test_every_step_is_a_layer_on_the_map_with_what_was_decided(tmp_path: Path) -> None:
    houses = [shapely.Point(30, 30).buffer(14), shapely.box(60, 10, 90, 40), shapely.box(20, 60, 80, 90)]
    outlines = pixel_outlines([*houses[:2], houses[2] - shapely.box(40, 60, 60, 72)], 100, 100)
    steps = paper_outlines(outlines, thresholds(measure(outlines)))
    writer = StepsWriter(tmp_path / "steps.gpkg", crs=CRS.from_user_input(UTM), transform=ORIGIN)
    writer.write(steps)
    writer.write(steps)
    writer.finish()
    assert set(pyogrio.list_layers(tmp_path / "steps.gpkg")[:, 0]) == set(LAYERS)
    for name in LAYERS:
        layer = gpd.read_file(tmp_path / "steps.gpkg", layer=name)
        assert layer.number.tolist() == [1, 2, 3, 4, 5, 6]
        assert layer.crs.to_epsg() == 32633
        assert layer.kind.tolist() == [*steps.kind, *steps.kind]
        assert np.allclose(layer.score[:3], steps.score)
        expected = shapely.area(getattr(steps, name)) * 0.25
        assert np.allclose(layer.area[:3], expected)
        assert layer.rolled_back.tolist()[:3] == steps.rolled_back.tolist()
    angles = layer.directions_deg[1].split()
    assert [float(angle) for angle in angles] == [round(angle, 2) for angle in steps.directions[1]]
    nothing = StepsWriter(tmp_path / "none.gpkg", crs=CRS.from_user_input(UTM), transform=ORIGIN)
    nothing.finish()
    assert set(pyogrio.list_layers(tmp_path / "none.gpkg")[:, 0]) == set(LAYERS)
    empty = gpd.read_file(tmp_path / "none.gpkg", layer="final")
    assert (len(empty), [*empty.columns], empty.crs.to_epsg()) == (0, [*layer.columns], 32633)
    left, _, _, top = layer.total_bounds
    assert 400_000 < left < 400_020 and 4_999_980 < top < 5_000_000
