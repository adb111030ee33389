"""What a network says of annotated ground, beside the truth: in full-width bands, from top to bottom."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray
from torch import nn

from buildmap.data.sources import TrainingSource
from buildmap.errors import ResourceError
from buildmap.execution.prefetch import prefetch
from buildmap.execution.progress import Progress
from buildmap.preset import Preset
from buildmap.raster.grid import Grid
from buildmap.raster.normalize import normalize
from buildmap.raster.windows import PlannedWindow, Window, WindowPlan, plan_evenly

_READERS = 2
_WINDOWS_AHEAD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """All annotated ground of one raster, for training and for validation."""

    name: str
    """Of the raster."""
    grid: Grid
    """The working grid that its chips are cut from."""
    window: Window
    """The part of `grid` around its ground."""
    sources: tuple[TrainingSource, ...]
    """Those that share the raster."""

    @property
    def transform(self) -> Affine:
        """Pixel corner (col, row) of `window` to coordinates."""
        return self.grid.part(self.window).transform


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Rows of a surveyed window."""

    first_row: int
    """Number of the first row in the window."""
    probability: NDArray[np.float32]
    """(rows, width), 0..1; 0 where not known."""
    building: NDArray[np.bool_]
    """(rows, width), True = known, and annotated as building."""
    known: NDArray[np.bool_]
    """(rows, width), True = has data and is annotated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    core: Window
    """In the surveyed window."""
    image: NDArray[np.float32] | None
    """(bands, rows, cols) normalized, sides multiples of the stride; None where nothing is known."""
    corner: tuple[int, int]
    """Row and column of the core in the image."""
    building: NDArray[np.bool_]
    """(rows, cols) of the core."""
    known: NDArray[np.bool_]
    """(rows, cols) of the core."""


def surveyed(sources: Sequence[TrainingSource]) -> tuple[Surveyed, ...]:
    """Join sources that are parts of one raster, so that no building is cut where they meet."""
    groups: list[list[TrainingSource]] = []
    for source in filter(_ground_of, sources):
        for group in groups:
            if (group[0].name, group[0].grid) == (source.name, source.grid):
                group.append(source)
                break
        else:
            groups.append([source])
    return tuple(
        Surveyed(
            name=group[0].name,
            grid=group[0].grid,
            window=_around([part for source in group for part in _ground_of(source)]),
            sources=tuple(group),
        )
        for group in groups
    )


def survey(
    network: nn.Module,
    ground: Surveyed,
    preset: Preset,
    *,
    stride: int,
    device: torch.device,
    progress: Progress,
) -> Generator[Band]:
    """Predict all ground of a raster, with context as in `predict`.

    Memory follows the width of the ground and the height of a window.

    Args:
        network: On the device, in evaluation mode.
        ground: What to predict.
        preset: Says how windows are cut and images normalized.
        stride: Of the network.
        device: Where it computes.
        progress: Hears of every window.

    Yields:
        Bands that together cover `ground.window`.

    Raises:
        StorageError: If a file cannot be read.
        ResourceError: If a window does not fit into the device's memory.
    """
    plan = plan_of(ground, preset, stride=stride)
    read = partial(_read, ground, preset, stride)
    with closing(prefetch(read, iter(plan), workers=_READERS, ahead=_WINDOWS_AHEAD)) as windows:
        for strip in range(plan.strips):
            yield _band(network, plan, strip, windows, device, progress)


def plan_of(ground: Surveyed, preset: Preset, *, stride: int) -> WindowPlan:
    """Cut surveyed ground as `predict` would."""
    return plan_evenly(
        width=ground.window.width,
        height=ground.window.height,
        window_px=preset.predict.window_px,
        halo_px=preset.predict.halo_px,
        stride=stride,
    )


def _band(
    network: nn.Module,
    plan: WindowPlan,
    strip: int,
    windows: Iterator[_Read],
    device: torch.device,
    progress: Progress,
) -> Band:
    """Take the windows of one strip from those that were read."""
    first, end = plan.span(strip)
    shape = (end - first, plan.width)
    probability = np.zeros(shape, np.float32)
    building, known = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    for _, window in zip(range(plan.windows(strip)), windows, strict=False):
        core = window.core
        rows = slice(core.row_off - first, core.row_off - first + core.height)
        place = rows, slice(core.col_off, core.col_off + core.width)
        if window.image is not None:
            row, col = window.corner
            found = _predict(network, window.image, device)
            inside = found[row : row + core.height, col : col + core.width]
            probability[place] = np.where(window.known, inside, 0)
        building[place], known[place] = window.building & window.known, window.known
        progress.advance()
    return Band(first_row=first, probability=probability, building=building, known=known)


def _predict(network: nn.Module, image: NDArray[np.float32], device: torch.device) -> NDArray[np.float32]:
    try:
        with torch.inference_mode():
            tensor = torch.from_numpy(image[None]).to(device, memory_format=torch.channels_last)
            return np.asarray(network(tensor)[0, 0].float().sigmoid().cpu().numpy())
    except torch.OutOfMemoryError as error:
        _, rows, cols = image.shape
        raise ResourceError(
            f"a window of {cols} x {rows} pixels does not fit into the GPU's memory: {error}",
            hint="set window_px in [predict] of the preset to a smaller multiple of the network's stride",
        ) from error


def _read(ground: Surveyed, preset: Preset, stride: int, planned: PlannedWindow) -> _Read:
    """Put a window together from the rectangles of ground that it touches."""
    core, read = planned.core, planned.read
    shape = (read.height, read.width)
    sides = (-(-side // stride) * stride for side in shape)
    image = np.zeros((len(preset.data.bands), *sides), np.float32)
    building, known = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    on_grid = _shifted(read, ground.window.col_off, ground.window.row_off)
    for source in ground.sources:
        for rectangle in _ground_of(source):
            part = _common(on_grid, rectangle)
            if part is None:
                continue
            sample = source.read(part, out_shape=(part.height, part.width))
            place = _slices(_shifted(part, -on_grid.col_off, -on_grid.row_off))
            image[:, *place] = normalize(sample.image, preset.data)
            building[place], known[place] = sample.building, sample.valid
    inside = _shifted(core, -read.col_off, -read.row_off)
    of_core = known[_slices(inside)]
    return _Read(
        core=core,
        image=image if of_core.any() else None,
        corner=(inside.row_off, inside.col_off),
        building=building[_slices(inside)],
        known=of_core,
    )


def _ground_of(source: TrainingSource) -> tuple[Window, ...]:
    return (*source.ground.train, *source.ground.validation)


def _around(windows: Sequence[Window]) -> Window:
    left, top = min(window.col_off for window in windows), min(window.row_off for window in windows)
    right = max(window.col_off + window.width for window in windows)
    bottom = max(window.row_off + window.height for window in windows)
    return Window(col_off=left, row_off=top, width=right - left, height=bottom - top)


def _common(one: Window, other: Window) -> Window | None:
    left, top = max(one.col_off, other.col_off), max(one.row_off, other.row_off)
    right = min(one.col_off + one.width, other.col_off + other.width)
    bottom = min(one.row_off + one.height, other.row_off + other.height)
    if right <= left or bottom <= top:
        return None
    return Window(col_off=left, row_off=top, width=right - left, height=bottom - top)


def _shifted(window: Window, cols: int, rows: int) -> Window:
    return replace(window, col_off=window.col_off + cols, row_off=window.row_off + rows)


def _slices(window: Window) -> tuple[slice, slice]:
    rows = slice(window.row_off, window.row_off + window.height)
    return rows, slice(window.col_off, window.col_off + window.width)
