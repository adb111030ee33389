"""Rasters with annotations, opened for learning: checked, aligned, and copied to memory where they fit."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from buildmap import preset as presets
from buildmap.data.annotations import Annotations
from buildmap.data.blank import BlankReader
from buildmap.data.coco import CocoFiles
from buildmap.data.copies import Copyable, Pixels, copy_image, image_bytes, mask_bytes
from buildmap.data.lattice import split_together
from buildmap.data.leaks import OwnedWindow, connected_groups, shared_m2
from buildmap.data.map_picture import MapPicture
from buildmap.data.missing import Dropped, LearningTruth
from buildmap.data.pairs import RASTER_SUFFIXES, bad_inputs, find_pairs
from buildmap.data.rescale import RescaledReader
from buildmap.data.split import Ground, common, overlap, scale_window, split_generator, split_ground
from buildmap.data.triplets import PAIRS, Triplets, check_shown, open_picture
from buildmap.data.truths import Truths, open_truths
from buildmap.errors import InputError, MissingInput
from buildmap.execution.progress import Progress, Silent
from buildmap.raster.blend import enlarge
from buildmap.raster.grid import Grid
from buildmap.raster.reader import Image, RasterReader
from buildmap.raster.windows import Window
from buildmap.vector.reader import Repairs

DEFAULT_MEMORY_BYTES = 2 * 2**30
_MOST_LEAKS_NAMED = 12
_LOOKS_PER_SIDE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A window of a source, at the rows and columns asked for."""

    image: Image
    """Pixels in the raster's own type, and where they are valid."""
    building: NDArray[np.bool_]
    """(rows, cols), True = building."""
    valid: NDArray[np.bool_]
    """(rows, cols), True = has data and is annotated."""
    picture: NDArray[np.uint8] | None = None
    """(3, rows, cols) red, green, blue of the map; None where it was not asked for."""


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
    dropped: Dropped | None = None
    """What was taken out of the truth of the training ground; None where nothing was to be."""
    scale: int = 1
    """Pixels of mask and picture per pixel of the image in a triplet, along one axis."""
    picture: MapPicture | None = None
    """The map of the ground; None where there is none."""

    def read(self, window: Window, *, out_shape: tuple[int, int]) -> Sample:
        """Read a window of `grid`, resampled to `out_shape` rows and columns.

        Raises:
            StorageError: If a file cannot be read there.
        """
        image = self.pixels.read(window, out_shape=out_shape)
        truth = self.annotations.draw(window, out_shape=out_shape)
        return Sample(image=image, building=truth.building, valid=image.valid & truth.known)

    def read_triplet(self, window: Window, *, out_shape: tuple[int, int]) -> Sample:
        """Read a window of `grid`: its image as `read` does, all else `scale` times finer.

        Raises:
            StorageError: If a file cannot be read there.
        """
        image = self.pixels.read(window, out_shape=out_shape)
        finer = out_shape[0] * self.scale, out_shape[1] * self.scale
        truth = self.annotations.draw(window, out_shape=finer)
        return Sample(
            image=image,
            building=truth.building,
            valid=enlarge(image.valid, self.scale) & truth.known,
            picture=None if self.picture is None else self.picture.draw(window, out_shape=finer),
        )

    def close(self) -> None:
        """Close files and free memory."""
        self.pixels.close()
        self.annotations.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A source whose ground is not shared out yet."""

    pair: presets.Source
    """What the preset says of it."""
    name: str
    """The raster's path in the data folder, without suffix."""
    grid: Grid
    """The working grid."""
    window: Window
    """The annotated part of it."""
    pixels: Pixels
    """The raster, on `grid`."""
    truths: Truths
    """The annotations, on `grid`."""
    all_valid: bool
    """True where neither raster nor annotations can have gaps."""

    def close(self) -> None:
        """Close files and free memory."""
        self.pixels.close()
        self.truths.close()


def open_sources(
    root: Path,
    preset: presets.Preset,
    *,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    progress: Progress | None = None,
    triplets: Triplets = PAIRS,
) -> tuple[TrainingSource, ...]:
    """Open every source that the preset lists, or that is found in `root`.

    Args:
        root: Data folder.
        preset: Says GSD, bands, sources, how to split and how many buildings to drop.
        memory_bytes: Limit of all copies in memory; sources that do not fit are read from disk.
        progress: Hears of each source.
        triplets: Says how fine masks are, which maps to draw, and what to keep for the test.

    Raises:
        MissingInput: If there is no data folder, or no file of a map.
        InputError: If sources or maps cannot be used; if there are no buildings at all, or training ground of
            one source is kept to judge by in another.
        StorageError: If a file cannot be read.
    """
    pairs, faults = find_pairs(root, preset.sources)
    listener = Silent() if progress is None else progress
    listener.start("opening sources", len(pairs))
    problems = [InputError(fault) for fault in faults]
    coco = CocoFiles()
    with ExitStack() as stack:
        sources: list[_Opened] = []
        left_bytes = memory_bytes
        for pair in pairs:
            try:
                source, used_bytes = _open(root, pair, preset, coco, left_bytes, triplets.scale)
            except InputError as error:
                problems.append(error)
            else:
                stack.callback(source.close)
                sources.append(source)
                left_bytes -= used_bytes
            listener.advance()
        if problems:
            raise _joined(root, problems)
        grounds = _share_out(sources, preset.training, triplets.test_share)
        _check_leaks(root, sources, grounds)
        if not any(source.truths.has_buildings for source in sources):
            raise InputError(f"{root}: no annotation shows a building on the ground of its raster")
        finished = [
            _finish(root, source, ground, triplets) for source, ground in zip(sources, grounds, strict=True)
        ]
        check_shown(root, triplets, [source.picture for source in finished])
        stack.pop_all()
    return tuple(finished)


def _open(
    root: Path,
    pair: presets.Source,
    preset: presets.Preset,
    coco: CocoFiles,
    left_bytes: int,
    scale: int,
) -> tuple[_Opened, int]:
    """Open one source, and say what it takes of the memory left."""
    path = root / pair.annotations
    with ExitStack() as stack:
        reader, image = open_image(root, pair, preset.data)
        stack.callback(reader.close)
        try:
            window = scale_window(pair.window_px, reader.native_grid, reader.grid)
        except ValueError as error:
            raise InputError(f"{pair.image}: {error}") from error
        truths = open_truths(path, reader, window, pair=pair, training=preset.training, coco=coco)
        stack.callback(truths.close)
        used_bytes = image_bytes(image, window) + truths.masks * mask_bytes(window, scale=scale)
        fits = used_bytes <= left_bytes
        opened = _Opened(
            pair=pair,
            name=str(Path(pair.image).with_suffix("")),
            grid=reader.grid,
            window=window,
            pixels=copy_image(image, window) if fits else image,
            truths=truths.copied(reader.grid, window, scale=scale) if fits else truths,
            all_valid=image.all_valid and path.suffix.lower() not in RASTER_SUFFIXES,
        )
        if not fits:
            stack.pop_all()
    return opened, used_bytes if fits else 0


def open_image(root: Path, pair: presets.Source, data: presets.Data) -> tuple[RasterReader, Copyable]:
    """Open a source's raster; give it as it is, and as the model expects it. Either closes both.

    Raises:
        MissingInput: If it is not there.
        InputError: If it cannot be read, or its bands or type are not what the model expects.
    """
    bands = pair.bands or data.bands
    if len(bands) != len(data.bands):
        raise InputError(
            f"{pair.image} is read as {len(bands)} bands {list(bands)}, the preset expects {len(data.bands)}",
            hint="a band may be named several times: bands = [1, 1, 1]",
        )
    reader = RasterReader(root / pair.image, bands=bands, gsd_range_m=(data.gsd_min_m, data.gsd_max_m))
    pixels: Copyable = reader if pair.nodata is None else BlankReader(reader, nodata=pair.nodata)
    if pair.value_range is not None:
        return reader, RescaledReader(pixels, value_range=pair.value_range, dtype=np.dtype(data.dtype))
    if reader.dtype.name != data.dtype:
        reader.close()
        raise InputError(
            f"{pair.image} is {reader.dtype.name}, the preset expects {data.dtype}",
            hint="say what values it has, in its [[sources]]: value_range = [0, 2047]",
        )
    return reader, pixels


def _finish(root: Path, source: _Opened, ground: Ground, triplets: Triplets) -> TrainingSource:
    truths = source.truths
    return TrainingSource(
        name=source.name,
        grid=source.grid,
        gsd_m=source.grid.gsd_m(),
        ground=ground,
        pixels=source.pixels,
        annotations=_to_learn_from(truths, ground),
        all_valid=source.all_valid,
        footprints=truths.footprints,
        repairs=truths.repairs,
        dropped=None if truths.fates is None else truths.fates.count(ground.train),
        scale=triplets.scale,
        picture=open_picture(
            root, triplets, name=source.name, grid=source.grid, ground=ground.train + ground.kept
        ),
    )


def _to_learn_from(truths: Truths, ground: Ground) -> Annotations:
    """Choose the truth, or for each part of the ground its own."""
    if truths.whole is not None and truths.thinned is not None:
        return LearningTruth(truths.thinned, truths.whole, ground.kept)
    truth = truths.thinned or truths.whole
    if truth is None:
        raise ValueError("a source without any truth")
    return truth


def _share_out(sources: Sequence[_Opened], training: presets.Training, test_share: float) -> list[Ground]:
    """Say what of every source is for which use; rasters of the same ground are split alike."""
    grounds = [_whole_ground(source) for source in sources]
    to_split = [number for number, source in enumerate(sources) if source.pair.use == "split"]
    placed = [number for number in to_split if sources[number].grid.is_placed]
    grids, windows = [source.grid for source in sources], [source.window for source in sources]
    groups = connected_groups(grids, windows, placed)
    groups += [[number] for number in to_split if not sources[number].grid.is_placed]
    for group in groups:
        if len(group) > 1:
            shared = _split_group([sources[number] for number in group], training, test_share)
        else:
            shared = [
                split_ground(
                    windows[group[0]],
                    chip_px=training.chip_px,
                    share=training.validation_share,
                    rng=split_generator(training.seed, sources[group[0]].name),
                    test_share=test_share,
                )
            ]
        for number, ground in zip(group, shared, strict=True):
            grounds[number] = ground
    return grounds


def _split_group(sources: Sequence[_Opened], training: presets.Training, test_share: float) -> list[Ground]:
    """Split rasters that overlap, twice: cells come in one order, so a larger share adds to a smaller."""

    def split(share: float) -> list[Ground]:
        return split_together(
            [source.grid for source in sources],
            [source.window for source in sources],
            chip_px=training.chip_px,
            share=share,
            seed=training.seed,
            name=sources[0].name,
            valid_shares=[_valid_share(source) for source in sources],
        )

    grounds = split(training.validation_share)
    if test_share == 0:
        return grounds
    return [
        Ground(train=both.train, validation=one.validation, test=common(both.validation, one.train))
        for one, both in zip(grounds, split(training.validation_share + test_share), strict=True)
    ]


def _valid_share(source: _Opened) -> Callable[[Window], float] | None:
    """Give what estimates how much of a window is valid, 0..1, or None where all is."""
    if source.all_valid:
        return None

    def share(window: Window) -> float:
        shape = min(window.height, _LOOKS_PER_SIDE), min(window.width, _LOOKS_PER_SIDE)
        return float(source.pixels.read(window, out_shape=shape).valid.mean())

    return share


def _whole_ground(source: _Opened) -> Ground:
    use, window = source.pair.use, (source.window,)
    return Ground(
        train=window if use == "train" else (),
        validation=window if use == "validation" else (),
        test=window if use == "test" else (),
    )


def _check_leaks(root: Path, sources: Sequence[_Opened], grounds: Sequence[Ground]) -> None:
    """Refuse training ground that is kept to judge by in another source."""
    problems = [*_leaks_of_one_raster(sources, grounds), *_leaks_between_rasters(sources, grounds)]
    if len(problems) > _MOST_LEAKS_NAMED:
        more = len(problems) - _MOST_LEAKS_NAMED
        problems = [*problems[:_MOST_LEAKS_NAMED], f"and {more} more that share ground"]
    if problems:
        raise bad_inputs(
            root, problems, hint='keep them apart by window_px, or give all of them use = "split"'
        )


def _leaks_of_one_raster(sources: Sequence[_Opened], grounds: Sequence[Ground]) -> list[str]:
    """Compare the windows of rasters that are listed several times, pixel by pixel."""
    numbers = defaultdict(list)
    for number, source in enumerate(sources):
        numbers[Path(source.pair.image)].append(number)
    problems = []
    for listed in numbers.values():
        for one in listed:
            for other in listed:
                pairs = sources[one].pair, sources[other].pair
                if one != other and any(
                    overlap(train, kept) for train in grounds[one].train for kept in grounds[other].kept
                ):
                    problems.append(
                        f"{pairs[0].image}: window_px {_text(pairs[0])} for {pairs[0].use} and "
                        f"{_text(pairs[1])} for {pairs[1].use} share ground"
                    )
    return problems


def _leaks_between_rasters(sources: Sequence[_Opened], grounds: Sequence[Ground]) -> list[str]:
    train = [
        OwnedWindow(owner=n, window=window) for n, ground in enumerate(grounds) for window in ground.train
    ]
    kept = [OwnedWindow(owner=n, window=window) for n, ground in enumerate(grounds) for window in ground.kept]
    shared = shared_m2([source.grid for source in sources], train, kept)
    return [
        f"{one.image} for {_use(one, 'training')} and {other.image} for {_use(other, 'validation')} "
        f"share {area_m2:,.0f} m2 of ground"
        for (one, other), area_m2 in (
            ((sources[a].pair, sources[b].pair), area_m2) for (a, b), area_m2 in shared.items()
        )
        if Path(one.image) != Path(other.image)
    ]


def _use(pair: presets.Source, role: str) -> str:
    return {"split": f"{role} (split)", "test": "the test"}.get(pair.use, role)


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
