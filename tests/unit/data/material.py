"""Presets and data folders small enough to work out by hand."""

from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from PIL import Image as Picture
from shapely import box
from shapely.geometry import Polygon

from buildmap.preset import Augment, Data, Loss, Model, Predict, Preset, Sampling, Source, Training
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN, houses_image, write_layer, write_raster

STILL = Augment(
    flip=0,
    half_turn=0,
    quarter_turns=False,
    gsd="random",
    gsd_jitter=0.0,
    brightness=0.0,
    contrast=0.0,
    color=0.0,
)
LIVELY = Augment(
    flip=0.5,
    half_turn=0,
    quarter_turns=True,
    gsd="random",
    gsd_jitter=0.1,
    brightness=0.1,
    contrast=0.2,
    color=0.1,
)
ELSEWHERE = ORIGIN @ Affine.translation(10_000, 0)
"""Of a raster that shares no ground with one at `ORIGIN`."""
PLAIN = Data(gsd_min_m=0.4, gsd_max_m=0.5, bands=(1, 2, 3), mean=(0.0,) * 3, std=(1.0,) * 3)


def make_preset(
    *sources: Source,
    data: Data = PLAIN,
    augment: Augment = STILL,
    chip_px: int = 32,
    batch_size: int = 4,
    validation_share: float = 0.25,
    seed: int = 0,
    sampling: Sampling | None = None,
    validation_chip_px: int | None = None,
) -> Preset:
    """Give a preset in which only what matters to data can be chosen."""
    return Preset(
        title="test",
        data=data,
        model=Model(name="lite"),
        loss=Loss(bce=1.0, dice=0.0),
        augment=augment,
        training=Training(
            chip_px=chip_px,
            batch_size=batch_size,
            steps_per_epoch=1,
            epochs=1,
            learning_rate=0.1,
            power=1.0,
            validation_share=validation_share,
            seed=seed,
            validation_chip_px=validation_chip_px,
        ),
        sampling=sampling or Sampling(),
        predict=Predict(window_px=64, halo_px=8, threshold=0.5),
        sources=sources,
    )


def houses(rng: np.random.Generator, height: int, width: int, count: int = 30) -> list[Window]:
    """Draw rectangles of whole pixels inside an image."""
    found = []
    for _ in range(count):
        rows, cols = (int(side) for side in rng.integers(4, 15, size=2))
        row, col = int(rng.integers(height - rows)), int(rng.integers(width - cols))
        found.append(Window(col_off=col, row_off=row, width=cols, height=rows))
    return found


def to_mask(windows: list[Window], height: int, width: int) -> NDArray[np.uint8]:
    """Paint rectangles as 1 on 0."""
    mask = np.zeros((height, width), np.uint8)
    for w in windows:
        mask[w.row_off : w.row_off + w.height, w.col_off : w.col_off + w.width] = 1
    return mask


def to_polygons(windows: list[Window], transform: Affine = ORIGIN) -> list[Polygon]:
    """Give rectangles of pixels as polygons in coordinates."""
    return [
        box(
            *(transform @ (w.col_off, w.row_off + w.height)),
            *(transform @ (w.col_off + w.width, w.row_off)),
        )
        for w in windows
    ]


def write_picture(path: Path, pixels: NDArray[np.uint8]) -> Path:
    """Write (bands, rows, cols) or (rows, cols) without any georeferencing."""
    Picture.fromarray(pixels if pixels.ndim == 2 else np.moveaxis(pixels, 0, 2)).save(path)
    return path


def write_pair(
    root: Path,
    stem: str,
    *,
    seed: int = 0,
    height: int = 160,
    width: int = 200,
    transform: Affine = ORIGIN,
) -> NDArray[np.uint8]:
    """Write a raster and its layer of footprints into `images` and `labels`; give the true mask."""
    rng = np.random.default_rng(seed)
    windows = houses(rng, height, width)
    mask = to_mask(windows, height, width)
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    write_raster(root / "images" / f"{stem}.tif", houses_image(mask, rng), transform=transform)
    write_layer(root / "labels" / f"{stem}.gpkg", list(to_polygons(windows, transform)))
    return mask
