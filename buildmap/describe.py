"""The story of `buildmap describe`: what a file of ours is, told by the file alone."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from buildmap.contract import ModelCard
from buildmap.errors import InputError, MismatchError, MissingInput
from buildmap.inference.model_files import read_card
from buildmap.inference.model_size import ModelSize, measure_model
from buildmap.provenance import Provenance
from buildmap.raster.about import RasterFacts, read_raster_facts
from buildmap.schema import build, parse_json
from buildmap.stac.ground import Degrees
from buildmap.stac.item import Item
from buildmap.stac.map_item import code_of, layer_item, raster_item
from buildmap.stac.model_item import ModelFile, model_item
from buildmap.vector.about import LayerFacts, read_layer_facts
from buildmap.vector.crs import as_crs
from buildmap.vector.writing.formats import is_vector

_MODELS = {".onnx", ".safetensors"}
_OUR_COLUMNS = ({"footprint_id", "area_m2"}, {"building_id", "status"})
"""By which a layer is known whose format has no room to say what made it."""
_HINT = "a model (.onnx, .safetensors), a raster or a layer that buildmap has written"
_OTHER_VERSION = "another version has written it: pip install --upgrade buildmap"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """A model in brief."""

    file: str
    """As it was named."""
    kind: str
    """'model'."""
    title: str
    """The model in one line."""
    architecture: str
    """Which network."""
    finds: str
    """'pixels', or 'buildings' one by one."""
    classes: tuple[str, ...]
    """What it finds."""
    parameters: int
    """Numbers in it."""
    weights_bytes: int
    """Memory that they take."""
    size_bytes: int
    """Of the file."""
    sha256: str
    """Of the file."""
    fingerprint: str
    """Of the weights."""
    bands: tuple[int, ...]
    """Of a raster, 1-based, in the order in which it sees them."""
    dtype: str
    """Type of the rasters that it learned from."""
    gsd_min_m: float
    """Finest GSD that it works at."""
    gsd_max_m: float
    """Coarsest GSD that it works at."""
    window_px: int
    """Side of the square it sees."""
    halo_px: int
    """Context on every side of it."""
    scale: int
    """Output pixels per input pixel, along one axis."""
    threshold: float
    """Probability from which a pixel is a building."""
    license: str
    """Of the weights."""
    training_data: str
    """What it has learned from, with credits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterDescription:
    """A raster that we made, in brief."""

    file: str
    """As it was named."""
    kind: str
    """'raster'."""
    format: str
    """GDAL's name of it."""
    size_bytes: int
    """Of the file."""
    width_px: int
    """Columns."""
    height_px: int
    """Rows."""
    bands: int
    """How many."""
    dtype: str
    """Type of the pixels."""
    nodata: float | None
    """Value that stands for no data."""
    crs: str | None
    """Its code, or its name where it has none."""
    bounds: tuple[float, ...]
    """Left, bottom, right, top in the CRS."""
    degrees: Degrees | None
    """West, south, east, north."""
    pixel_m: tuple[float, float] | None
    """A pixel at the centre along columns and rows, metres on the ground."""
    date: str | None
    """Of the imagery."""
    made: Provenance
    """What made it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDescription:
    """A layer that we made, in brief."""

    file: str
    """As it was named."""
    kind: str
    """'layer'."""
    format: str
    """GDAL's name of it."""
    size_bytes: int
    """Of the file."""
    layer: str | None
    """Its name."""
    other_layers: tuple[str, ...]
    """In the same file."""
    count: int | None
    """Polygons; None where the format cuts them up."""
    columns: tuple[str, ...]
    """What is told of each."""
    crs: str | None
    """Its code, or its name where it has none."""
    bounds: tuple[float, ...] | None
    """Left, bottom, right, top in the CRS; None where there is no polygon."""
    degrees: Degrees | None
    """West, south, east, north."""
    first_date: str | None
    """Of the imagery."""
    last_date: str | None
    """Of the imagery."""
    made: Provenance | None
    """What made it; None where the format has no room for that."""


Description = ModelDescription | RasterDescription | LayerDescription


def describe(path: Path) -> Description:
    """Tell what a file of ours is.

    Args:
        path: A model, a raster or a layer.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is not ours.
        MismatchError: If it was written by another version that says other things of itself.
    """
    found = _read(path)
    if isinstance(found, _Model):
        return _told_of_model(path, found.card, found.file)
    size_bytes, item = path.stat().st_size, _item_of(path, found)
    box = item.get("bbox")
    degrees = None if box is None else (box[0], box[1], box[2], box[3])
    if isinstance(found, _Raster):
        grid = found.facts.grid
        return RasterDescription(
            file=str(path),
            kind="raster",
            format=found.facts.format,
            size_bytes=size_bytes,
            width_px=grid.width,
            height_px=grid.height,
            bands=found.facts.bands,
            dtype=found.facts.dtype,
            nodata=found.facts.nodata,
            crs=_name_of(grid.crs),
            bounds=grid.bounds,
            degrees=degrees,
            pixel_m=grid.pixel_size_m(),
            date=found.facts.date,
            made=found.made,
        )
    first, last = found.facts.dates or (None, None)
    return LayerDescription(
        file=str(path),
        kind="layer",
        format=found.facts.format,
        size_bytes=size_bytes,
        layer=found.facts.layer,
        other_layers=found.facts.others,
        count=found.facts.count,
        columns=found.facts.columns,
        crs=_name_of(found.facts.crs),
        bounds=found.facts.bounds,
        degrees=degrees,
        first_date=first,
        last_date=last,
        made=found.made,
    )


def describe_as_stac(path: Path) -> Item:
    """Tell the same as a STAC Item, which lies beside the file.

    Args:
        path: A model, a raster or a layer.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is not ours.
        MismatchError: If it was written by another version that says other things of itself.
    """
    return _item_of(path, _read(path))


@dataclass(frozen=True, slots=True)
class _Model:
    card: ModelCard
    file: ModelFile


@dataclass(frozen=True, slots=True)
class _Raster:
    facts: RasterFacts
    made: Provenance


@dataclass(frozen=True, slots=True)
class _Layer:
    facts: LayerFacts
    made: Provenance | None


def _read(path: Path) -> _Model | _Raster | _Layer:
    try:
        if not path.exists():
            raise MissingInput(f"{path} does not exist", hint="see that the name is right")
        if path.suffix.lower() in _MODELS:
            return _read_model(path)
        return _read_layer(path) if is_vector(path) else _read_raster(path)
    except InputError as error:
        raise type(error)(str(error), hint=error.hint or _HINT) from error
    except MismatchError as error:
        raise MismatchError(str(error), hint=error.hint or _OTHER_VERSION) from error


def _read_model(path: Path) -> _Model:
    card = read_card(path) if path.is_file() else None
    if card is None:
        raise InputError(f"{path} is not a buildmap model: it carries no card")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    size: ModelSize = measure_model(path)
    return _Model(
        card,
        ModelFile(
            name=path.name,
            size_bytes=path.stat().st_size,
            sha256=sha256,
            parameters=size.parameters,
            weights_bytes=size.weights_bytes,
        ),
    )


def _read_raster(path: Path) -> _Raster:
    facts = read_raster_facts(path)
    if facts.made is None:
        raise InputError(f"{path} was not made by buildmap: it has no tag BUILDMAP")
    return _Raster(facts, _provenance(facts.made, path))


def _read_layer(path: Path) -> _Layer:
    facts = read_layer_facts(path)
    if facts.made is not None:
        return _Layer(facts, _provenance(facts.made, path))
    if not any(columns <= {*facts.columns} for columns in _OUR_COLUMNS):
        raise InputError(f"{path} was not made by buildmap: it says nothing, and its columns are others")
    return _Layer(facts, None)


def _provenance(text: str, path: Path) -> Provenance:
    try:
        table = parse_json(text)
    except ValueError as error:
        raise InputError(f"{path} was not made by buildmap: what it says is not JSON") from error
    if not isinstance(table, dict):
        raise InputError(f"{path} was not made by buildmap: what it says is no table")
    return build(Provenance, table, where=str(path))


def _item_of(path: Path, found: _Model | _Raster | _Layer) -> Item:
    if isinstance(found, _Model):
        return model_item(found.card, found.file)
    size_bytes = path.stat().st_size
    if isinstance(found, _Raster):
        return raster_item(path, found.facts, found.made, size_bytes=size_bytes)
    return layer_item(path, found.facts, found.made, size_bytes=size_bytes)


def _told_of_model(path: Path, card: ModelCard, file: ModelFile) -> ModelDescription:
    return ModelDescription(
        file=str(path),
        kind="model",
        title=card.title,
        architecture=card.model.name,
        finds="pixels" if card.model.instances is None else "buildings",
        classes=card.classes,
        parameters=file.parameters,
        weights_bytes=file.weights_bytes,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        fingerprint=card.fingerprint,
        bands=card.data.bands,
        dtype=card.data.dtype,
        gsd_min_m=card.data.gsd_min_m,
        gsd_max_m=card.data.gsd_max_m,
        window_px=card.window_px,
        halo_px=card.halo_px,
        scale=card.scale,
        threshold=card.threshold,
        license=card.license,
        training_data=card.training_data,
    )


def _name_of(crs: object | None) -> str | None:
    if crs is None:
        return None
    known = as_crs(crs)
    return code_of(known) or known.name
