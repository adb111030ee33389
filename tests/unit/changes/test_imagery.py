"""Pictures of ground: the right ground, upright in another CRS, and gray where nothing is known."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from PIL import Image
from pyproj import CRS, Transformer

from buildmap.changes.imagery import NO_DATA, Imagery, to_url
from buildmap.errors import InputError
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
from tests.scenes import UTM, write_raster

UTM_CRS = CRS.from_user_input(UTM)
LEFT, TOP = 400_000, 5_000_000
"""Of the raster, 0.5 m a pixel."""


def spotted(path: Path, **options: object) -> Path:
    """Write dark ground with one bright square of 20 m, its centre 100 m right of and below the corner."""
    pixels = np.full((3, 400, 400), 40, np.uint8)
    pixels[:, 180:220, 180:220] = [[[250]], [[200]], [[150]]]
    return write_raster(path, pixels, **options)


def around(x: float, y: float, side: float) -> tuple[float, float, float, float]:
    return x - side / 2, y - side / 2, x + side / 2, y + side / 2


def test_the_picture_shows_the_ground_of_the_box(tmp_path: Path) -> None:
    with Imagery(spotted(tmp_path / "a.tif"), UTM_CRS) as imagery:
        picture = imagery.picture(around(LEFT + 100, TOP - 100, 40), side_px=80)
    assert picture is not None
    assert (picture[22:58, 22:58] == [250, 200, 150]).all()
    edge = np.ones((80, 80), np.bool_)
    edge[18:62, 18:62] = False
    assert (picture[edge] == 40).all()


def test_a_box_beside_shows_the_same_ground_elsewhere(tmp_path: Path) -> None:
    with Imagery(spotted(tmp_path / "a.tif"), UTM_CRS) as imagery:
        picture = imagery.picture(around(LEFT + 110, TOP - 95, 40), side_px=80)
    assert picture is not None
    rows, cols = np.nonzero(picture[..., 0] > 145)
    assert (rows.min(), rows.max() + 1, cols.min(), cols.max() + 1) == (30, 70, 0, 40)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_a_raster_in_another_crs_is_brought_to_the_right_place(tmp_path: Path, crs: str) -> None:
    there = Transformer.from_crs(UTM, crs, always_xy=True)
    x, y = there.transform(LEFT + 100, TOP - 100)
    (left, bottom), (right, top) = (there.transform(LEFT + 100 + d, TOP - 100 + d) for d in (-100, 100))
    pixels = np.full((3, 400, 400), 40, np.uint8)
    transform = Affine((right - left) / 400, 0, left, 0, (bottom - top) / 400, top)
    col, row = ~transform @ (x, y)
    pixels[:, round(row) - 20 : round(row) + 20, round(col) - 20 : round(col) + 20] = 220
    raster = write_raster(tmp_path / "a.tif", pixels, transform=transform, crs=crs)
    with Imagery(raster, UTM_CRS) as imagery:
        picture = imagery.picture(around(LEFT + 100, TOP - 100, 60), side_px=120)
    assert picture is not None
    bright = np.argwhere(picture[..., 0] > 130)
    np.testing.assert_allclose(bright.mean(axis=0), 59.5, atol=1.5)
    assert 0.9 < len(bright) / 40**2 < 1.1


def test_a_rotated_raster_is_shown_upright(tmp_path: Path) -> None:
    turned = Affine.translation(LEFT, TOP) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5)
    centre = turned @ (200, 200)
    with Imagery(spotted(tmp_path / "a.tif", transform=turned), UTM_CRS) as imagery:
        picture = imagery.picture(around(*centre, 40), side_px=80)
    assert picture is not None
    rows, cols = np.nonzero(picture[..., 0] > 145)
    spread = 40 * (np.cos(np.pi / 6) + np.sin(np.pi / 6))
    assert np.ptp(rows) == pytest.approx(spread, abs=3)
    assert np.ptp(cols) == pytest.approx(spread, abs=3)


def test_large_ground_is_averaged_and_not_picked_from(tmp_path: Path) -> None:
    checked = np.indices((800, 800)).sum(axis=0) % 2 * 200
    raster = write_raster(tmp_path / "a.tif", np.repeat(checked[None], 3, axis=0).astype(np.uint8))
    with Imagery(raster, UTM_CRS) as imagery:
        picture = imagery.picture(around(LEFT + 200, TOP - 200, 360), side_px=60)
    assert picture is not None
    assert np.abs(picture.astype(float) - 100).max() < 15


def test_ground_without_data_is_gray_and_ground_outside_too(tmp_path: Path) -> None:
    pixels = np.full((1, 400, 400), 90, np.uint8)
    pixels[:, :, :200] = 0
    raster = write_raster(tmp_path / "a.tif", pixels, nodata=0)
    with Imagery(raster, UTM_CRS) as imagery:
        picture = imagery.picture(around(LEFT + 100, TOP, 40), side_px=40)
    assert picture is not None
    assert (picture[21:, 21:] == 90).all()
    assert (picture[:19] == NO_DATA).all()
    assert (picture[:, :19] == NO_DATA).all()


def test_ground_beside_no_data_is_as_bright_as_ever(tmp_path: Path) -> None:
    pixels = np.full((1, 400, 400), 90, np.uint8)
    pixels[:, np.add.outer(np.arange(400), np.arange(400)) < 400] = 0
    with Imagery(write_raster(tmp_path / "a.tif", pixels, nodata=0), UTM_CRS) as imagery:
        picture = imagery.picture(around(LEFT + 100.2, TOP - 99.9, 20), side_px=130)
    assert picture is not None
    has_data = (picture != NO_DATA).any(axis=2)
    assert has_data.mean() == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(picture[has_data], 90, atol=1)


def test_no_more_pixels_are_read_than_a_picture_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, shapes = RasterReader.read, []

    def watched(self: RasterReader, window: Window, *, out_shape: tuple[int, int] | None = None) -> object:
        shapes.append(out_shape)
        return read(self, window, out_shape=out_shape)

    monkeypatch.setattr(RasterReader, "read", watched)
    with Imagery(spotted(tmp_path / "a.tif"), UTM_CRS) as imagery:
        imagery.picture(around(LEFT + 100, TOP - 100, 1000), side_px=60)
        imagery.picture(around(LEFT + 100, TOP - 100, 20), side_px=60)
    assert shapes == [(90, 90), (40, 40)]


def test_where_the_raster_knows_nothing_there_is_no_picture(tmp_path: Path) -> None:
    pixels = np.zeros((1, 400, 400), np.uint8)
    pixels[0, 0, 0] = 1
    raster = write_raster(tmp_path / "a.tif", pixels, nodata=0)
    with Imagery(raster, UTM_CRS) as imagery:
        assert imagery.picture(around(LEFT + 100, TOP - 100, 40), side_px=40) is None
        assert imagery.picture(around(LEFT - 500, TOP, 40), side_px=40) is None
        assert imagery.picture((1e9, 1e9, 1e9 + 40, 1e9 + 40), side_px=40) is None


def test_wide_numbers_are_stretched(tmp_path: Path) -> None:
    ramp = np.linspace(100, 3000, 400 * 400).reshape(1, 400, 400).astype(np.uint16)
    with Imagery(write_raster(tmp_path / "a.tif", ramp), UTM_CRS) as imagery:
        picture = imagery.picture(around(LEFT + 100, TOP - 100, 100), side_px=50)
    assert picture is not None
    assert picture[0].max() <= 10
    assert picture[-1].min() >= 245


@pytest.mark.parametrize("options", [{"crs": None}, {"transform": Affine.identity()}])
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_raster_that_lies_nowhere_is_refused(tmp_path: Path, options: dict[str, object]) -> None:
    raster = spotted(tmp_path / "a.tif", **options)
    with pytest.raises(InputError, match="does not say where it lies"):
        Imagery(raster, UTM_CRS)


def test_a_raster_on_no_part_of_the_earth_is_refused(tmp_path: Path) -> None:
    site = 'LOCAL_CS["site",LOCAL_DATUM["site",32767],UNIT["metre",1],AXIS["X",EAST],AXIS["Y",NORTH]]'
    with pytest.raises(InputError, match="has no place in WGS 84 / UTM zone 33N"):
        Imagery(spotted(tmp_path / "a.tif", crs=site), UTM_CRS)


def test_an_address_holds_the_whole_picture() -> None:
    picture = np.full((30, 40, 3), (200, 100, 50), np.uint8)
    kind, text = to_url(picture).split(",")
    assert kind == "data:image/jpeg;base64"
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
    assert back.shape == (30, 40, 3)
    assert np.abs(back.astype(int) - picture).max() < 6
