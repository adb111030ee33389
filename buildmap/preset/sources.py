"""What a model sees, what it learns from, and how rasters are cut for it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """What the model sees."""

    gsd_min_m: float
    """Finest ground sample distance the model works at, metres; finer rasters are averaged to it."""
    gsd_max_m: float
    """Coarsest ground sample distance, metres; coarser rasters are interpolated to it."""
    bands: tuple[int, ...]
    """1-based band numbers, in the order the model expects."""
    mean: tuple[float, ...]
    """Per band, subtracted after values are scaled to 0..1."""
    std: tuple[float, ...]
    """Per band, divided by."""
    dtype: Literal["uint8", "uint16", "int16", "float32"] = "uint8"
    """Type of the rasters the model learned from: integers are scaled by their full range."""

    def __post_init__(self) -> None:
        if not 0 < self.gsd_min_m <= self.gsd_max_m:
            raise ValueError(f"gsd_min_m {self.gsd_min_m} is not in 0..gsd_max_m {self.gsd_max_m}")
        if not len(self.bands) == len(self.mean) == len(self.std) > 0:
            raise ValueError("bands, mean and std differ in length")
        if min(self.bands) < 1:
            raise ValueError(f"bands {list(self.bands)} are not counted from 1")
        if not min(self.std) > 0:
            raise ValueError(f"std {list(self.std)} is not positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class Predict:
    """How rasters are cut for this model; written into the model file."""

    window_px: int
    """Side of the square the network sees: core and halo."""
    halo_px: int
    """Context on every side of the core; a multiple of the network's stride."""
    threshold: float
    """Probability from which a pixel is a building."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold {self.threshold} is not a probability between 0 and 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One raster with annotations, in paths relative to the data folder."""

    image: str
    """Raster file, or a pattern such as 'train/*.tif'."""
    annotations: str
    """Vector layer of footprints, mask raster (non-zero = building) on the same ground, or COCO JSON; a
    pattern where `image` is one, matched by file name."""
    use: Literal["train", "validation", "test", "split"]
    """What its ground is for; 'split' shares out blocks of ground by `validation_share` and `test_share`."""
    window_px: tuple[int, ...] | None = None
    """Part of the raster that is annotated: col_off, row_off, width, height; absent means all."""
    bands: tuple[int, ...] | None = None
    """1-based bands of this raster, in the order the model expects; absent means those of `[data]`."""
    value_range: tuple[float, ...] | None = None
    """Lowest and highest value of this raster, for one whose type is not that of `[data]`."""
    nodata: float | None = None
    """Value that, in all bands at once, stands for no data, for a raster that does not say so itself."""

    def __post_init__(self) -> None:
        if self.window_px is not None and len(self.window_px) != 4:
            raise ValueError("window_px is not col_off, row_off, width, height")
        if self.value_range is not None and not (
            len(self.value_range) == 2 and self.value_range[0] < self.value_range[1]
        ):
            raise ValueError("value_range is not lowest, highest")
