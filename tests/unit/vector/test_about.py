"""Facts of a layer are those that were written, in each of our formats."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely

from buildmap.errors import InputError, MissingInput
from buildmap.provenance import Provenance
from buildmap.vector.about import read_layer_facts
from buildmap.vector.footprint import FootprintBatch
from buildmap.vector.writing.writer import FootprintWriter
from tests.scenes import UTM, write_layer

MADE = Provenance(verb="vectorize", source="a.tif", source_fingerprint="12" * 8)
DATES = ["2024-06-30", None, "2023-01-02"]


def write_footprints(path: Path, *, count: int = 3) -> Path:
    """Write boxes of 5 m, 10 m apart."""
    x = 400_000 + 10 * np.arange(count)
    given = {
        "polygons": np.asarray(shapely.box(x, 5e6, x + 5, 5e6 + 5)),
        "footprint_id": np.arange(count),
        "method": np.full(count, "raw", np.object_),
        "source_date": np.array(DATES[:count], np.object_),
    }
    values = {field.name: given.get(field.name, np.full(count, 0.5)) for field in fields(FootprintBatch)}
    with FootprintWriter(path, crs=UTM, provenance=MADE) as writer:
        writer.write(FootprintBatch(**values))
        if path.suffix == ".gpkg":
            writer.write_beside("valid", np.array([shapely.box(4e5, 5e6, 5e5, 6e6)], np.object_))
    return path


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".geojsonl", ".parquet", ".pmtiles"])
def test_what_was_written_is_told(tmp_path: Path, suffix: str) -> None:
    facts = read_layer_facts(write_footprints(tmp_path / f"out{suffix}"))
    assert facts.count == (None if suffix == ".pmtiles" else 3)
    assert facts.made == (None if suffix == ".geojsonl" else MADE.to_json())
    assert facts.dates == ("2023-01-02", "2024-06-30")
    assert {"footprint_id", "area_m2", "source_date"} <= {*facts.columns}
    assert facts.crs is not None
    assert facts.bounds is not None
    if facts.crs.to_epsg() == 32633:
        assert facts.bounds == (400_000, 5e6, 400_025, 5e6 + 5)
    else:
        assert facts.bounds == pytest.approx((13.72797, 45.14639, 13.72828, 45.14644), abs=1e-5)


def test_the_geometry_of_parquet_is_no_column(tmp_path: Path) -> None:
    facts = read_layer_facts(write_footprints(tmp_path / "out.parquet"))
    assert {"geometry", "bbox"}.isdisjoint(facts.columns)
    assert facts.layer is None


def test_the_layer_that_says_who_made_it_comes_before_others(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "out.gpkg", [shapely.box(0, 0, 1, 1)])
    ours = pyogrio.read_dataframe(write_footprints(tmp_path / "ours.gpkg"), layer="footprints")
    pyogrio.write_dataframe(ours, path, layer="ours", append=True, layer_metadata={"BUILDMAP": "{}"})
    facts = read_layer_facts(path)
    assert (facts.layer, facts.others, facts.made) == ("ours", ("out",), "{}")


def test_layers_beside_the_footprints_are_named(tmp_path: Path) -> None:
    assert read_layer_facts(write_footprints(tmp_path / "out.gpkg")).others == ("valid",)


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".parquet"])
def test_an_empty_layer_has_no_box_and_no_dates(tmp_path: Path, suffix: str) -> None:
    facts = read_layer_facts(write_footprints(tmp_path / f"out{suffix}", count=0))
    assert (facts.count, facts.bounds, facts.dates) == (0, None, None)
    assert facts.made == MADE.to_json()


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet"])
def test_what_is_no_layer_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"text{suffix}"
    with pytest.raises(MissingInput):
        read_layer_facts(path)
    path.write_text("no layer")
    with pytest.raises(InputError, match="cannot be read as"):
        read_layer_facts(path)
