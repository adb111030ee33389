"""How much context a window needs: tiled prediction against the same image predicted whole."""

import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from buildmap.contract import HaloRow, ModelCard
from buildmap.data.pairs import list_pairs
from buildmap.data.sources import open_image
from buildmap.errors import InputError
from buildmap.execution.prefetch import prefetch
from buildmap.execution.progress import Progress
from buildmap.inference.backend import Backend
from buildmap.inference.cutting import Cutting
from buildmap.inference.devices import growth_bytes
from buildmap.preset import Data, Source
from buildmap.raster.blend import accumulate, enlarge, finish, ramp_width
from buildmap.raster.normalize import fill_invalid
from buildmap.raster.reader import Image
from buildmap.raster.windows import PlannedWindow, Window, WindowPlan
from buildmap.raster.writer import PROBABILITY_STEPS

WHOLE_PX = 3072
"""Longest side of an image that is predicted whole."""
_WHOLE_BYTES = 2 * 2**30
"""Memory that its activations may take."""
_PROBE_PX = 512
_LEAST_BYTES_PER_PX = 64
_MOST_IMAGES = 2
_LEAST_VALID = 0.5
_CUTS = (
    (512, 64),
    (1024, 64),
    (1024, 128),
    (1024, 160),
    (1280, 128),
    (1280, 160),
    (1280, 192),
    (1536, 128),
    (1536, 160),
    (1536, 192),
    (1536, 256),
)
"""Windows and halos that are tried, in pixels; those that are no multiples of the stride are not."""

Cut = tuple[int, int]
"""Side of a window, and its halo, in pixels."""


def most_flips(architecture: str, *, int8: bool) -> float:
    """Give how many pixels per million may flip with the default halo.

    Eight bits themselves flip about 1,600 (`lite`): a wider halo would cost and buy nothing.
    """
    return 5 if architecture == "lite" and not int8 else 50


def choose_row(table: Sequence[HaloRow], *, limit: float) -> HaloRow:
    """Give the cheapest row with fewer flips per million than `limit`, or else the one with the fewest."""
    good = [row for row in table if row.flips_per_million < limit]
    if not good:
        return min(table, key=lambda row: (row.flips_per_million, row.cost))
    return min(good, key=lambda row: (row.cost, row.flips_per_million))


def whole_side(backend: Backend) -> int:
    """Give the side in pixels of the largest image whose activations take no more than 2 GiB.

    They are measured on a small image, which must be the first that the backend runs: later ones reuse
    its memory. A U-Net on ResNet-18 takes 450 bytes per pixel, `lite` 80.
    """
    card = backend.card
    side = max(_PROBE_PX // card.stride, 1) * card.stride
    image = np.zeros((1, len(card.data.bands), side, side), card.data.dtype)
    grown_bytes = growth_bytes(lambda: backend.probability(image))
    bytes_per_px = max(grown_bytes / side**2, _LEAST_BYTES_PER_PX)
    return min(WHOLE_PX, math.isqrt(int(_WHOLE_BYTES / bytes_per_px)))


def read_large_images(
    root: Path, listed: tuple[Source, ...], data: Data, *, side_px: int = WHOLE_PX
) -> list[Image]:
    """Read the middle of the largest rasters of a data folder, at the model's GSD.

    What lies on them, and whether it was learned from, is of no matter: whole and tiled prediction
    are compared with each other, not with the truth.

    Args:
        root: Data folder.
        listed: Sources of a preset, or none.
        data: Bands and GSD of the model.
        side_px: Longest side to read.

    Raises:
        InputError: If no raster holds valid pixels to look at, or one cannot be read.
    """
    pairs = {pair.image: pair for pair in list_pairs(root, listed)}
    middles = {name: _middle(root, pairs[name], data, side_px) for name in sorted(pairs)}
    images: list[Image] = []
    for name in sorted(middles, key=lambda name: -middles[name].width * middles[name].height):
        if len(images) == _MOST_IMAGES:
            break
        with closing(open_image(root, pairs[name], data)[1]) as pixels:
            image = pixels.read(middles[name])
        if image.valid.mean() >= _LEAST_VALID:
            images.append(image)
    if not images:
        raise InputError(f"{root} has no raster of which at least {_LEAST_VALID:.0%} is valid")
    return images


def measure_halo(backend: Backend, images: Sequence[Image], *, progress: Progress) -> tuple[HaloRow, ...]:
    """Cut images in many ways, and count what differs from predicting them whole.

    Returns:
        One row for each way that fits an image, cheapest first.

    Raises:
        InputError: If the images are too small for any.
    """
    stride = backend.card.stride
    aligned = [image for image in (_align(image, stride) for image in images) if image.valid.size]
    cuts = _cuts(backend, aligned)
    if not cuts:
        largest = max((image.valid.shape for image in images), key=math.prod)
        raise InputError(
            f"the largest raster has {largest[1]} x {largest[0]} pixels at the model's GSD, too few to "
            f"measure the halo of windows of {backend.card.window_px}",
            hint="add a larger raster to the data folder; it needs no buildings",
        )
    progress.start("measuring the halo", len(cuts) * len(aligned))
    tables: dict[Cut, list[NDArray[np.int64]]] = {cut: [] for cut in cuts}
    for image in aligned:
        pixels = fill_invalid(image, backend.card.data)
        whole = _predict_tiled(backend, pixels, (max(pixels.shape[1:]), 0))
        for cut in cuts:
            if _fits(image, cut):
                tiled = _predict_tiled(backend, pixels, cut)
                tables[cut].append(_differences(whole, tiled, image.valid, cut, backend.card))
            progress.advance()
    rows = [_row(cut, sum(tables[cut], start=np.zeros(3, np.int64))) for cut in cuts]
    return tuple(sorted(rows, key=lambda row: (row.cost, row.window_px)))


def _row(cut: Cut, counts: NDArray[np.int64]) -> HaloRow:
    window_px, halo_px = cut
    pixels, changed, flips = (int(count) for count in counts)
    return HaloRow(
        window_px=window_px,
        halo_px=halo_px,
        cost=round((window_px / (window_px - 2 * halo_px)) ** 2, 3),
        u8_changed=round(changed / max(pixels, 1), 6),
        flips_per_million=round(flips / max(pixels, 1) * 1e6, 2),
    )


def _cuts(backend: Backend, images: Sequence[Image]) -> list[Cut]:
    """List the ways of cutting that fit the stride and one of the images; the card's own comes first."""
    card = backend.card
    wanted = dict.fromkeys([(card.window_px, card.halo_px), *_CUTS])
    return [
        cut
        for cut in wanted
        if not cut[0] % card.stride
        and not cut[1] % card.stride
        and any(_fits(image, cut) for image in images)
    ]


def _fits(image: Image, cut: Cut) -> bool:
    """Tell whether a seam, and half a core on either side of it, lies inside."""
    core_px = cut[0] - 2 * cut[1]
    return bool(min(image.valid.shape) > max(cut[0], cut[1] + core_px + core_px // 2))


def _predict_tiled(backend: Backend, pixels: NDArray[np.generic], cut: Cut) -> NDArray[np.uint8]:
    """Predict (bands, rows, cols) as `predict` does, window by window; gives stored values.

    Returns:
        (rows, cols) times the model's scale.
    """
    (height, width), scale = pixels.shape[1:], backend.card.scale
    core_px, halo_px = cut[0] - 2 * cut[1], cut[1]
    plan = WindowPlan(
        width=width, height=height, core_width_px=core_px, core_height_px=core_px, halo_px=halo_px
    )
    cutting = Cutting(plan=plan, ramp_px=ramp_width(halo_px), threshold=backend.card.threshold, scale=scale)

    def run(planned: PlannedWindow) -> tuple[Window, NDArray[np.uint16]]:
        placed = cutting.share(planned)
        image = np.ascontiguousarray(pixels[:, *_slices(planned.read)])[None]
        weights = placed.down[:, None] * placed.across
        return placed.window, backend.contributions(image, placed.cut, weights)[0]

    sums = np.zeros((scale * height, scale * width), np.uint16)
    for window, summands in prefetch(run, plan, workers=backend.lanes, ahead=2 * backend.lanes):
        accumulate(sums[_slices(window)], summands)
    return finish(sums)


def _differences(
    whole: NDArray[np.uint8],
    tiled: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    cut: Cut,
    card: ModelCard,
) -> NDArray[np.int64]:
    """Count predicted pixels, changed ones and flipped ones.

    Counted are stretches of one core's length around each border of cores: as many seams per pixel as
    in an endless raster.
    """
    core_px = card.scale * (cut[0] - 2 * cut[1])
    first = card.scale * cut[1] + core_px // 2
    rows, cols = (slice(first, first + (side - first) // core_px * core_px) for side in whole.shape)
    one, other, counted = whole[rows, cols], tiled[rows, cols], enlarge(valid, card.scale)[rows, cols]
    step = math.ceil(card.threshold * PROBABILITY_STEPS - 1e-9)
    flips = counted & ((one >= step) != (other >= step))
    sums = [np.count_nonzero(counted), np.count_nonzero(counted & (one != other)), np.count_nonzero(flips)]
    return np.asarray(sums, np.int64)


def _align(image: Image, stride: int) -> Image:
    rows, cols = (side // stride * stride for side in image.valid.shape)
    return Image(pixels=image.pixels[:, :rows, :cols], valid=image.valid[:rows, :cols])


def _slices(window: Window) -> tuple[slice, slice]:
    return (
        slice(window.row_off, window.row_off + window.height),
        slice(window.col_off, window.col_off + window.width),
    )


def _middle(root: Path, pair: Source, data: Data, side_px: int) -> Window:
    with closing(open_image(root, pair, data)[0]) as reader:
        grid = reader.grid
    width, height = min(grid.width, side_px), min(grid.height, side_px)
    return Window(
        col_off=(grid.width - width) // 2, row_off=(grid.height - height) // 2, width=width, height=height
    )
