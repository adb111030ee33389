"""What buildmap made, a raster or a layer, as a STAC Item."""

from pathlib import Path
from typing import Any

from affine import Affine
from pyproj import CRS

from buildmap.provenance import Provenance
from buildmap.raster.about import RasterFacts
from buildmap.stac.ground import Ground, ground_of
from buildmap.stac.item import FILE, PROCESSING, PROJECTION, Item, make_item
from buildmap.vector.about import Box, LayerFacts

_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_MEDIA_TYPES = {
    "FlatGeobuf": "application/vnd.flatgeobuf",
    "GeoJSON": "application/geo+json",
    "GeoJSONSeq": "application/geo+json-seq",
    "GPKG": "application/geopackage+sqlite3",
    "GTiff": _COG,
    "Parquet": "application/vnd.apache.parquet",
    "PMTiles": "application/vnd.pmtiles",
}
_UNKNOWN = "application/octet-stream"


def raster_item(path: Path, facts: RasterFacts, made: Provenance, *, size_bytes: int) -> Item:
    """Describe a raster that we made.

    Args:
        path: Its file; only the name goes into the Item.
        facts: What the file says of itself.
        made: What made it.
        size_bytes: Of the file.
    """
    grid = facts.grid
    crs = None if grid.crs is None else CRS.from_user_input(grid.crs)
    corners = [
        grid.transform @ place
        for place in ((0, 0), (0, grid.height), (grid.width, grid.height), (grid.width, 0))
    ]
    shape = {"proj:shape": [grid.height, grid.width], "proj:transform": list(_six(grid.transform))}
    nodata = {} if facts.nodata is None else {"nodata": facts.nodata}
    return _item(
        path,
        made,
        ground=None if crs is None else ground_of(corners, crs),
        dates=None if facts.date is None else (facts.date, facts.date),
        described=_projection(crs) | shape,
        asset=_asset(path, facts.format, size_bytes) | {"data_type": facts.dtype, **nodata},
    )


def layer_item(path: Path, facts: LayerFacts, made: Provenance | None, *, size_bytes: int) -> Item:
    """Describe a layer that we made, likewise; `made` is None where its format has no room for that."""
    described: dict[str, Any] = {"buildmap:columns": list(facts.columns)}
    if facts.count is not None:
        described["buildmap:count"] = facts.count
    if facts.layer is not None:
        described["buildmap:layer"] = facts.layer
    ground: Ground | None = None
    if facts.crs is not None and facts.bounds is not None:
        ground = ground_of(_corners(facts.bounds), facts.crs)
        described["proj:bbox"] = list(facts.bounds)
    return _item(
        path,
        made,
        ground=ground,
        dates=facts.dates,
        described=_projection(facts.crs) | described,
        asset=_asset(path, facts.format, size_bytes),
    )


def code_of(crs: CRS | None) -> str | None:
    """Give the code of a CRS, such as EPSG:32633, where it has one."""
    authority = None if crs is None else crs.to_authority()
    return None if authority is None else ":".join(authority)


def _item(
    path: Path,
    made: Provenance | None,
    *,
    ground: Ground | None,
    dates: tuple[str, str] | None,
    described: dict[str, Any],
    asset: dict[str, Any],
) -> Item:
    extensions = [FILE, PROJECTION, *([] if made is None else [PROCESSING])]
    return make_item(
        path.name,
        extensions=extensions,
        ground=ground,
        dates=dates,
        properties={**described, **({} if made is None else _processing(made))},
        assets={"data": asset},
    )


def _processing(made: Provenance) -> dict[str, Any]:
    """Give what made it; inputs are told by name and fingerprint, since nobody knows where they lie now."""
    with_model = "" if made.model is None else f" with the model {made.model}"
    facts = {
        "processing:level": "L4",
        "processing:lineage": f"buildmap {made.verb} of {made.source}{with_model}",
        "processing:software": {"buildmap": made.version},
        "buildmap:verb": made.verb,
        "buildmap:source": made.source,
        "buildmap:source_fingerprint": made.source_fingerprint,
        "buildmap:model": made.model,
        "buildmap:options": made.options,
    }
    return {key: value for key, value in facts.items() if value}


def _projection(crs: CRS | None) -> dict[str, Any]:
    code = code_of(crs)
    if crs is None or code is not None:
        return {"proj:code": code}
    return {"proj:code": None, "proj:wkt2": crs.to_wkt()}


def _asset(path: Path, kind: str, size_bytes: int) -> dict[str, Any]:
    return {
        "href": f"./{path.name}",
        "type": _MEDIA_TYPES.get(kind, _UNKNOWN),
        "roles": ["data"],
        "file:size": size_bytes,
    }


def _six(transform: Affine) -> tuple[float, ...]:
    return transform.a, transform.b, transform.c, transform.d, transform.e, transform.f


def _corners(bounds: Box) -> list[tuple[float, float]]:
    left, bottom, right, top = bounds
    return [(left, bottom), (right, bottom), (right, top), (left, top)]
