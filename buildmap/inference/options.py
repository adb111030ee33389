"""What a user can ask of a prediction: what to predict, and how to go about it."""

from dataclasses import dataclass, field
from pathlib import Path

from buildmap.inference.backend import builtin_model
from buildmap.inference.devices import BackendOptions
from buildmap.inference.finding import Way
from buildmap.vector.outlining import Outlining


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What to predict."""

    models: tuple[Path, ...] = field(default_factory=lambda: (builtin_model(),))
    """Model files, whose probabilities are averaged; the built-in one when not given."""
    device: str = "auto"
    """'auto', 'cpu', 'cuda', 'tensorrt', one by its number, or several: 'cuda:0,1'."""
    backend: BackendOptions = field(default_factory=BackendOptions)
    """Precision, symmetries to average over, memory."""
    bands: tuple[int, ...] | None = None
    """1-based bands to show the model, in its order; the model's own when None."""
    resample: bool = True
    """Work at a GSD the model knows; False keeps the raster's pixels."""
    bbox: tuple[float, float, float, float] | None = None
    """Left, bottom, right, top in the raster's CRS: only this part, which is all the output covers."""
    aoi: Path | None = None
    """Layer of polygons: nothing outside is predicted, and the output covers only their box."""
    window_px: int | None = None
    """Side of a window; the model's own when None."""
    halo_px: int | None = None
    """Context on every side of a core; the model's own when None."""
    rows_per_strip: int = 1
    """Rows of cores in one strip, the unit of resuming and sharing; the result is the same for any."""
    skip_errors: bool = False
    """Leave gaps where the raster cannot be read, instead of stopping."""
    threshold: float | None = None
    """Probability from which a pixel belongs to a footprint; the model's own when None."""
    outlining: Outlining = field(default_factory=Outlining)
    """How else to draw footprints, where the output is a layer; of this, only the smallest area is for models
    that find buildings one by one."""
    grouping: Way | None = None
    """In which order such a model's keypoints are joined: 'along' the outline of the mask when None."""
    min_score: float | None = None
    """Least score of a building that such a model finds, 0..1; 0.5 when None."""
    valid: bool = False
    """Add a layer `valid` to a GeoPackage: the ground on which the raster has data, inside the area."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How to go about it; the result does not depend on any of this."""

    overwrite: bool = False
    """Replace an existing output."""
    restart: bool = False
    """Drop what an unfinished run has done."""
    wait_s: float = 0.0
    """Seconds to wait for another run that writes the same output."""
    workers: int = 1
    """Processes; one predicts in this process."""
    dask: str | None = None
    """Address of a dask scheduler, or 'local'."""
    shard: tuple[int, int] | None = None
    """(i, n): do the i-th of n shares, 1-based, and publish nothing."""
    only_finish: bool = False
    """Predict nothing: put together what shards have done."""
    readers: int | None = None
    """Threads that read, in each process; chosen by the device when None."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"{self.workers} workers")
        if self.shard is not None and not 1 <= self.shard[0] <= self.shard[1]:
            raise ValueError(f"there is no shard {self.shard[0]} of {self.shard[1]}")
