"""The story of `buildmap vectorize`: a raster of probability, or a mask, becomes a layer of footprints."""

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from affine import Affine

from buildmap.errors import InputError, OutputError
from buildmap.execution.journal import Journal, missing_bytes
from buildmap.execution.progress import Progress, Silent
from buildmap.execution.workers import executor_for
from buildmap.polygonize.bands import SUFFIX, drawn_bands
from buildmap.polygonize.job import BandJob, open_source, plan_facts, rows_per_band
from buildmap.polygonize.seen import seen_ground
from buildmap.provenance import Provenance, fingerprint_file
from buildmap.publish import check_distinct, staged, streamed, workspace
from buildmap.raster.area import bounding_box
from buildmap.raster.grid import Bounds
from buildmap.raster.reader import RasterReader
from buildmap.raster.source import Source
from buildmap.vector.area_of_interest import Within, read_area
from buildmap.vector.crs import as_crs
from buildmap.vector.drawing import draw
from buildmap.vector.drawn import Drawn, join
from buildmap.vector.footprint import FootprintBatch, placed
from buildmap.vector.outlining import Outlining, lowest_value
from buildmap.vector.paper.method import find_limits, redraw
from buildmap.vector.paper.steps import StepsWriter
from buildmap.vector.reader import read_footprints
from buildmap.vector.refit import refit
from buildmap.vector.writing.formats import GPKG, STREAM, VALID_LAYER, Format, file_name, format_of
from buildmap.vector.writing.writer import FootprintWriter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pyproj import CRS

_BANDS = "bands"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What the footprints are placed by, and what is written of them."""

    assume_crs: str | None = None
    """CRS of a raster that does not say."""
    layer: str = "footprints"
    """Name of the layer."""
    format: str | None = None
    """GDAL's name of the format; by the output's suffix when None, FlatGeobuf down a stream."""
    target_crs: str | None = None
    """CRS of the layer; that of the raster when None."""
    styled: bool = False
    """Add styles for QGIS to a GeoPackage, as a second layer."""
    aoi: Path | None = None
    """Layer of polygons: only footprints whose inside point lies in one are written."""
    source_date: str | None = None
    """When the imagery was taken; what the raster says when None."""
    quantile_area_km2: float | None = None
    """Ground in each block in which the method 'paper' finds thresholds; all is one block when None."""
    keep_steps: Path | None = None
    """GeoPackage for what the steps of the method 'paper' make."""
    valid: bool = False
    """Add a layer `valid` to a GeoPackage: the ground on which the raster has data, inside the area."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How to go about it; the result does not depend on any of this."""

    overwrite: bool = False
    """Replace an existing output."""
    restart: bool = False
    """Drop what an unfinished run has done."""
    wait_s: float = 0.0
    """Seconds to wait for another run that writes the same output."""
    workers: int = 1
    """Processes; one draws in this process."""
    dask: str | None = None
    """Address of a dask scheduler, or 'local'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorizeSummary:
    """What was done."""

    output: str
    """The file written."""
    layer: str
    """The layer in it."""
    footprints: int
    """Buildings written."""
    area_m2: float
    """Their area on the ground."""
    methods: dict[str, int]
    """How many were drawn by which method."""
    dropped: int
    """Buildings that have no place in the CRS of the layer."""
    width_px: int | None
    """Columns read; null where the input is a layer."""
    height_px: int | None
    """Rows read."""
    bands: int
    """Bands of rows the raster was drawn in."""
    bands_resumed: int
    """Of these, bands an earlier run had done."""
    seconds: float
    """Wall time."""


def vectorize(
    raster: str | Path,
    output: Path,
    settings: Outlining | None = None,
    delivery: Delivery | None = None,
    running: Running | None = None,
    *,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> VectorizeSummary:
    """Draw footprints around the buildings of a raster of any size.

    The raster has one band. uint8 with a scale of 1/254 is probability as `predict` writes it, floating
    point is probability 0..1, and any other integers are a mask, in which what is not zero is a
    building. What is not valid is never a building. The output appears only when it is whole; what was
    done of it before is kept beside it, and the next run with the same raster and settings goes on.

    Args:
        raster: Probability or mask: anything GDAL reads.
        output: The layer to be, or `STREAM`, to which FlatGeobuf or GeoJSONSeq is sent at the end.
        settings: How footprints are drawn.
        delivery: What is written of them.
        running: How to go about it.
        progress: Hears of every band.
        stop: Once it says True, the band in hand is finished and `Stopped` raised.

    Raises:
        InputError: If the raster cannot be used.
        MismatchError: If the unfinished run beside the output was another.
        OutputError: If the output exists already, cannot be created, or has an unknown format.
        LockedError: If another run is writing it.
        ResourceError: If a cluster, or a library for the format, is missing.
        StorageError: If reading or writing fails.
        Stopped: If `stop` said so before all was done.
    """
    began = time.monotonic()
    settings, delivery, running = settings or Outlining(), delivery or Delivery(), running or Running()
    progress = progress or Silent()
    kind = _check_output(output, delivery, Path(raster))
    source = Source(rasters=(str(raster),))
    with open_source(source) as reader:
        crs = _check(reader, delivery.assume_crs)
        job = _job(source, reader, crs, settings)
        area = _area(delivery, crs, reader.grid.bounds, "the raster")
        seen = seen_ground(job, reader, area=area, progress=progress, stop=stop) if delivery.valid else None
        executor = executor_for(workers=running.workers, dask=running.dask)
        with (
            _folder(output, kind, running, bands=job.bands) as folder,
            _journal(folder, job, running) as journal,
            _steps_writer(delivery, job, running) as steps,
        ):
            resumed = len(journal.done())
            bands = partial(drawn_bands, job, draw, journal, executor, progress=progress, stop=stop)
            batches = placed(
                bands() if settings.method != "paper" else _by_paper(bands, delivery, reader, steps),
                transform=job.transform,
                crs=crs,
                settings=settings,
                within=None if area is None else Within(area),
                source_date=delivery.source_date or reader.date,
            )
            path = folder / file_name(output, kind)
            provenance = _provenance(Path(raster), settings)
            written = _write(path, kind, batches, crs, delivery, provenance, seen)
    return _summary(
        output, delivery, written, began, size_px=(job.width, job.height), bands=(job.bands, resumed)
    )


def refit_layer(
    layer: Path,
    output: Path,
    settings: Outlining | None = None,
    delivery: Delivery | None = None,
    running: Running | None = None,
    *,
    gsd_m: float = 0.3,
    from_layer: str | None = None,
) -> VectorizeSummary:
    """Fit the polygons of a layer anew: right angles, straight walls, and shared walls stay shared.

    All polygons are held in memory. What is invalid is mended first.

    Args:
        layer: Any vector file GDAL reads, in any CRS.
        output: The layer to be, or `STREAM`.
        settings: How outlines are fitted: method, tolerance, smallest area and hole. There is no
            probability, so nothing else applies.
        delivery: What is written; not the steps of the paper's method.
        running: Whether an existing output is replaced, and how long to wait.
        gsd_m: Metres that count as one pixel: a detail of less than some pixels is noise.
        from_layer: Needed where the file has several layers with polygons.

    Raises:
        InputError: If the layer cannot be used, or the settings need a raster.
        OutputError: As `vectorize`.
        LockedError: If another run is writing the output.
        ResourceError: If a library for the format is missing.
        StorageError: If reading or writing fails.
    """
    began = time.monotonic()
    settings, delivery, running = settings or Outlining(), delivery or Delivery(), running or Running()
    kind = _check_output(output, delivery, layer)
    if settings.method == "paper" or settings.split or settings.outline != "edge" or delivery.valid:
        raise InputError(
            f"{layer} is a layer: --method paper, --split, --outline subpixel and --valid need a raster",
            hint="give the raster of probability it was made from",
        )
    with _folder(output, kind, running, bands=None) as folder:
        found = read_footprints(layer, crs=None, layer=from_layer)
        if found.crs is None:
            raise InputError(f"{layer} has no CRS", hint=f"ogr2ogr -a_srs EPSG:CODE with_crs.gpkg '{layer}'")
        area = None
        if len(found.polygons):
            area = _area(delivery, found.crs, bounding_box(found.polygons), str(layer))
        batches = placed(
            [refit(found.polygons, crs=found.crs, gsd_m=gsd_m, settings=settings)],
            transform=Affine.identity(),
            crs=found.crs,
            settings=settings,
            within=None if area is None else Within(area),
            source_date=delivery.source_date,
            in_pixels=False,
        )
        written = _write(
            folder / file_name(output, kind), kind, batches, found.crs, delivery, _provenance(layer, settings)
        )
    return _summary(output, delivery, written, began)


def _check_output(output: Path, delivery: Delivery, source: Path) -> Format:
    """Refuse outputs that cannot be, before any work; give the format."""
    _check_valid(output, delivery)
    kind = format_of(output, delivery.format)
    inputs = [source] if delivery.aoi is None else [source, delivery.aoi]
    if output != STREAM:
        check_distinct(output, *inputs)
    if delivery.keep_steps is not None:
        _check_steps(delivery.keep_steps, output, inputs)
    return kind


def _check_valid(output: Path, delivery: Delivery) -> None:
    if not delivery.valid:
        return
    kind = format_of(output, delivery.format)
    if not kind.several_layers:
        raise OutputError(
            f"{kind.name} has no room for a layer '{VALID_LAYER}' beside the footprints", hint="write a .gpkg"
        )
    if delivery.layer == VALID_LAYER:
        raise OutputError(
            f"the footprints' layer cannot be called '{VALID_LAYER}' with --valid",
            hint="choose another --layer",
        )


def _check_steps(steps: Path, output: Path, inputs: list[Path]) -> None:
    if format_of(steps) != GPKG:
        raise OutputError(
            f"{steps} must be a GeoPackage: it holds several layers", hint=f"--keep-steps {steps.stem}.gpkg"
        )
    if steps.absolute() == output.absolute():
        raise OutputError(f"{steps} is both the output and what --keep-steps names", hint="name another file")
    check_distinct(steps, *inputs)


def _folder(
    output: Path, kind: Format, running: Running, *, bands: int | None
) -> AbstractContextManager[Path]:
    """Claim the folder in which the output is made, in so many bands, or at once."""
    if output == STREAM:
        return streamed(sys.stdout.buffer, file_name(output, kind))
    claim = partial(staged, output, overwrite=running.overwrite, wait_s=running.wait_s)
    if bands is None:
        return claim()
    return claim(resume=True, needs=partial(missing_bytes, workspace(output) / _BANDS, bands))


@contextmanager
def _journal(folder: Path, job: BandJob, running: Running) -> Iterator[Journal]:
    """Open the journal of the bands; a run that fails before its first band leaves nothing behind."""
    if running.restart:
        rmtree(folder / _BANDS, ignore_errors=True)
    journal = Journal(folder / _BANDS, plan_facts(job), suffix=SUFFIX)
    try:
        yield journal
    finally:
        if not journal.done():
            rmtree(folder, ignore_errors=True)


def _area(delivery: Delivery, crs: "CRS", bounds: Bounds, of: str) -> "NDArray[np.object_] | None":
    """Read the area of interest, where there is one."""
    return None if delivery.aoi is None else read_area(delivery.aoi, crs=crs, bounds=bounds, of=of)


def _check(reader: RasterReader, assume_crs: str | None) -> "CRS":
    """Refuse a raster that is no map of buildings; give the CRS to work in."""
    crs = _crs_of(reader, assume_crs)
    if not (crs.is_projected or crs.is_geographic):
        raise InputError(
            f"areas cannot be measured in {crs.name}", hint="warp the raster to a map projection"
        )
    return crs


def _crs_of(reader: RasterReader, assume_crs: str | None) -> "CRS":
    grid = reader.grid
    if len(reader.bands) != 1:
        raise InputError(
            f"{reader.name} has {len(reader.bands)} bands, probability or a mask has 1",
            hint=f"gdal_translate -b 1 '{reader.name}' one_band.tif",
        )
    if grid.transform.is_identity:
        raise InputError(
            f"{reader.name} has no georeference", hint="gdal_translate -a_ullr LEFT TOP RIGHT BOTTOM ..."
        )
    if grid.crs is None and assume_crs is None:
        raise InputError(f"{reader.name} has no CRS", hint="pass --assume-crs EPSG:CODE if you know it")
    if grid.crs is None or assume_crs is None:
        grid.pixel_size_m()  # refuses a CRS in which this ground has no place
        return as_crs(grid.crs if assume_crs is None else assume_crs)
    if as_crs(grid.crs) != as_crs(assume_crs):
        raise InputError(
            f"{reader.name} is in {grid.crs}, not in {assume_crs}", hint="leave out --assume-crs"
        )
    return as_crs(grid.crs)


def _job(source: Source, reader: RasterReader, crs: "CRS", settings: Outlining) -> BandJob:
    grid = reader.grid
    return BandJob(
        source=source,
        width=grid.width,
        height=grid.height,
        band_rows=rows_per_band(grid.width, grid.height, reader.dtype.itemsize),
        lowest=lowest_value(settings.threshold),
        settings=settings,
        transform=grid.transform,
        crs=crs.to_wkt(),
    )


def _by_paper(
    bands: Callable[[], Iterator[Drawn]],
    delivery: Delivery,
    reader: RasterReader,
    steps: StepsWriter | None,
) -> Iterator[Drawn]:
    """Look at all outlines first, then take them through the paper's chain."""
    limits = find_limits(bands(), block_px=_block_px(delivery.quantile_area_km2, reader))
    for drawn in bands():
        redrawn = []
        for part, made in redraw(drawn, limits):
            redrawn.append(part)
            if steps is not None:
                steps.write(made)
        if redrawn:
            yield join(redrawn).in_order()


def _block_px(area_km2: float | None, reader: RasterReader) -> int | None:
    """Give the side of a block of so much ground, in pixels."""
    size = reader.grid.pixel_size_m()
    if area_km2 is None or size is None:
        return None
    return max(round(math.sqrt(area_km2 * 1e6 / (size[0] * size[1]))), 1)


@contextmanager
def _steps_writer(delivery: Delivery, job: BandJob, running: Running) -> Iterator[StepsWriter | None]:
    """Make the layers of the paper's steps beside the output, where they are asked for."""
    if delivery.keep_steps is None:
        yield None
        return
    with staged(delivery.keep_steps, overwrite=running.overwrite) as folder:
        steps = StepsWriter(folder / delivery.keep_steps.name, crs=as_crs(job.crs), transform=job.transform)
        yield steps
        steps.finish()


@dataclass(slots=True)
class _Written:
    """What went into a layer."""

    count: int
    area_m2: float
    methods: Counter[str]
    dropped: int


def _write(
    path: Path,
    kind: Format,
    batches: Iterable[FootprintBatch],
    crs: "CRS",
    delivery: Delivery,
    provenance: Provenance,
    seen: "Iterable[NDArray[np.object_]] | None" = None,
) -> _Written:
    """Write footprints as they come, then the ground that was seen, where it is wanted."""
    area_m2, methods = 0.0, Counter[str]()
    with FootprintWriter(
        path,
        crs=crs,
        layer=delivery.layer,
        provenance=provenance,
        kind=kind,
        target_crs=delivery.target_crs,
        styled=delivery.styled,
    ) as writer:
        for batch in batches:
            writer.write(batch)
            area_m2 += float(batch.area_m2.sum())
            methods.update(batch.method.tolist())
        for polygons in seen or ():
            writer.write_beside(VALID_LAYER, polygons)
    return _Written(count=writer.count, area_m2=area_m2, methods=methods, dropped=writer.dropped)


def _summary(
    output: Path,
    delivery: Delivery,
    written: _Written,
    began: float,
    *,
    size_px: tuple[int, int] | tuple[None, None] = (None, None),
    bands: tuple[int, int] = (0, 0),
) -> VectorizeSummary:
    return VectorizeSummary(
        output=str(output),
        layer=delivery.layer,
        footprints=written.count,
        area_m2=round(written.area_m2, 2),
        methods=dict(sorted(written.methods.items())),
        dropped=written.dropped,
        width_px=size_px[0],
        height_px=size_px[1],
        bands=bands[0],
        bands_resumed=bands[1],
        seconds=round(time.monotonic() - began, 2),
    )


def _provenance(source: Path, settings: Outlining) -> Provenance:
    return Provenance(
        verb="vectorize",
        source=source.name,
        source_fingerprint=fingerprint_file(source) if source.is_file() else "",
        options=" ".join(f"{field.name}={getattr(settings, field.name)}" for field in fields(settings)),
    )
