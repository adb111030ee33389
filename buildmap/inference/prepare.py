"""From what a user asks for to work that fits: the raster against the model, windows, memory."""

import logging
from dataclasses import dataclass, fields, replace
from pathlib import Path

import shapely

from buildmap.contract import ModelCard
from buildmap.errors import InputError, OutputError
from buildmap.execution.memory import bound_block_cache
from buildmap.inference.backend import Backend, open_models
from buildmap.inference.cutting import Cutting, block_cache_bytes
from buildmap.inference.devices import available_cores, parse_devices
from buildmap.inference.finding import MIN_SCORE, Finding
from buildmap.inference.instance_backend import InstanceBackend
from buildmap.inference.job import Job, plan_facts
from buildmap.inference.options import Prediction, Running
from buildmap.raster.area import bounding_box
from buildmap.raster.blend import ramp_width
from buildmap.raster.grid import Bounds, Grid
from buildmap.raster.reader import RasterReader, Reader
from buildmap.raster.source import Source
from buildmap.raster.windows import plan_evenly
from buildmap.vector.outlining import Outlining

logger = logging.getLogger(__name__)
_GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32"}
_MOST_READERS = 8
_MARGIN_PX = 8
"""How far outside a core the centre of an object may lie, where the halo is no narrower."""
_FLAGS = {"seed": "--seed-probability"}
_FOR_OBJECTS = frozenset({"min_area_m2", "threshold"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A prediction that can begin."""

    job: Job
    """What any process needs."""
    card: ModelCard
    """Of the model, or of all of them together."""
    device: str
    """Where the network runs."""
    reader: RasterReader
    """The raster, opened in this process."""
    facts: dict[str, str]
    """All that the strips depend on."""

    @property
    def grid(self) -> Grid:
        """What is predicted: the reader's grid, or one as much finer as the model makes it."""
        return self.reader.grid.scaled(self.job.cutting.scale)


def prepare(
    names: tuple[str, ...], prediction: Prediction, running: Running, *, is_layer: bool
) -> tuple[Work, Backend | InstanceBackend]:
    """Load the model, open the raster as the model wants to see it, and cut it into windows.

    Args:
        names: The raster, or several that are one mosaic.
        prediction: What to predict.
        running: How to go about it.
        is_layer: Footprints are wanted, which need a place on the Earth.

    Returns:
        The work, and the network loaded in this process.

    Raises:
        InputError: If raster, model or area cannot be used, or do not fit each other.
        OutputError: If the model finds buildings one by one, and no layer is wanted.
        ResourceError: If the device is not available, or memory too small.
    """
    devices = parse_devices(prediction.device)
    options = replace(prediction.backend, window_px=prediction.window_px)
    backend = open_models(prediction.models, replace(options, device=devices[0]))
    card = backend.card
    finding = _finding(card, prediction, is_layer=is_layer)
    # a building on the border of an area is seen whole, to know whether its centre lies inside
    around_px = 0 if finding is None else _halo_px(card, prediction)
    source, area = _source(names, card, prediction, around_px)
    reader = source.open()
    try:
        _check_pixels(reader, card)
        check_place(reader, is_layer=is_layer)
        job = Job(
            source=source,
            models=prediction.models,
            devices=devices,
            options=options,
            cutting=cut(card, reader.grid, prediction),
            area=area,
            readers=running.readers or reading_threads(devices[0]),
            finding=finding,
        )
        job.area_on(reader.grid)  # refuses one that does not touch the raster
    except BaseException:
        reader.close()
        raise
    bound_block_cache(block_cache_bytes(reader, job.cutting))
    work = Work(
        job=job,
        card=card,
        device=backend.device if len(devices) == 1 else ", ".join(devices),
        reader=reader,
        facts=plan_facts(job, backend, reader.grid.scaled(card.scale)),
    )
    return work, backend


def _finding(card: ModelCard, prediction: Prediction, *, is_layer: bool) -> Finding | None:
    """Say how to read what the model finds; None where it gives probability. Refuse what is for the other."""
    if card.model.instances is None:
        if prediction.grouping is not None or prediction.min_score is not None:
            given = "--min-score" if prediction.grouping is None else "--grouping"
            raise InputError(
                f"{given} is for models that find buildings one by one; '{card.title}' gives probability",
                hint=f"leave out {given}, or choose --threshold and --method",
            )
        return None
    if not is_layer:
        raise OutputError(
            f"'{card.title}' finds buildings one by one and gives no probability to write as a raster",
            hint="name a layer as the output: OUTPUT.gpkg",
        )
    usual = Outlining()
    for field in fields(Outlining):
        if field.name not in _FOR_OBJECTS and getattr(prediction.outlining, field.name) != getattr(
            usual, field.name
        ):
            flag = _FLAGS.get(field.name, "--" + field.name.replace("_", "-"))
            raise InputError(
                f"{flag} is for models that give probability; '{card.title}' finds buildings one by one",
                hint=f"leave out {flag}; --grouping, --min-score and --min-area-m2 are for this one",
            )
    return Finding(
        min_score=MIN_SCORE if prediction.min_score is None else prediction.min_score,
        threshold=card.threshold if prediction.threshold is None else prediction.threshold,
        grouping=prediction.grouping or "along",
        margin_px=min(_MARGIN_PX, _halo_px(card, prediction)),
    )


def _source(
    names: tuple[str, ...], card: ModelCard, prediction: Prediction, around_px: int
) -> tuple[Source, bytes | None]:
    """Give the part of the raster that is wanted, and the wanted ground in it as WKB.

    Around an area it has so many pixels more.
    """
    bands = prediction.bands or card.data.bands
    if len(bands) != len(card.data.bands):
        raise InputError(
            f"{len(bands)} bands chosen, the model expects {len(card.data.bands)}",
            hint="number as many bands of the raster, in the model's order",
        )
    gsd_range_m = (card.data.gsd_min_m, card.data.gsd_max_m) if prediction.resample else None
    source = Source(
        rasters=names, bands=bands, gsd_range_m=gsd_range_m, bbox=prediction.bbox, align_px=card.stride
    )
    if prediction.aoi is None:
        return source, None
    with source.open() as reader:
        box, wanted = area_in(prediction.aoi, reader.grid, around_px)
    return replace(source, bbox=box), wanted


def area_in(aoi: Path, grid: Grid, around_px: int = 0) -> tuple[Bounds, bytes]:
    """Read the ground that is wanted of a grid.

    Args:
        aoi: Layer of polygons in any CRS.
        grid: On which it lies.
        around_px: So many pixels more around it.

    Returns:
        The box around it inside the grid, and the polygons as WKB, both in the CRS of the grid.

    Raises:
        InputError: If the layer cannot be read or has no polygon on the grid.
    """
    from buildmap.vector.area_of_interest import read_area

    bounds, pixel = grid.bounds, grid.transform
    polygons = read_area(aoi, crs=grid.crs, bounds=bounds, of="the raster")
    left, bottom, right, top = bounding_box(polygons)
    across, down = (around_px * (abs(one) + abs(other)) for one, other in (pixel[:2], pixel[3:5]))
    left, bottom, right, top = left - across, bottom - down, right + across, top + down
    box = (max(left, bounds[0]), max(bottom, bounds[1]), min(right, bounds[2]), min(top, bounds[3]))
    wanted: bytes = shapely.to_wkb(shapely.geometrycollections(polygons))
    return box, wanted


def _check_pixels(reader: RasterReader, card: ModelCard) -> None:
    expected = card.data.dtype
    if reader.dtype != expected:
        raise InputError(
            f"{reader.name} is {reader.dtype}, the model expects {expected}",
            hint=f"gdal_translate -ot {_GDAL_TYPES[expected]} -scale '{reader.name}' scaled.tif",
        )


def check_place(reader: Reader, *, is_layer: bool) -> None:
    """Refuse to draw footprints nobody can place; tell where the GSD is unknown."""
    if reader.grid.pixel_size_m() is not None:
        return
    lacking = "CRS" if reader.grid.crs is None else "geotransform"
    if is_layer:
        option = "--crs EPSG:CODE" if lacking == "CRS" else "--transform '[...]'"
        raise InputError(
            f"{reader.name} has no {lacking}, which footprints need", hint=f"rio edit-info {option} RASTER"
        )
    logger.warning("%s has no %s: predicted pixel by pixel, GSD unknown", reader.name, lacking)


def cut(card: ModelCard, grid: Grid, prediction: Prediction) -> Cutting:
    """Cut the grid as the model wants it, or as the user does."""
    window_px = prediction.window_px or card.window_px
    halo_px = _halo_px(card, prediction)
    try:
        card = replace(card, window_px=window_px, halo_px=halo_px)
    except ValueError as error:
        raise InputError(f"{error}", hint="leave out --window-px and --halo-px: the model knows") from error
    plan = plan_evenly(
        width=grid.width,
        height=grid.height,
        window_px=window_px,
        halo_px=halo_px,
        stride=card.stride,
        rows_per_strip=prediction.rows_per_strip,
    )
    ramp_px = min(ramp_width(halo_px), plan.core_width_px // 2 * 2, plan.core_height_px // 2 * 2)
    return Cutting(
        plan=plan,
        ramp_px=ramp_px if card.model.instances is None else 0,
        threshold=card.threshold,
        scale=card.scale,
        skip_errors=prediction.skip_errors,
    )


def _halo_px(card: ModelCard, prediction: Prediction) -> int:
    return card.halo_px if prediction.halo_px is None else prediction.halo_px


def reading_threads(device: str) -> int:
    """Choose the number of reading threads: a GPU waits for decoding, a CPU's network does not."""
    cores = available_cores()
    return min(cores, _MOST_READERS if device != "cpu" else 2)
