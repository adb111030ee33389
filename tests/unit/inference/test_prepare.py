"""The raster against the model: what does not fit is said before any work."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from shapely import box

from buildmap.errors import InputError
from buildmap.inference.options import Prediction, Running
from buildmap.inference.prepare import Work, prepare
from tests.networks import make_card, write_onnx
from tests.scenes import write_layer, write_raster


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    write_onnx(tmp_path / "m.onnx")
    return write_raster(tmp_path / "in.tif", np.zeros((3, 200, 300), np.uint8))


def prepared(scene: Path, **options: object) -> Work:
    prediction = Prediction(models=(scene.with_name("m.onnx"),), **options)  # type: ignore[arg-type]
    work, _ = prepare((str(scene),), prediction, Running(), is_layer=False)
    work.reader.close()
    return work


def test_what_is_predicted_is_as_much_finer_as_the_model_says(scene: Path) -> None:
    coarse = prepared(scene)
    write_onnx(scene.with_name("m.onnx"), make_card(scale=4))
    finer = prepared(scene)
    assert coarse.grid == coarse.reader.grid == finer.reader.grid
    assert finer.grid == coarse.grid.scaled(4)
    assert finer.job.cutting.plan == coarse.job.cutting.plan
    assert (finer.job.cutting.predicted_width, finer.job.cutting.predicted_ramp_px) == (1200, 128)
    assert finer.facts["grid"] != coarse.facts["grid"]


def test_windows_are_the_models_or_the_users(scene: Path) -> None:
    assert prepared(scene).job.cutting.plan.core_width_px == 64
    theirs = prepared(scene, window_px=256, halo_px=16).job
    assert (theirs.cutting.plan.core_width_px, theirs.options.window_px) == (144, 256)
    with pytest.raises(InputError, match="not multiples of the stride 16"):
        prepared(scene, halo_px=17)
    with pytest.raises(InputError, match="leaves no core"):
        prepared(scene, halo_px=64)


def test_an_area_cuts_the_grid_to_its_box_from_a_multiple_of_the_stride(scene: Path, tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "aoi.gpkg", [box(400_010, 4_999_950, 400_030, 4_999_990)])
    work = prepared(scene, aoi=layer)
    assert (work.reader.grid.width, work.reader.grid.height) == (40 + 20 % 16, 80 + 20 % 16)
    area = work.job.area_on(work.reader.grid)
    assert area is not None
    assert (~area.outside(work.reader.grid.window)).sum() == 40 * 80
    narrower = prepared(scene, aoi=layer, bbox=(400_000, 4_999_980, 400_020, 5_000_000))
    assert (narrower.reader.grid.width, narrower.reader.grid.height) == (24, 24)


def test_an_area_in_another_crs_is_brought_over(scene: Path, tmp_path: Path) -> None:
    with_prepared = prepared(scene)
    left, bottom, right, top = with_prepared.reader.grid.bounds
    frame = gpd.GeoDataFrame(geometry=[box(left, bottom, right, top)], crs=with_prepared.reader.grid.crs)
    frame.to_crs(4326).to_file(tmp_path / "aoi.geojson")
    work = prepared(scene, aoi=tmp_path / "aoi.geojson")
    assert (work.reader.grid.width, work.reader.grid.height) == (300, 200)


def test_an_area_elsewhere_is_refused_with_both_extents(scene: Path, tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "aoi.gpkg", [box(0, 0, 1, 1)])
    with pytest.raises(InputError, match=r"does not touch the raster: extents \(0, 0, 1, 1\) and"):
        prepared(scene, aoi=layer)


def test_all_that_the_bytes_depend_on_is_in_the_facts(scene: Path) -> None:
    facts = prepared(scene).facts
    assert prepared(scene, threshold=0.9).facts == facts
    assert prepared(scene, halo_px=16).facts != facts
    assert prepared(scene, bands=(3, 2, 1)).facts != facts
    assert prepared(scene, rows_per_strip=2).facts != facts
    assert prepared(scene, bbox=(400_000, 4_999_950, 400_100, 5_000_000)).facts != facts
