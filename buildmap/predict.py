"""The story of `buildmap predict`: a raster in, building probability or footprints out."""

import logging
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from buildmap.contract import ModelCard
from buildmap.errors import InputError, OutputError
from buildmap.execution.memory import bound_block_cache
from buildmap.execution.progress import Progress, Silent
from buildmap.inference.backend import Backend, builtin_model, load_backend
from buildmap.inference.segment import Tally, block_cache_bytes, probability_strips
from buildmap.provenance import Provenance, fingerprint_file
from buildmap.publish import check_distinct, staged
from buildmap.raster.reader import RasterReader
from buildmap.raster.writer import RasterWriter
from buildmap.vector.footprint import Outlining, footprints
from buildmap.vector.writer import FootprintWriter, is_vector

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)
_GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """How to predict."""

    model: Path = field(default_factory=builtin_model)
    """Model file; the built-in one when not given."""
    device: str = "auto"
    """'auto', 'cpu' or 'cuda'."""
    bands: tuple[int, ...] | None = None
    """1-based bands to show the model, in its order; the model's own when None."""
    resample: bool = True
    """Work at a GSD the model knows; False keeps the raster's pixels."""
    threshold: float | None = None
    """Probability from which a pixel belongs to a footprint; the model's own when None."""
    outlining: Outlining = field(default_factory=Outlining)
    """How else to draw footprints, where the output is a layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictSummary:
    """What was done."""

    output: str
    """The file written."""
    model: str
    """Title of the model."""
    device: str
    """Where the network ran."""
    width_px: int
    """Columns predicted, at the working GSD."""
    height_px: int
    """Rows predicted."""
    gsd_m: float | None
    """Working ground sample distance in metres; null where the raster has none."""
    windows: int
    """Windows planned."""
    windows_skipped: int
    """Windows without valid pixels, never predicted."""
    footprints: int | None
    """Buildings written, where the output is a layer."""
    seconds: float
    """Wall time, loading the model included."""


def predict(
    raster: Path,
    output: Path,
    prediction: Prediction | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> PredictSummary:
    """Predict building probability over a raster of any size.

    The output is a COG of uint8 probability (0..254, 255 = no data) at the working GSD, or footprints
    if its suffix names a vector format. It appears only when it is whole.

    Raises:
        InputError: If the raster or the model cannot be used, or do not fit each other.
        OutputError: If the output exists already, or cannot be created.
        LockedError: If another run is writing it.
        ResourceError: If the device is not available.
        StorageError: If reading or writing fails.
    """
    started = time.monotonic()
    prediction = prediction or Prediction()
    if not is_vector(output) and output.suffix.lower() not in {".tif", ".tiff"}:
        raise OutputError(f"{output} does not end in .tif or .gpkg", hint=f"{output.stem}.tif")
    backend = load_backend(prediction.model, device=prediction.device)
    card, tally, found = backend.card, Tally(), None
    check_distinct(output, raster, prediction.model)
    with _open(raster, card, prediction) as reader, staged(output, overwrite=overwrite) as folder:
        _check_place(reader, is_layer=is_vector(output))
        bound_block_cache(block_cache_bytes(reader, card))
        strips = probability_strips(reader, backend, tally=tally, progress=progress or Silent())
        provenance = _provenance(reader, backend, prediction)
        if is_vector(output):
            threshold = card.threshold if prediction.threshold is None else prediction.threshold
            outlining = replace(prediction.outlining, threshold=threshold)
            found = _write_footprints(folder / output.name, reader, strips, outlining, provenance)
        else:
            _write_probability(folder / output.name, reader, strips, provenance)
        size = reader.grid.pixel_size_m()
    return PredictSummary(
        output=str(output),
        model=card.title,
        device=backend.device,
        width_px=reader.grid.width,
        height_px=reader.grid.height,
        gsd_m=None if size is None else round((size[0] * size[1]) ** 0.5, 4),
        windows=tally.windows,
        windows_skipped=tally.skipped,
        footprints=found,
        seconds=round(time.monotonic() - started, 2),
    )


def _open(raster: Path, card: ModelCard, prediction: Prediction) -> RasterReader:
    """Open the raster as the model wants to see it, or say why the two do not fit."""
    data = card.data
    bands = prediction.bands or data.bands
    if len(bands) != len(data.bands):
        raise InputError(f"{len(bands)} bands chosen, the model expects {len(data.bands)}")
    gsd_range_m = (data.gsd_min_m, data.gsd_max_m) if prediction.resample else None
    reader = RasterReader(raster, bands=bands, gsd_range_m=gsd_range_m)
    if reader.dtype != data.dtype:
        raise InputError(
            f"{raster} is {reader.dtype}, the model expects {data.dtype}",
            hint=f"gdal_translate -ot {_GDAL_TYPES[data.dtype]} -scale '{raster}' scaled.tif",
        )
    return reader


def _check_place(reader: RasterReader, *, is_layer: bool) -> None:
    """Refuse to draw footprints nobody can place; tell where the GSD is unknown."""
    if reader.grid.pixel_size_m() is not None:
        return
    lacking = "CRS" if reader.grid.crs is None else "geotransform"
    if is_layer:
        option = "--crs EPSG:CODE" if lacking == "CRS" else "--transform '[...]'"
        raise InputError(
            f"{reader.path} has no {lacking}, which footprints need", hint=f"rio edit-info {option} RASTER"
        )
    logger.warning("%s has no %s: predicted pixel by pixel, GSD unknown", reader.path, lacking)


def _provenance(reader: RasterReader, backend: Backend, prediction: Prediction) -> Provenance:
    return Provenance(
        verb="predict",
        source=reader.path.name,
        source_fingerprint=fingerprint_file(reader.path) if reader.path.is_file() else "",
        model=f"{backend.card.title} [{backend.card.fingerprint}]",
        options=f"bands={prediction.bands or backend.card.data.bands} resample={prediction.resample}",
    )


def _write_probability(
    path: Path, reader: RasterReader, strips: "Iterator[NDArray[np.uint8]]", provenance: Provenance
) -> None:
    writer = RasterWriter(path, reader.grid, tags={"BUILDMAP": provenance.to_json()})
    try:
        for rows in strips:
            writer.write(rows)
        writer.finish()
    finally:
        writer.close()


def _write_footprints(
    path: Path,
    reader: RasterReader,
    strips: "Iterator[NDArray[np.uint8]]",
    outlining: Outlining,
    provenance: Provenance,
) -> int:
    grid = reader.grid
    with FootprintWriter(path, crs=grid.crs, provenance=provenance) as writer:
        for batch in footprints(strips, transform=grid.transform, crs=grid.crs, settings=outlining):
            writer.write(batch)
        return writer.count
