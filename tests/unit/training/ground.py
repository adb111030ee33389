"""Rasters with bright buildings, maps that are wrong in known places, and a network that is right."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry
from torch import Tensor, nn

from buildmap.preset import Preset, Source, find_preset
from tests.scenes import ORIGIN, UTM, houses_image, write_layer, write_raster

Rectangle = tuple[int, int, int, int]
"""Row, column, rows, columns."""

LITE = find_preset("lite")
PRESET: Preset = replace(
    LITE,
    data=replace(LITE.data, gsd_min_m=0.5, gsd_max_m=0.5),
    training=replace(LITE.training, chip_px=32),
    predict=replace(LITE.predict, window_px=64, halo_px=16),
)


class Bright(nn.Module):
    """Calls what is bright a building, with a probability of 0.98 for the brightest."""

    stride = 8

    def forward(self, image: Tensor) -> Tensor:
        return (image.mean(dim=1, keepdim=True) * 8).clamp(-4, 4)


def mask_of(buildings: list[Rectangle], shape: tuple[int, int]) -> NDArray[np.uint8]:
    mask = np.zeros(shape, np.uint8)
    for row, col, rows, cols in buildings:
        mask[row : row + rows, col : col + cols] = 1
    return mask


def polygon_of(building: Rectangle, transform: Affine = ORIGIN) -> BaseGeometry:
    row, col, rows, cols = building
    (left, top), (right, bottom) = transform @ (col, row), transform @ (col + cols, row + rows)
    return box(min(left, right), min(top, bottom), max(left, right), max(top, bottom))


def write_scene(
    root: Path,
    name: str,
    buildings: list[Rectangle],
    mapped: list[Rectangle],
    *,
    shape: tuple[int, int],
    as_mask: bool,
    crs: str | None = UTM,
    transform: Affine = ORIGIN,
) -> Source:
    """Write an image with buildings, and the map of it."""
    rng = np.random.default_rng(0)
    image = houses_image(mask_of(buildings, shape), rng)
    write_raster(root / f"{name}.tif", image, crs=crs, transform=transform)
    if as_mask:
        write_raster(root / f"{name}_map.tif", mask_of(mapped, shape), crs=crs, transform=transform)
        return Source(image=f"{name}.tif", annotations=f"{name}_map.tif", use="train")
    write_layer(root / f"{name}_map.gpkg", [polygon_of(one, transform) for one in mapped], crs=crs)
    return Source(image=f"{name}.tif", annotations=f"{name}_map.gpkg", use="train")
