"""The layer of valid ground: one and the same however it came about, and what `change` reads of it."""

from pathlib import Path

import numpy as np
import pyogrio
import pytest
from pyproj import CRS
from shapely.geometry import box

from buildmap.changes.evidence import evidence_in, open_evidence
from buildmap.errors import Stopped
from buildmap.inference.options import Prediction, Running
from buildmap.predict import predict
from buildmap.vectorize import Delivery, vectorize
from tests.networks import write_onnx
from tests.scenes import ORIGIN, UTM, blocks_mask, houses_image, write_raster

SIDE = 700


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ground")
    rng = np.random.default_rng(0)
    write_onnx(folder / "m.onnx", kernel_px=9)
    pixels = houses_image(blocks_mask(rng, SIDE, SIDE, count=500), rng)
    lost = np.kron(rng.random((14, 14)) < 0.3, np.ones((50, 50))).astype(np.bool_)
    pixels[:, lost] = 0
    return write_raster(folder / "in.tif", pixels, nodata=0)


def ground(path: Path) -> list[bytes]:
    return [bytes(shape) for shape in pyogrio.raw.read(path, layer="valid")[2]]


def predicted(
    scene: Path,
    output: Path,
    running: Running | None = None,
    *,
    stop_after: int = 10**9,
    **options: object,
) -> Path:
    asked = iter(range(10**9))
    prediction = Prediction(models=(scene.with_name("m.onnx"),), **options)  # type: ignore[arg-type]
    predict(scene, output, prediction, running, stop=lambda: next(asked) >= stop_after)
    return output


@pytest.fixture(scope="module")
def expected(scene: Path) -> list[bytes]:
    return ground(predicted(scene, scene.with_name("expected.gpkg"), valid=True))


def test_it_is_the_same_for_any_strips_and_workers_and_after_an_interruption(
    scene: Path, tmp_path: Path, expected: list[bytes]
) -> None:
    assert len(expected) > 3
    assert ground(predicted(scene, tmp_path / "a.gpkg", valid=True, rows_per_strip=3)) == expected
    with pytest.raises(Stopped):
        predicted(scene, tmp_path / "b.gpkg", valid=True, stop_after=20)
    assert ground(predicted(scene, tmp_path / "b.gpkg", Running(workers=2), valid=True)) == expected


def test_probability_that_is_vectorized_gives_the_same(
    scene: Path, tmp_path: Path, expected: list[bytes]
) -> None:
    probability = predicted(scene, tmp_path / "p.tif")
    vectorize(probability, tmp_path / "v.gpkg", None, Delivery(valid=True))
    assert ground(tmp_path / "v.gpkg") == expected


@pytest.mark.usefixtures("expected")
def test_evidence_from_the_layer_and_from_the_raster_agree_to_a_cell(scene: Path) -> None:
    places = np.random.default_rng(1).uniform(0, SIDE - 30, (200, 2))
    houses = np.array([box(*(ORIGIN @ (x, y + 20)), *(ORIGIN @ (x + 30, y))) for x, y in places], np.object_)
    layer = evidence_in(scene.with_name("expected.gpkg"), crs=CRS(UTM))
    raster = open_evidence(scene, crs=CRS(UTM))
    assert layer is not None
    one, other = layer.share(houses), raster.share(houses)
    raster.close()
    assert ((one == 1) & (other == 1)).sum() > 50
    assert ((one == 0) & (other == 0)).sum() > 5
    # half a cell, 8 pixels, on every side of a house of 30 x 20
    assert np.abs(one - other).max() <= 8 / 20 + 8 / 30
    assert np.abs(one - other).mean() < 0.1
    assert abs((one - other).mean()) < 0.03
