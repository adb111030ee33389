"""Curves against those that GDAL draws by itself, and against the circle they are part of."""

from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from numpy.typing import NDArray
from shapely.geometry import GeometryCollection, Point, box

from buildmap.vector.arrow import read_arrow
from buildmap.vector.batches import stream_batches
from buildmap.vector.curves import straightened
from buildmap.vector.reader import Repairs, read_footprints, read_unrepaired

DISC = "CURVEPOLYGON(CIRCULARSTRING(0 0,1 1,2 0,1 -1,0 0))"
HIGH = "CURVEPOLYGON Z(CIRCULARSTRING Z(0 0 5,1 1 5,2 0 5,1 -1 5,0 0 5))"
FAR = (
    "CURVEPOLYGON(COMPOUNDCURVE(CIRCULARSTRING(4.1e5 5000000.3,410001.1 5000001.7,410002.3 5000000.3),"
    "(410002.3 5000000.3,4.1e5 5000000.3)))"
)
SQUARE = "POLYGON((5 0,6 0,6 1,5 1,5 0))"


def file_of(path: Path, *shapes: str) -> Path:
    path.write_text("id,WKT\n" + "".join(f'{n},"{shape}"\n' for n, shape in enumerate(shapes)))
    return path


def curved(path: Path, *shapes: str) -> NDArray[np.object_]:
    """Give geometries as WKB, curves as such: pyogrio draws those that are not in collections."""
    with pyogrio.raw.open_arrow(file_of(path, *shapes)) as (_, stream):
        return np.concatenate([batch["wkb_geometry"] for batch in read_arrow(stream, "curves")])


@pytest.mark.parametrize("shape", [DISC, FAR, f"MULTISURFACE({DISC},((5 0,6 0,6 1,5 0)))"])
def test_curves_are_drawn_as_gdal_draws_them(tmp_path: Path, shape: str) -> None:
    path = tmp_path / "curves.csv"
    expected = shapely.from_wkb(pyogrio.raw.read(file_of(path, shape))[2])
    drawn = shapely.from_wkb(straightened(curved(path, shape)))
    assert shapely.get_num_coordinates(expected[0]) > 40
    assert shapely.equals_exact(drawn, expected, 1e-15).all()


def test_what_has_no_curve_stays_the_same_bytes(tmp_path: Path) -> None:
    wkb = curved(tmp_path / "a.csv", SQUARE, f"GEOMETRYCOLLECTION({SQUARE},POINT(1 1))", "", DISC)
    drawn = straightened(wkb)
    assert drawn[:3].tolist() == wkb[:3].tolist()
    assert drawn[3] != wkb[3]
    straight = wkb[:3]
    assert straightened(straight) is straight


def test_bytes_that_look_like_a_curve_do_no_harm() -> None:
    number = np.frombuffer(b"\x01\x0a\0\0\0\0\xf0\x3f", np.float64)[0]
    shape = GeometryCollection([Point(number, 2), box(0, 0, 1, 1)])
    (drawn,) = shapely.from_wkb(straightened(np.array([shapely.to_wkb(shape)], np.object_)))
    assert drawn.equals(shape)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("z", [False, True])
def test_curves_are_found_in_either_order_of_bytes(z: bool, order: int) -> None:
    mark, ends = bytes([order]), "<" if order else ">"
    corners = np.array([[0, 0, 7], [1, 1, 7], [2, 0, 7], [1, -1, 7], [0, 0, 7]], f"{ends}f8")
    if not z:
        corners = corners[:, :2]

    def head(kind: int, count: int) -> bytes:
        return mark + np.array([kind + 1000 * z, count], f"{ends}u4").tobytes()

    ring = head(8, 5) + corners.tobytes()
    wkb = head(7, 1) + head(7, 1) + head(10, 1) + ring
    (drawn,) = shapely.from_wkb(straightened(np.array([wkb], np.object_)))
    assert shapely.area(drawn) == pytest.approx(np.pi, rel=2e-3)
    assert shapely.has_z(drawn) == z


NESTED = (
    f"GEOMETRYCOLLECTION({DISC})",
    SQUARE,
    f"GEOMETRYCOLLECTION(POINT(1 1),GEOMETRYCOLLECTION({SQUARE},{DISC}))",
    "GEOMETRYCOLLECTION(CIRCULARSTRING(0 0,1 1,2 0))",
    "GEOMETRYCOLLECTION(CURVEPOLYGON EMPTY)",
    f"GEOMETRYCOLLECTION Z({HIGH})",
)
"""The last has heights, which are dropped."""


def test_curves_in_collections_are_buildings_or_dropped_and_counted(tmp_path: Path) -> None:
    path = file_of(tmp_path / "nested.csv", *NESTED)
    read = read_footprints(path, crs=None)
    assert shapely.area(read.polygons) == pytest.approx([np.pi, 1, 1, np.pi, np.pi], rel=2e-3)
    assert read.repairs == Repairs(not_polygonal=1, empty=1, flattened=1)
    batches = list(stream_batches(path, crs=None, columns=["id"], rows=2))
    assert np.concatenate([batch.polygons for batch in batches]).tolist() == read.polygons.tolist()
    assert np.concatenate([batch.columns["id"] for batch in batches]).tolist() == [*"01225"]
    assert sum((batch.repairs for batch in batches), Repairs()) == read.repairs


def test_curves_in_collections_are_drawn_where_nothing_is_repaired(tmp_path: Path) -> None:
    (shapes,) = read_unrepaired(file_of(tmp_path / "nested.csv", *NESTED[:2]))
    assert shapely.area(shapes) == pytest.approx([np.pi, 1], rel=2e-3)
