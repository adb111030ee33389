"""Prediction from Python: an xarray.DataArray in, a lazy one of building probability out.

A strip of windows is predicted when a chunk of it is asked for, from the part of the array under it. Two
strips share the rows in which they overlap, so a chunk, a strip and the rows shared with the one below, takes
two of them; where all chunks are computed, every strip is predicted once.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import numpy as np
import shapely

from buildmap.contract import ModelCard
from buildmap.errors import InputError, MismatchError, ResourceError
from buildmap.execution.progress import Silent
from buildmap.inference.backend import Backend, builtin_model, load_backend
from buildmap.inference.cutting import Cutting
from buildmap.inference.devices import BackendOptions, Precision, Tta, parse_devices
from buildmap.inference.job import decisive, gap
from buildmap.inference.options import Prediction
from buildmap.inference.prepare import area_in, check_place, cut, reading_threads
from buildmap.inference.segment import Segmenter
from buildmap.provenance import Provenance
from buildmap.raster.area import Area
from buildmap.raster.blend import NODATA, StripPart, join
from buildmap.raster.dataarray import ArrayReader, Layout, lay_out
from buildmap.raster.dates import TIFF_TAG
from buildmap.raster.grid import Bounds, Grid
from buildmap.raster.windows import Window
from buildmap.raster.writer import PROBABILITY_STEPS

if TYPE_CHECKING:
    from dask.array import Array
    from dask.delayed import Delayed
    from numpy.typing import NDArray
    from xarray import DataArray

    Blocks = list[list[list[NDArray[np.generic]]]]

_MOST_NETWORKS = 2
_in_turn = threading.Lock()
"""Held by who predicts in this process: one strip takes all cores already, and the memory for it."""


class Options(TypedDict, total=False):
    """What `buildmap predict` has options for, under the same names and with the same defaults."""

    bands: tuple[int, ...] | None
    """1-based bands to show the model, in its order; the model's own when None."""
    bbox: Bounds | None
    """Left, bottom, right, top in the array's CRS: only this part."""
    aoi: Path | None
    """Layer of polygons: nothing outside is predicted, and the result covers only their box."""
    resample: bool
    """Work at a GSD the model knows (True); False keeps the array's pixels."""
    window_px: int | None
    """Side of a window; the model's own when None."""
    halo_px: int | None
    """Context on every side of a core; the model's own when None."""
    rows_per_strip: int
    """Rows of windows in one chunk (1): fewer, larger chunks; the values are the same for any."""
    tta: Tta
    """'none', 'flips' or 'd4': average over mirror images, or over all 8 symmetries."""
    device: str
    """'auto', 'cpu', 'cuda', 'tensorrt', or one by its number, where the chunks are computed."""
    precision: Precision
    """Of a .safetensors model: 'auto', 'fp32', 'fp16', 'bf16'."""
    max_memory_bytes: int | None
    """Main memory for the network."""
    max_vram_bytes: int | None
    """GPU memory for the network."""


def predict(
    array: "DataArray",
    model: str | Path | Sequence[str | Path] | None = None,
    **options: Unpack[Options],
) -> "DataArray":
    """Give the building probability over an array, as `buildmap predict` stores it; nothing is computed yet.

    Args:
        array: (y, x) or (bands, y, x) with a CRS, a transform and a nodata value as rioxarray knows them,
            in the type the model expects (`open_rasterio` with `masked=False`). It may be larger than
            memory if it is lazy. An alpha or mask band is not known as one: write nodata where it is zero.
        model: Model file; several are averaged; the built-in one when None.
        **options: As those of `buildmap predict`: see `Options`.

    Returns:
        (y, x) uint8, backed by dask: 0..254 is probability times 254, and 255 no data. CRS, transform,
        nodata, scale and provenance are those of the raster. Every value is what `buildmap predict`
        stores for a raster of these pixels without overviews, in any chunk and by any scheduler.

    Raises:
        MissingInput: If a model does not exist.
        InputError: If array, model or area cannot be used, or do not fit each other.
        MismatchError: If the model finds buildings one by one, or several do not fit each other.
        ResourceError: If rioxarray or dask is not installed, or the device is not available.
    """
    prediction = _prediction(model, options)
    stamps = tuple(_stamp(path) for path in prediction.models)
    card = _network(prediction.models, prediction.backend, stamps).card
    layout, ordered, area = _lay_out(array, card, prediction)
    task = _StripTask(
        layout=layout,
        cutting=cut(card, layout.placement.grid, prediction),
        models=prediction.models,
        stamps=stamps,
        options=prediction.backend,
        fingerprint=card.fingerprint,
        area=area,
    )
    pixels, token = _chunks(task, ordered)
    attributes = {
        "BUILDMAP": _provenance(array, task, card, prediction, token).to_json(),
        "long_name": "building probability",
        "scale_factor": 1 / PROBABILITY_STEPS,
        "add_offset": 0.0,
    }
    if TIFF_TAG in array.attrs:
        attributes[TIFF_TAG] = array.attrs[TIFF_TAG]
    return _placed(pixels, array, layout.placement.grid.scaled(card.scale), attributes)


def _prediction(model: str | Path | Sequence[str | Path] | None, options: Options) -> Prediction:
    """Sort out what was asked for."""
    if unknown := sorted(set(options) - Options.__annotations__.keys()):
        raise TypeError(f"predict() got an unexpected keyword argument '{unknown[0]}'")
    names = [model] if isinstance(model, str | Path) else list(model or [builtin_model()])
    devices = parse_devices(options.get("device", "auto"))
    if len(devices) > 1:
        raise ResourceError(
            f"{len(devices)} devices, and chunks are computed by one process",
            hint="one device here; start a dask worker on each GPU, and device='cuda'",
        )
    aoi = options.get("aoi")
    return Prediction(
        models=tuple(Path(name).absolute() for name in names),  # a worker may be at home elsewhere
        device=devices[0],
        backend=BackendOptions(
            device=devices[0],
            precision=options.get("precision", "auto"),
            tta=options.get("tta", "none"),
            max_memory_bytes=options.get("max_memory_bytes"),
            max_vram_bytes=options.get("max_vram_bytes"),
            window_px=options.get("window_px"),
        ),
        bands=options.get("bands"),
        resample=options.get("resample", True),
        bbox=options.get("bbox"),
        aoi=None if aoi is None else Path(aoi),
        window_px=options.get("window_px"),
        halo_px=options.get("halo_px"),
        rows_per_strip=options.get("rows_per_strip", 1),
    )


def _lay_out(
    array: "DataArray", card: ModelCard, prediction: Prediction
) -> tuple[Layout, "DataArray", bytes | None]:
    """Lay the working grid on an array; give also (bands, y, x), and the ground that is wanted."""
    bands = prediction.bands or card.data.bands
    if len(bands) != len(card.data.bands):
        raise InputError(f"{len(bands)} bands chosen, the model expects {len(card.data.bands)}")
    gsd_range_m = (card.data.gsd_min_m, card.data.gsd_max_m) if prediction.resample else None
    bbox, area = prediction.bbox, None
    layout, ordered = lay_out(array, bands=bands, gsd_range_m=gsd_range_m, bbox=bbox, align_px=card.stride)
    if layout.dtype != card.data.dtype:
        raise InputError(
            f"{layout.name} is {layout.dtype}, the model expects {card.data.dtype}",
            hint="rioxarray.open_rasterio(..., masked=False) keeps a file's type",
        )
    if prediction.aoi is not None:
        bbox, area = area_in(prediction.aoi, layout.placement.grid)
        layout, ordered = lay_out(
            array, bands=bands, gsd_range_m=gsd_range_m, bbox=bbox, align_px=card.stride
        )
    check_place(ArrayReader(layout, ordered), is_layer=False)
    return layout, ordered, area


@dataclass(frozen=True, slots=True, kw_only=True)
class _StripTask:
    """Predicts a strip from the pixels under it, in whichever process has them; small enough to travel."""

    layout: Layout
    """Of the whole array."""
    cutting: Cutting
    """Of its working grid."""
    models: tuple[Path, ...]
    """Model files; their probabilities are averaged."""
    stamps: tuple[tuple[int, int] | None, ...]
    """Of each, as it was looked at."""
    options: BackendOptions
    """How they run."""
    fingerprint: str
    """Of the model."""
    area: bytes | None
    """WKB of the ground that is wanted; all of it when None."""

    def __call__(self, index: int, blocks: "Blocks | None", part: Window | None) -> StripPart:
        """Predict strip `index` from the blocks of a part of the array; None if nothing is wanted there."""
        if blocks is None:
            return gap(self.cutting, index).part
        with _in_turn:
            backend = _network(self.models, self.options, self.stamps)
            if backend.card.fingerprint != self.fingerprint:
                raise MismatchError(
                    f"{', '.join(map(str, self.models))} is another model than when the DataArray was made",
                    hint="call buildmap.xarray.predict again",
                )
            segmenter = Segmenter(
                ArrayReader(self.layout, np.block(blocks), part),
                backend,
                self.cutting,
                area=self.wanted(),
                readers=reading_threads(backend.device),
            )
            ((_, result),) = segmenter.strips([index], Silent())
        return result.part

    def wanted(self) -> Area | None:
        """Give the ground that is wanted on the predicted grid."""
        if self.area is None:
            return None
        grid = self.layout.placement.grid.scaled(self.cutting.scale)
        return Area(shapely.get_parts(shapely.from_wkb(self.area)), grid)

    def under(self, index: int, area: Area | None) -> Window | None:
        """Give the array's own pixels that a strip is made from; None where nothing in it is wanted."""
        reads = [
            planned.read
            for row in self.cutting.plan.strip(index)
            for planned in row
            if area is None or area.touches(self.cutting.share(planned).window)
        ]
        if not reads:
            return None
        left, top = min(read.col_off for read in reads), min(read.row_off for read in reads)
        right = max(read.col_off + read.width for read in reads)
        bottom = max(read.row_off + read.height for read in reads)
        return self.layout.under(Window(col_off=left, row_off=top, width=right - left, height=bottom - top))

    def rows(self, index: int) -> int:
        """Count the rows of a strip's chunk: those it finishes, and those it shares with the strip below."""
        rows = self.cutting.plan.strip(index)
        first, last = self.cutting.share(rows[0][0]), self.cutting.share(rows[-1][0])
        return last.window.row_off + last.window.height - first.window.row_off - first.above


def _chunks(task: _StripTask, ordered: "DataArray") -> tuple["Array", str]:
    """Describe all strips and how they meet; give also what identifies them."""
    try:
        import dask.array
        from dask.base import tokenize
        from dask.delayed import delayed
    except ImportError as error:
        raise ResourceError("a lazy DataArray needs dask", hint="pip install 'buildmap[xarray]'") from error
    fetched, area, strips = _fetched(ordered, task.layout), task.wanted(), task.cutting.plan.strips
    under = [task.under(index, area) for index in range(strips)]
    slabs = [None if part is None else _slab(fetched, part) for part in under]
    token = tokenize(repr(task), [None if slab is None else slab.name for slab in slabs])
    # not optimized each by itself, or a chunk that two strips need would be computed twice
    blocks = [None if slab is None else slab.to_delayed(optimize_graph=False).tolist() for slab in slabs]
    predicted = [
        delayed(task, name=f"buildmap-{token}", traverse=False)(
            index, block, part, dask_key_name=f"buildmap-strip-{token}-{index}"
        )
        for index, (block, part) in enumerate(zip(blocks, under, strict=True))
    ]
    shape = [(task.rows(index), task.cutting.predicted_width) for index in range(strips)]
    joined: list[Delayed] = [
        delayed(_joined)(*predicted[index : index + 2], dask_key_name=f"buildmap-rows-{token}-{index}")
        for index in range(strips)
    ]
    rows = [
        dask.array.from_delayed(one, size, dtype=np.uint8, name=f"buildmap-chunk-{token}-{index}")
        for index, (one, size) in enumerate(zip(joined, shape, strict=True))
    ]
    return dask.array.concatenate(rows), token


def _fetched(ordered: "DataArray", layout: Layout) -> "DataArray":
    if layout.fetched == tuple(range(1, layout.count + 1)):
        return ordered
    return ordered.isel({ordered.dims[0]: [band - 1 for band in layout.fetched]})


def _slab(fetched: "DataArray", part: Window) -> "Array":
    """Give a part of (bands, y, x) as dask has it, or will have it."""
    slab = fetched[:, part.row_off : part.row_off + part.height, part.col_off : part.col_off + part.width]
    lazy: Array = slab.data if slab.chunks is not None else slab.chunk().data
    return lazy


def _joined(strip: StripPart, below: StripPart | None = None) -> "NDArray[np.uint8]":
    """Give the rows of a strip, and those it shares with the strip below."""
    return strip.rows if below is None else np.concatenate([strip.rows, join(strip.bottom, below.top)])


def _placed(pixels: "Array", array: "DataArray", grid: Grid, attributes: dict[str, object]) -> "DataArray":
    """Give pixels of a grid the coordinates, CRS and nodata that rioxarray would read from the raster."""
    from xarray import DataArray

    down, across = array.rio.y_dim, array.rio.x_dim
    own = {array.rio.grid_mapping, "band"}
    coordinates = {name: one for name, one in array.coords.items() if not one.ndim and name not in own}
    transform = grid.transform
    if transform.is_rectilinear and not transform.is_identity:
        coordinates[across] = transform.c + transform.a * (np.arange(grid.width) + 0.5)
        coordinates[down] = transform.f + transform.e * (np.arange(grid.height) + 0.5)
    made = DataArray(
        pixels, dims=(down, across), coords=coordinates, name="building_probability", attrs=attributes
    )
    made = made.rio.set_spatial_dims(x_dim=across, y_dim=down)
    if grid.crs is not None:
        made = made.rio.write_crs(grid.crs)
    if not transform.is_identity:
        made = made.rio.write_transform(transform)
    placed: DataArray = made.rio.write_nodata(NODATA)
    return placed


def _provenance(
    array: "DataArray", task: _StripTask, card: ModelCard, prediction: Prediction, token: str
) -> Provenance:
    how = decisive(task.cutting, task.options, bands=task.layout.bands, resample=prediction.resample)
    return Provenance(
        verb="predict",
        source=Path(array.encoding.get("source", task.layout.name)).name,
        source_fingerprint=token[:16],
        model=f"{card.title} [{card.fingerprint}]",
        options=" ".join(f"{name}={value}" for name, value in how.items()),
    )


def _stamp(model: Path) -> tuple[int, int] | None:
    """Tell one file under a name from the next; None where there is none."""
    if not model.is_file():
        return None
    known = model.stat()
    return known.st_mtime_ns, known.st_size


@lru_cache(maxsize=_MOST_NETWORKS)
def _network(
    models: tuple[Path, ...],
    options: BackendOptions,
    stamps: tuple[tuple[int, int] | None, ...],  # noqa: ARG001 (a new file is another network)
) -> Backend:
    """Load a network, or give the one that this process has."""
    return load_backend(models, options)
