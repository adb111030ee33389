"""What an evaluation found: the object that `evaluate --json` prints, and every report is drawn from.

None says that something was not measured, NaN that it is undefined, such as the precision of nothing.
"""

from dataclasses import dataclass

from buildmap.metrics.average_precision import AveragePrecision
from buildmap.metrics.boundary import BoundaryScores
from buildmap.metrics.calibration import Calibration
from buildmap.metrics.cells import CellErrors
from buildmap.metrics.confusion import Confusion, PixelScores
from buildmap.metrics.histogram import Sweep
from buildmap.metrics.instances import Instances, ObjectScores
from buildmap.metrics.outlines import OutlineScores
from buildmap.metrics.segmentation import Segmentation
from buildmap.metrics.similarity import Similarity
from buildmap.metrics.statistics import Interval, PairedTest
from buildmap.metrics.topology import Topology

SCHEMA_VERSION = 2
"""Of `EvaluateSummary`; a field that changes its meaning changes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """How the pixels of a prediction lie on the compared grid."""

    same_grid: bool
    """False where the prediction was resampled."""
    offset_px: tuple[float, float] | None
    """(x, y) from the compared grid's pixel corners to the prediction's, in pixels of the compared grid;
    None where the two have different CRSs, or are turned against each other."""
    gsd_ratio: float | None
    """GSD of the prediction by that of the compared grid; None where one of them is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Every measure of one comparison, or of the sum of many; None where it was not taken."""

    confusion: Confusion
    """Pixels."""
    pixels: PixelScores
    """Scores of these pixels taken together."""
    calibration: Calibration | None
    """Whether the probabilities are shares; None for masks and layers."""
    sweep: Sweep | None
    """Scores over all thresholds; None for masks and layers."""
    boundary: BoundaryScores | None
    """Outlines as pixels."""
    similarity: Similarity | None
    """Structural similarity of the two masks."""
    instances: Instances | None
    """Buildings found, invented and missed."""
    objects: ObjectScores | None
    """Scores of these buildings, and of stricter matches."""
    average_precision: AveragePrecision | None
    """COCO's scores."""
    segmentation: Segmentation | None
    """Buildings run together or torn apart."""
    cells: CellErrors | None
    """Number and area of buildings per cell of ground."""
    outlines: OutlineScores | None
    """Outlines of matched buildings as polygons."""
    topology: Topology | None
    """Faults of the predicted layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSummary:
    """How good one prediction is."""

    prediction: str
    """File."""
    truth: str
    """File."""
    gsd_m: float | None
    """Metres per pixel of the compared grid on the ground; None without a CRS."""
    crs: str | None
    """Of the compared grid; None where it has none."""
    alignment: Alignment | None
    """How the prediction lies on that grid; None for a layer."""
    scores: Scores
    """Of this pair alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupScores:
    """What is measured of a part; None where it cannot be."""

    confusion: Confusion | None
    """Pixels; None for a part of the buildings."""
    pixels: PixelScores | None
    """Scores of these pixels taken together; likewise."""
    instances: Instances | None
    """Buildings found, invented and missed; None where they were not matched."""
    objects: ObjectScores | None
    """Scores of these buildings, and of stricter matches; likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The part of an evaluation that has something in common."""

    kind: str
    """`gsd`, `size` or `region`, or the column of the table of pairs."""
    name: str
    """Of the bin, class, region or value."""
    pairs: int
    """Pairs of files with a share in it."""
    scores: GroupScores
    """Of the group taken together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateSummary:
    """How good predictions are: altogether, one by one and by group."""

    schema_version: int
    """`SCHEMA_VERSION`."""
    threshold: float
    """Probability from which a pixel was taken for a building."""
    iou_min: float
    """Intersection over union from which two footprints were taken for the same building."""
    empty_rule: str
    """What a share of nothing in nothing is worth: an `EmptyRule`."""
    pairs: tuple[PairSummary, ...]
    """One by one."""
    total: Scores
    """Of all pairs taken together: micro scores."""
    macro: dict[str, PixelScores]
    """Mean over the pairs of the scores of each, by `EmptyRule`."""
    groups: tuple[Group, ...]
    """Parts of the whole, those of a kind one after the other."""
    intervals: dict[str, Interval]
    """95 % bootstrap intervals of `total`, by column of the table: `iou`, `object_f1` and so on."""
    paired: dict[str, PairedTest] | None
    """This prediction less the other, by column of the table; None without another."""
    other: str | None
    """The other prediction: a file or folder."""
    buildings: int
    """True buildings on the ground that counts."""
    seconds: float
    """Wall time."""
