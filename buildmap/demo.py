"""The story of `buildmap demo`: a small real scene, mapped and scored on your machine."""

import math
import shlex
import shutil
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from buildmap.data.comparisons import find_comparisons
from buildmap.errors import OutputError
from buildmap.evaluate import evaluate
from buildmap.execution.progress import Progress, Silent
from buildmap.inference.options import Running
from buildmap.metrics.evaluation import Evaluation
from buildmap.predict import predict
from buildmap.publish import check_output, staged
from buildmap.raster.picture import draw_outlines
from buildmap.raster.reader import RasterReader
from buildmap.vector.reader import read_footprints
from buildmap.vectorize import Running as Drawing
from buildmap.vectorize import vectorize

SCENE, TRUTH, CREDITS = "scene.tif", "truth.gpkg", "CREDITS.md"
PROBABILITY, FOOTPRINTS, OVERLAY = "probability.tif", "footprints.gpkg", "overlay.png"
_MINE, _TRUE = (255, 210, 0), (0, 230, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSummary:
    """What was made, and how good it is."""

    folder: str
    """Holds the scene, its true buildings, the map and the picture."""
    footprints: int
    """Buildings found."""
    buildings: int
    """Buildings in the truth."""
    iou: float
    """Pixel IoU of the probability at the model's threshold against the truth."""
    object_f1: float
    """Share of buildings matched one to one at IoU 0.5, as F1."""
    overlay: str
    """The scene with the map in yellow over the truth in cyan."""
    seconds: float
    """Wall time."""


def demo(folder: Path, *, overwrite: bool = False, progress: Progress | None = None) -> DemoSummary:
    """Copy the packaged scene to a folder, predict, vectorize, evaluate and draw it.

    Raises:
        OutputError: If the folder cannot be made, or one of the files exists already and `overwrite` is
            False.
    """
    started = time.monotonic()
    progress = progress or Silent()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"folder {folder} cannot be made: {error.strerror}") from error
    names = (SCENE, TRUTH, CREDITS, PROBABILITY, FOOTPRINTS, OVERLAY)
    scene, truth, _, probability, found, overlay = (folder / name for name in names)
    for name in names:
        check_output(folder / name, overwrite=overwrite)
    for name in (SCENE, TRUTH, CREDITS):
        _copy(name, folder / name)
    predict(scene, probability, running=Running(overwrite=overwrite), progress=progress)
    outlined = vectorize(probability, found, running=Drawing(overwrite=overwrite), progress=progress)
    pixels, objects = (
        evaluate(find_comparisons(made, truth), Evaluation(measures=frozenset({"objects"})))
        for made in (probability, found)
    )
    _draw(scene, truth, found, overlay)
    scored = objects.total.objects
    return DemoSummary(
        folder=str(folder),
        footprints=outlined.footprints,
        buildings=objects.buildings,
        iou=pixels.total.pixels.iou,
        object_f1=math.nan if scored is None else scored.at_50.f1,
        overlay=str(overlay),
        seconds=round(time.monotonic() - started, 1),
    )


def commands(folder: Path) -> tuple[str, ...]:
    """Give what to type to do the same in a folder that `demo` has filled."""
    scene, truth, probability, found = (
        shlex.quote(str(folder / name)) for name in (SCENE, TRUTH, PROBABILITY, FOOTPRINTS)
    )
    return (
        f"buildmap predict {scene} {probability}",
        f"buildmap vectorize {probability} {found}",
        f"buildmap evaluate {found} {truth}",
    )


def _copy(name: str, target: Path) -> None:
    packaged = Path(str(resources.files("buildmap"))) / "scene" / name
    with staged(target, overwrite=True) as aside:
        shutil.copyfile(packaged, aside / name)


def _draw(scene: Path, truth: Path, found: Path, overlay: Path) -> None:
    with RasterReader(scene) as reader:
        crs = reader.grid.crs
    layers = [
        (read_footprints(path, crs=crs).polygons, color) for path, color in [(truth, _TRUE), (found, _MINE)]
    ]
    with staged(overlay, overwrite=True) as aside:
        draw_outlines(scene, layers, aside / overlay.name)
