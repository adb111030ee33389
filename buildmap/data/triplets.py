"""Triplets to learn maps from: an image, a finer map picture of the same ground, and a finer mask.

The picture is what a generator learns to draw, the mask what a segmenter learns to find ("Map-Guided
Cross-Training for Building Detection", Section II-B: 32, 128 and 128 pixels on a side). All three are
windows of one grid at sizes of their own, so their edges are the same to rounding, and none lies on disk.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from buildmap.data.map_layers import read_map
from buildmap.data.map_picture import MapPicture
from buildmap.errors import InputError
from buildmap.preset.maps import OSM_STYLE, MapLayer, MapStyle
from buildmap.raster.grid import Bounds, Grid
from buildmap.raster.windows import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Triplets:
    """What chips hold beside their image."""

    scale: int = 1
    """Pixels of mask and picture per pixel of the image, along one axis."""
    maps: tuple[MapLayer, ...] = ()
    """What pictures are drawn from; none means that chips have no pictures."""
    style: MapStyle = OSM_STYLE
    """What pictures look like."""
    test_share: float = 0.0
    """Share of the ground of sources with use = "split" that is neither learned from nor validated on."""

    def __post_init__(self) -> None:
        if self.scale < 1:
            raise ValueError(f"scale {self.scale} is not positive")
        if not 0 <= self.test_share < 1:
            raise ValueError(f"test_share {self.test_share} is not within 0..1")


PAIRS = Triplets()
"""Image and mask of one size, and no picture."""


def open_picture(
    root: Path, triplets: Triplets, *, name: str, grid: Grid, ground: Sequence[Window]
) -> MapPicture | None:
    """Read the map of one raster's ground; None where chips have no pictures.

    Args:
        root: Folder that the layers' paths are relative to.
        triplets: Says what is drawn.
        name: Of the raster, for messages.
        grid: Its working grid.
        ground: Windows of it that will be drawn.

    Raises:
        MissingInput: If there is no such file of a map.
        InputError: If one cannot be used, or the raster has no place on the Earth.
    """
    if not triplets.maps or not ground:
        return None
    size = grid.pixel_size_m()
    if size is None:
        raise InputError(
            f"{name} has no CRS or no transform, so a map cannot be laid on it",
            hint="gdal_translate -a_srs EPSG:CODE -a_ullr LEFT TOP RIGHT BOTTOM RASTER placed.tif",
        )
    pixel_m = (size[0] * size[1]) ** 0.5 / triplets.scale
    widest_m = max(rule.width(pixel_m) for rule in triplets.style.rules)
    bounds = _bounds(grid, ground, margin_px=int(widest_m / min(size)) + 1)
    features = read_map(root, triplets.maps, triplets.style, crs=grid.crs, bounds=bounds)
    return MapPicture(features, triplets.style, grid, scale=triplets.scale)


def check_shown(root: Path, triplets: Triplets, pictures: Sequence[MapPicture | None]) -> None:
    """Refuse maps of other ground.

    Raises:
        InputError: If there are maps, and no picture has anything to show.
    """
    if triplets.maps and not any(picture is not None and picture.pieces for picture in pictures):
        listed = ", ".join(layer.path for layer in triplets.maps)
        raise InputError(f"{root}: nothing of the maps {listed} lies on the ground of any raster")


def _bounds(grid: Grid, windows: Sequence[Window], *, margin_px: int) -> Bounds:
    """Give the smallest box around windows of a grid and some pixels more, in its CRS."""
    left = min(window.col_off for window in windows) - margin_px
    top = min(window.row_off for window in windows) - margin_px
    right = max(window.col_off + window.width for window in windows) + margin_px
    bottom = max(window.row_off + window.height for window in windows) + margin_px
    return grid.part(Window(col_off=left, row_off=top, width=right - left, height=bottom - top)).bounds
