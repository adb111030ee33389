"""Layers streamed, against reading them at once."""

import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from shapely.geometry import GeometryCollection, MultiPolygon, Point, Polygon, box

from buildmap.errors import InputError, MissingInput
from buildmap.vector.batches import stream_batches
from buildmap.vector.reader import FootprintRows, Repairs, read_in_batches
from tests.scenes import UTM, write_layer

COLUMNS = ("floors", "height", "name", "seen", "flat")


def mixed(count: int = 40) -> gpd.GeoDataFrame:
    rng = np.random.default_rng(4)
    shapes: list[object] = []
    for number in range(count):
        house = box(12 + number / 1000, 50, 12 + number / 1000 + 1e-4, 50 + 1e-4)
        beside = shapely.transform(house, lambda xy: xy + 0.01)
        bowtie = Polygon([(12, 51), (12.1, 51.1), (12.1, 51), (12, 51.1)])
        odd = [
            None,
            MultiPolygon([house, beside]),
            bowtie,
            Point(12, 50),
            GeometryCollection([Point(12, 50), house]),
        ]
        shapes.append(odd[number % 10] if number % 10 < len(odd) else house)
    columns = {
        "floors": np.arange(count),
        "height": rng.uniform(3, 9, count),
        "name": np.where(np.arange(count) % 3 == 0, None, [f"hü{n}" for n in range(count)]),
        "seen": np.array("2026-11-22T10:00", "datetime64[ms]") + np.arange(count),
        "flat": np.arange(count) % 2 == 0,
    }
    return gpd.GeoDataFrame(columns, geometry=shapes, crs="EPSG:4326")


def joined(batches: list[FootprintRows], name: str) -> list[object]:
    return [value for batch in batches for value in batch.columns[name].tolist()]


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".geojsonl", ".fgb"])
@pytest.mark.parametrize("rows", [1, 7, 65_536])
def test_every_format_gives_what_it_gives_when_it_is_read_at_once(
    tmp_path: Path, suffix: str, rows: int
) -> None:
    path = tmp_path / f"mixed{suffix}"
    options = {"spatial_index": False} if suffix == ".fgb" else {}  # which would drop what has no geometry
    mixed().to_file(path, geometry_type="Unknown", **options)
    (whole,) = read_in_batches(path, crs=UTM, columns=COLUMNS)
    batches = list(stream_batches(path, crs=UTM, columns=COLUMNS, rows=rows))
    assert len(batches) == -(-40 // rows)
    assert np.concatenate([batch.polygons for batch in batches]).tolist() == whole.polygons.tolist()
    for name in COLUMNS:
        assert joined(batches, name) == whole.columns[name].tolist()
    assert sum((batch.repairs for batch in batches), Repairs()) == whole.repairs
    assert whole.repairs.null == 4
    assert {batch.crs for batch in batches} == {whole.crs}


def test_a_shapefile_gives_what_it_gives_when_it_is_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "houses.shp"
    layer = mixed()[["floors", "name", "geometry"]]
    drawn = layer[[shape is not None and "Polygon" in shape.geom_type for shape in layer.geometry]]
    drawn.to_file(path, geometry_type="Polygon")
    (whole,) = read_in_batches(path, crs=None, columns=["floors", "name"])
    batches = list(stream_batches(path, crs=None, columns=["floors", "name"], rows=9))
    assert np.concatenate([batch.polygons for batch in batches]).tolist() == whole.polygons.tolist()
    assert joined(batches, "name") == whole.columns["name"].tolist()
    assert len(whole.polygons) > 20


def test_columns_come_in_the_order_asked_for_and_whatever_they_are_called(tmp_path: Path) -> None:
    path = tmp_path / "names.gpkg"
    names = {"geometry": [1], "a b": [2], "ü": [3]}
    pyogrio.raw.write(
        path, np.array([box(0, 0, 1, 1).wkb], object), [np.array(v) for v in names.values()], list(names),
        geometry_type="Polygon", crs=UTM, layer="b",
    )  # fmt: skip
    (batch,) = stream_batches(path, crs=None, columns=["ü", "geometry", "a b"])
    assert {name: values.tolist() for name, values in batch.columns.items()} == {
        "ü": [3],
        "geometry": [1],
        "a b": [2],
    }
    assert list(batch.columns) == ["ü", "geometry", "a b"]


CURVED = """WKT,number
"CURVEPOLYGON(CIRCULARSTRING(0 0,1 1,2 0,1 -1,0 0))",1
"POLYGON((5 0,6 0,6 1,5 0))",2
"GEOMETRYCOLLECTION(POLYGON((5 0,7 0,7 2,5 0)),POINT(1 1))",3
"MULTISURFACE(((5 0,6 0,6 1,5 0)),CURVEPOLYGON(CIRCULARSTRING(0 0,1 1,2 0,1 -1,0 0)))",4
,5
"""


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_curves_are_drawn_by_straight_edges(tmp_path: Path, rows: int) -> None:
    path = tmp_path / "curves.csv"
    path.write_text(CURVED, encoding="utf-8")
    batches = list(stream_batches(path, crs=None, columns=["number"], rows=rows))
    polygons = np.concatenate([batch.polygons for batch in batches])
    assert joined(batches, "number") == ["1", "2", "3", "4", "4"]
    assert shapely.area(polygons) == pytest.approx([np.pi, 0.5, 2, 0.5, np.pi], rel=1e-3)


def test_an_unclosed_ring_is_closed_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "open.geojson"
    path.write_text(
        '{"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}', encoding="utf-8"
    )
    (batch,) = stream_batches(path, crs=None)
    assert batch.polygons[0].equals(box(0, 0, 1, 1))


def test_an_empty_layer_is_one_batch_with_its_crs_and_columns(tmp_path: Path) -> None:
    path = tmp_path / "none.gpkg"
    empty = gpd.GeoDataFrame(
        {"name": np.array([], object), "floors": np.array([], int)}, geometry=[], crs=UTM
    )
    empty.to_file(path, geometry_type="Polygon")
    (batch,) = stream_batches(path, crs=None, columns=["name", "floors"])
    assert len(batch.polygons) == 0
    assert {name: values.dtype for name, values in batch.columns.items()} == {
        "name": np.object_,
        "floors": np.int64,
    }
    assert batch.crs is not None and batch.crs.to_epsg() == 32633


def test_faults_are_told_at_once_as_when_all_is_read(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "one.gpkg", [box(0, 0, 1, 1)])
    bare = tmp_path / "bare.csv"
    bare.write_text(CURVED, encoding="utf-8")
    with pytest.raises(MissingInput, match="does not exist"):
        stream_batches(tmp_path / "none.gpkg", crs=None)
    with pytest.raises(InputError, match="no layer 'odl'"):
        stream_batches(path, crs=None, layer="odl")
    with pytest.raises(InputError, match="no column 'floors'"):
        stream_batches(path, crs=None, columns=["floors"])
    with pytest.raises(InputError, match="no CRS"):
        stream_batches(bare, crs=UTM)


def damaged(path: Path, count: int = 20_000) -> Path:
    """Write a layer, and overwrite a part in its middle."""
    left = np.arange(count)
    gpd.GeoDataFrame(geometry=shapely.box(left, 0, left + 1, 1), crs=UTM).to_file(path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 100_000] = b"\xa5" * 100_000
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize("name", ["damaged.gpkg", "damaged.fgb"])
def test_a_damaged_file_is_an_error_and_not_a_shorter_layer(tmp_path: Path, name: str) -> None:
    path = damaged(tmp_path / name)
    assert pyogrio.read_info(path)["features"] == 20_000
    with pytest.raises(InputError, match=r"damaged\.\w+ (is damaged|cannot be read)"):
        for _ in stream_batches(path, crs=None, rows=1000):
            pass


def test_a_stream_that_nobody_reads_to_its_end_lets_go_of_the_file(tmp_path: Path) -> None:
    for name in ("houses.gpkg", "houses.fgb"):
        path = write_layer(tmp_path / name, [box(n, 0, n + 1, 1) for n in range(50)])
        for _ in range(5):
            batches = stream_batches(path, crs=None, rows=3)
            assert len(next(batches).polygons) == 3
            batches.close()  # type: ignore[attr-defined]
        held = [link.resolve() for link in Path("/proc/self/fd").iterdir() if link.exists()]
        assert path.resolve() not in held


WITHOUT_PYARROW = """
import sys
sys.modules["pyarrow"] = None
from pathlib import Path
from buildmap.vector.batches import stream_batches
batches = stream_batches(Path(sys.argv[1]), crs=None, columns=["floors"], rows=2)
print([batch.columns["floors"].tolist() for batch in batches])
"""


def test_nothing_is_needed_of_pyarrow(tmp_path: Path) -> None:
    path = tmp_path / "houses.gpkg"
    gpd.GeoDataFrame(
        {"floors": [1, 2, 3]}, geometry=[box(n, 0, n + 1, 1) for n in range(3)], crs=UTM
    ).to_file(path)
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_PYARROW, path], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "[[1, 2], [3]]\n"
