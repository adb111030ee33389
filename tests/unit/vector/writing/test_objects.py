"""A layer of buildings that were found one by one has columns of its own."""

from dataclasses import fields
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely

from buildmap.vector.writing.objects import OBJECT_COLUMNS, ObjectBatch
from buildmap.vector.writing.writer import ObjectWriter
from tests.scenes import UTM


def batch(first_id: int, count: int) -> ObjectBatch:
    ids = np.arange(first_id, first_id + count, dtype=np.int64)
    texts = {
        name: np.full(count, name, np.object_) for name in ("class_", "method", "verdict", "source_date")
    }
    numbers = {
        name: np.full(count, value)
        for name, value in (
            ("area_m2", 25.0),
            ("perimeter_m", 20.0),
            ("orientation_deg", 45.0),
            ("score", 0.75),
            ("iou_raw", np.nan),
        )
    }
    polygons = np.asarray(shapely.box(ids * 10, 0, ids * 10 + 5, 5))
    return ObjectBatch(polygons=polygons, footprint_id=ids, **texts, **numbers)


def test_every_column_has_a_field() -> None:
    named = ["class_" if name == "class" else name for name in OBJECT_COLUMNS]
    assert ["polygons", *named] == [field.name for field in fields(ObjectBatch)]


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".parquet"])
def test_buildings_come_back_with_their_columns(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"o{suffix}"
    with ObjectWriter(path, crs=UTM) as writer:
        writer.write(batch(1, 3))
        writer.write(batch(4, 2))
    assert writer.count == 5
    frame = gpd.read_parquet(path) if suffix == ".parquet" else pyogrio.read_dataframe(path)
    assert list(frame.columns[:-1]) == list(OBJECT_COLUMNS)
    frame = frame.sort_values("footprint_id")
    assert frame.footprint_id.tolist() == [1, 2, 3, 4, 5]
    assert frame["class"].tolist() == ["class_"] * 5
    assert frame.score.tolist() == [0.75] * 5
    assert frame.iou_raw.isna().all()
    assert frame.verdict.tolist() == ["verdict"] * 5


def test_an_empty_layer_has_the_columns_too(tmp_path: Path) -> None:
    with ObjectWriter(tmp_path / "o.gpkg", crs=UTM):
        pass
    info = pyogrio.read_info(tmp_path / "o.gpkg")
    assert info["fields"].tolist() == [*OBJECT_COLUMNS]
    assert info["dtypes"].tolist() == [np.dtype(kind).name for kind in OBJECT_COLUMNS.values()]
    assert info["features"] == 0
