import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from shapely.geometry import box

from buildmap.errors import InputError, OutputError, StorageError
from buildmap.provenance import Provenance
from buildmap.publish import staged
from buildmap.vector import writer as module
from buildmap.vector.footprint import FootprintBatch
from buildmap.vector.writer import FootprintWriter
from tests.scenes import UTM


def batch(first_id: int, count: int) -> FootprintBatch:
    ids = np.arange(first_id, first_id + count, dtype=np.int64)
    return FootprintBatch(
        polygons=np.asarray(shapely.box(ids * 10, 0, ids * 10 + 5, 5)),
        footprint_id=ids,
        area_m2=np.full(count, 25.0),
        perimeter_m=np.full(count, 20.0),
        confidence=np.full(count, 0.75),
    )


def test_batches_come_back_in_order_with_columns_crs_and_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HELD_BYTES", 500)
    path = tmp_path / "out.gpkg"
    with FootprintWriter(path, crs=UTM, layer="houses") as writer:
        for first in (1, 11, 21, 31):
            writer.write(batch(first, 10))
    assert writer.count == 40
    frame = pyogrio.read_dataframe(path, layer="houses")
    assert frame.footprint_id.tolist() == list(range(1, 41))
    assert frame.geometry.iloc[4].equals(box(50, 0, 55, 5))
    assert frame[["area_m2", "perimeter_m", "confidence"]].iloc[0].tolist() == [25.0, 20.0, 0.75]
    assert frame.crs.to_epsg() == 32633
    info = pyogrio.read_info(path)
    assert info["geometry_type"] == "Polygon"
    assert info["capabilities"]["fast_spatial_filter"]
    assert len(pyogrio.read_dataframe(path, bbox=(351, 1, 352, 2))) == 1


def test_nothing_found_gives_a_valid_empty_layer(tmp_path: Path) -> None:
    path = tmp_path / "none.gpkg"
    with FootprintWriter(path, crs=UTM):
        pass
    info = pyogrio.read_info(path, layer="footprints", force_feature_count=True)
    assert info["features"] == 0
    assert info["fields"].tolist() == ["footprint_id", "area_m2", "perimeter_m", "confidence"]
    assert info["dtypes"].tolist() == ["int64", "float64", "float64", "float64"]
    assert info["geometry_type"] == "Polygon"
    assert info["crs"] == UTM


def test_provenance_is_stored_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    provenance = Provenance(verb="vectorize", source="a.tif", source_fingerprint="00")
    with FootprintWriter(path, crs=UTM, provenance=provenance) as writer:
        writer.write(batch(1, 1))
    stored = pyogrio.read_info(path)["layer_metadata"]["BUILDMAP"]
    assert json.loads(stored)["source"] == "a.tif"
    assert [left.name for left in tmp_path.iterdir()] == ["out.gpkg"]  # reading leaves nothing beside it


@pytest.mark.parametrize(
    "name", ["a!b.gpkg", "a;b.gpkg", "sp ace.gpkg", "建物.gpkg", "new\nline.gpkg", "-'x\".gpkg"]
)
def test_odd_names_are_written_as_they_are(tmp_path: Path, name: str) -> None:
    with (
        staged(tmp_path / name, overwrite=False) as folder,
        FootprintWriter(folder / name, crs=UTM) as writer,
    ):
        writer.write(batch(1, 3))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    plain = (tmp_path / name).rename(tmp_path / "plain.gpkg")
    assert pyogrio.read_info(plain)["features"] == 3


def test_an_error_midway_leaves_the_old_output_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HELD_BYTES", 1)
    path = tmp_path / "out.gpkg"
    path.write_bytes(b"old")

    def run() -> None:
        with staged(path, overwrite=True) as folder, FootprintWriter(folder / path.name, crs=UTM) as writer:
            writer.write(batch(1, 10))
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        run()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["out.fgb", "out.geojson", "out.shp", "out"])
def test_formats_that_cannot_grow_are_refused_with_the_way_round(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"only as \.gpkg") as refusal:
        FootprintWriter(tmp_path / name, crs=UTM)
    assert "ogr2ogr" in str(refusal.value.hint)


@pytest.mark.parametrize("layer", ["", " ", "gpkg_contents", "sqlite_x", "RTREE_x"])
def test_names_that_sqlite_keeps_for_itself_are_refused(tmp_path: Path, layer: str) -> None:
    with pytest.raises(OutputError, match="cannot have a layer"):
        FootprintWriter(tmp_path / "out.gpkg", crs=UTM, layer=layer)


def test_a_layer_without_crs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without a CRS"):
        FootprintWriter(tmp_path / "out.gpkg", crs=None)


def test_a_footprint_that_did_not_arrive_is_noticed(tmp_path: Path) -> None:
    writer = FootprintWriter(tmp_path / "out.gpkg", crs=UTM)
    writer.write(batch(1, 2))
    writer.count += 1
    with pytest.raises(StorageError, match="2 of 3 footprints arrived"):
        writer.finish()
    assert not (tmp_path / "out.gpkg").exists()


def test_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    script = f"""
import resource, signal, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
from buildmap.errors import StorageError
from buildmap.vector.writer import FootprintWriter
from tests.unit.vector.test_writer import UTM, batch
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    with FootprintWriter(Path({str(tmp_path / "out.gpkg")!r}), crs=UTM) as writer:
        writer.write(batch(1, 20_000))
except StorageError as error:
    sys.exit(error.exit_code)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 74, done.stderr
    assert not (tmp_path / "out.gpkg").exists()
