from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from buildmap.changes.columns import CHANGE_COLUMNS, CHANGES, STATUSES, ChangeWriter
from buildmap.errors import BuildmapError
from tests.scenes import UTM
from tests.unit.changes.batches import batch_of


def test_every_column_arrives_with_its_values_and_gaps_as_null(tmp_path: Path) -> None:
    rows = batch_of(
        3,
        kind=np.array(["split", None, None], np.object_),
        iou=np.array([0.5, np.nan, 1.0]),
        status=np.array(["changed", "added", "unchanged"], np.object_),
    )
    with ChangeWriter(tmp_path / "c.gpkg", crs=UTM, layer="changes") as writer:
        writer.write(rows.take(np.array([0, 1])))
        writer.write(rows.take(np.array([2])))
    found = gpd.read_file(tmp_path / "c.gpkg", layer="changes")
    assert [*found.columns] == [*CHANGE_COLUMNS, "geometry"]
    for name in CHANGE_COLUMNS.keys() - {"kind", "iou"}:
        assert found[name].tolist() == getattr(rows, name).tolist()
    assert found.kind.isna().tolist() == [False, True, True]
    assert found.iou.isna().tolist() == [False, True, False]


def test_an_invalid_outline_does_not_leave_and_is_named_by_its_row(tmp_path: Path) -> None:
    bowtie = np.array([shapely.from_wkt("POLYGON ((0 0, 1 1, 1 0, 0 1, 0 0))")], np.object_)
    with (
        pytest.raises(BuildmapError, match="footprint 7 is invalid"),
        ChangeWriter(tmp_path / "c.gpkg", crs=UTM) as writer,
    ):
        writer.write(batch_of(1, polygons=bowtie, row_after=np.array([7])))


def test_some_statuses_or_all() -> None:
    rows = batch_of(4, status=np.array(["added", "removed", "added", "unchanged"], np.object_))
    assert rows.only(("added",)).row_before.tolist() == [0, 2]
    assert rows.only(()).row_before.tolist() == [0, 1, 2, 3]
    assert {*CHANGES} < {*STATUSES}
