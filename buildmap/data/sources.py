"""Rasters with annotations, opened for learning: checked, aligned, and copied to memory where they fit."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from buildmap import preset as presets
from buildmap.data.annotations import Annotations, FootprintTruth, MaskTruth, chip_transform
from buildmap.data.copies import Pixels, copy_image, copy_mask, image_bytes, mask_bytes
from buildmap.data.pairs import RASTER_SUFFIXES, bad_inputs, list_pairs
from buildmap.data.split import Ground, overlap, scale_window, split_generator, split_ground
from buildmap.errors import InputError, MissingInput
from buildmap.execution.progress import Progress, Silent
from buildmap.raster.grid import Grid
from buildmap.raster.reader import Image, RasterReader
from buildmap.raster.windows import Window
from buildmap.vector.reader import Repairs, read_footprints

DEFAULT_MEMORY_BYTES = 2 * 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A window of a source, at the rows and columns asked for."""

    image: Image
    """Pixels in the raster's own type, and where they are valid."""
    building: NDArray[np.bool_]
    """(rows, cols), True = building."""
    valid: NDArray[np.bool_]
    """(rows, cols), True = has data and is annotated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSource:
    """One raster with annotations."""

    name: str
    """The raster's path in the data folder, without suffix."""
    grid: Grid
    """The working grid: the raster's own, or resampled to the preset's range of GSD."""
    gsd_m: float | None
    """Of `grid`, in metres; None where it is not known."""
    ground: Ground
    """What is for training and what for validation, on `grid`."""
    pixels: Pixels
    """The raster, on `grid`."""
    annotations: Annotations
    """The truth, on `grid`."""
    all_valid: bool
    """True where neither raster nor annotations can have gaps."""
    footprints: int | None
    """Polygons on the annotated ground; None for a mask raster."""
    repairs: Repairs | None
    """What was repaired or dropped of them; None for a mask raster."""
    has_buildings: bool
    """False where the annotations show none."""

    def read(self, window: Window, *, out_shape: tuple[int, int]) -> Sample:
        """Read a window of `grid`, resampled to `out_shape` rows and columns.

        Raises:
            StorageError: If a file cannot be read there.
        """
        image = self.pixels.read(window, out_shape=out_shape)
        truth = self.annotations.draw(window, out_shape=out_shape)
        return Sample(image=image, building=truth.building, valid=image.valid & truth.known)

    def close(self) -> None:
        """Close files and free memory."""
        self.pixels.close()
        self.annotations.close()


def open_sources(
    root: Path,
    preset: presets.Preset,
    *,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    progress: Progress | None = None,
) -> tuple[TrainingSource, ...]:
    """Open every source that the preset lists, or that is found in `root`.

    Args:
        root: Data folder.
        preset: Says GSD, bands, sources and how to split.
        memory_bytes: Limit of all copies in memory; sources that do not fit are read from disk.
        progress: Hears of each source.

    Raises:
        MissingInput: If there is no data folder.
        InputError: If sources cannot be used, all of which are named; if there are no buildings at all, or
            training ground of one source is validation ground of another.
    """
    pairs = list_pairs(root, preset.sources)
    listener = Silent() if progress is None else progress
    listener.start("opening sources", len(pairs))
    problems: list[InputError] = []
    with ExitStack() as stack:
        sources: list[TrainingSource] = []
        left_bytes = memory_bytes
        for pair in pairs:
            try:
                source, used_bytes = _open(root, pair, preset, left_bytes)
            except InputError as error:
                problems.append(error)
            else:
                stack.callback(source.close)
                sources.append(source)
                left_bytes -= used_bytes
            listener.advance()
        if problems:
            raise _joined(root, problems)
        _check_leaks(root, pairs, sources)
        if not any(source.has_buildings for source in sources):
            raise InputError(f"{root}: no annotation shows a building on the ground of its raster")
        stack.pop_all()
    return tuple(sources)


def _open(
    root: Path, pair: presets.Source, preset: presets.Preset, left_bytes: int
) -> tuple[TrainingSource, int]:
    """Open one source, and say what it takes of the memory left."""
    data = preset.data
    name = str(Path(pair.image).with_suffix(""))
    with ExitStack() as stack:
        reader = RasterReader(
            root / pair.image, bands=data.bands, gsd_range_m=(data.gsd_min_m, data.gsd_max_m)
        )
        stack.callback(reader.close)
        if reader.dtype.name != data.dtype:
            raise InputError(f"{pair.image} is {reader.dtype.name}, the preset expects {data.dtype}")
        try:
            window = scale_window(pair.window_px, reader.native_grid, reader.grid)
        except ValueError as error:
            raise InputError(f"{pair.image}: {error}") from error
        path = root / pair.annotations
        is_mask = path.suffix.lower() in RASTER_SUFFIXES
        truth = _open_mask(path, reader) if is_mask else _read_footprints(path, reader, window)
        stack.callback(truth.annotations.close)
        used_bytes = image_bytes(reader, window) + (mask_bytes(window) if is_mask else 0)
        fits = used_bytes <= left_bytes
        copied = _copy_mask(truth, reader.grid, window) if fits else truth
        pixels: Pixels = copy_image(reader, window) if fits else reader
        if not fits:
            stack.pop_all()
    return (
        TrainingSource(
            name=name,
            grid=reader.grid,
            gsd_m=_gsd_m(reader.grid),
            ground=_share(window, pair, preset, name),
            pixels=pixels,
            annotations=copied.annotations,
            all_valid=reader.all_valid and not is_mask,
            footprints=copied.footprints,
            repairs=copied.repairs,
            has_buildings=copied.has_buildings,
        ),
        used_bytes if fits else 0,
    )


def _gsd_m(grid: Grid) -> float | None:
    size = grid.pixel_size_m()
    return None if size is None else (size[0] * size[1]) ** 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    annotations: Annotations
    footprints: int | None = None
    repairs: Repairs | None = None
    has_buildings: bool = True


def _open_mask(path: Path, reader: RasterReader) -> _Opened:
    return _Opened(annotations=MaskTruth(path, native=reader.native_grid, grid=reader.grid))


def _copy_mask(truth: _Opened, grid: Grid, window: Window) -> _Opened:
    if not isinstance(truth.annotations, MaskTruth):
        return truth
    annotations, count = copy_mask(truth.annotations, grid, window)
    return replace(truth, annotations=annotations, has_buildings=count > 0)


def _read_footprints(path: Path, reader: RasterReader, window: Window) -> _Opened:
    grid = reader.grid
    if grid.crs is None:
        raise InputError(
            f"{reader.path} has no CRS, so footprints cannot be laid on it",
            hint=f"gdal_translate -a_srs EPSG:CODE '{reader.path}' with_crs.tif",
        )
    corner = chip_transform(grid, window, (window.height, window.width))
    part = Grid(width=window.width, height=window.height, transform=corner, crs=grid.crs)
    found = read_footprints(path, crs=grid.crs, bbox=part.bounds)
    count = len(found.polygons)
    return _Opened(
        annotations=FootprintTruth(found.polygons, grid),
        footprints=count,
        repairs=found.repairs,
        has_buildings=count > 0,
    )


def _share(window: Window, pair: presets.Source, preset: presets.Preset, name: str) -> Ground:
    if pair.use == "train":
        return Ground(train=(window,), validation=())
    if pair.use == "validation":
        return Ground(train=(), validation=(window,))
    training = preset.training
    return split_ground(
        window,
        chip_px=training.chip_px,
        share=training.validation_share,
        rng=split_generator(training.seed, name),
    )


def _check_leaks(root: Path, pairs: Sequence[presets.Source], sources: Sequence[TrainingSource]) -> None:
    """Refuse a raster listed twice, if training ground of one is validation ground of the other."""
    problems = []
    for pair, source in zip(pairs, sources, strict=True):
        for other_pair, other in zip(pairs, sources, strict=True):
            if pair.image != other_pair.image:
                continue
            shared = [
                (train, kept)
                for train in source.ground.train
                for kept in other.ground.validation
                if overlap(train, kept)
            ]
            if shared:
                problems.append(
                    f"{pair.image}: window_px {_text(pair)} for {pair.use} and {_text(other_pair)} "
                    f"for {other_pair.use} share ground"
                )
    if problems:
        raise bad_inputs(root, problems, hint="let the windows of one raster not overlap")


def _text(pair: presets.Source) -> str:
    return "all" if pair.window_px is None else str(list(pair.window_px))


def _joined(root: Path, problems: list[InputError]) -> InputError:
    """Make one error of all; a single one stays what it is."""
    if len(problems) == 1:
        return problems[0]
    joined = bad_inputs(root, [f"{e}" + (f" ({e.hint})" if e.hint else "") for e in problems])
    if all(isinstance(error, MissingInput) for error in problems):
        return MissingInput(str(joined))
    return joined
