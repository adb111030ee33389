"""Windows through a network that finds buildings: each strip has what belongs to it, in one order."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from shapely import box

from buildmap.contract import ModelCard
from buildmap.errors import StorageError
from buildmap.execution.progress import Silent
from buildmap.inference import detect
from buildmap.inference.cutting import Cutting
from buildmap.inference.detect import Detector
from buildmap.inference.finding import Finding, FoundStrip
from buildmap.inference.instance_backend import Found
from buildmap.inference.object_files import load
from buildmap.raster.area import Area
from buildmap.raster.reader import Image, RasterReader
from buildmap.raster.windows import Window, plan_evenly
from buildmap.vector.instance_rules import Candidates
from tests.scenes import ORIGIN, write_raster
from tests.unit.inference.instance_models import instance_card

FINDING = Finding(min_score=0.5, threshold=0.5, grouping="along", margin_px=8)
ROOFS = [(10, 12, 30, 24), (90, 60, 104, 70), (150, 140, 166, 150), (220, 20, 250, 44), (60, 170, 80, 190)]


@dataclass
class Bright:
    """Finds all bright pixels as one building; asserts that windows are aligned."""

    card: ModelCard = field(default_factory=instance_card)
    device: str = "cpu"
    lanes: int = 2
    batch: int = 1
    calls: int = 0

    def detect(self, image: NDArray[np.generic]) -> Found:
        self.calls += 1
        assert image.shape[1] % self.card.stride == image.shape[2] % self.card.stride == 0
        row, col = np.nonzero(image[0] > 127)
        edges = [col.min(), row.min(), col.max() + 1, row.max() + 1] if len(row) else []
        boxes = np.array([edges] if edges else np.empty((0, 4)), np.float64)
        return Found(
            boxes=boxes,
            scores=np.full(len(boxes), 0.9),
            masks=np.ones((len(boxes), 7, 7), np.float32),
            heatmaps=None,
        )


def cutting(width: int, height: int, *, rows_per_strip: int = 1, skip_errors: bool = False) -> Cutting:
    plan = plan_evenly(
        width=width, height=height, window_px=128, halo_px=32, stride=16, rows_per_strip=rows_per_strip
    )
    return Cutting(plan=plan, ramp_px=0, threshold=0.5, skip_errors=skip_errors)


def scene(folder: Path, **options: object) -> Path:
    pixels = np.full((3, 200, 260), 20, np.uint8)
    for left, top, right, bottom in ROOFS:
        pixels[:, top:bottom, left:right] = 255
    return write_raster(folder / "in.tif", pixels, **options)  # type: ignore[arg-type]


def strips(
    path: Path, cut: Cutting, backend: Bright | None = None, **options: object
) -> list[tuple[int, FoundStrip]]:
    with RasterReader(path) as reader:
        detector = Detector(reader, backend or Bright(), cut, FINDING, **options)  # type: ignore[arg-type]
        return list(detector.strips(range(cut.plan.strips), Silent()))


def objects(folder: Path, strip: FoundStrip) -> Candidates:
    (folder / "strip.npz").write_bytes(strip.packed)
    return load(folder / "strip.npz")


def test_strips_hold_the_objects_of_their_windows(tmp_path: Path) -> None:
    found = strips(scene(tmp_path), cutting(260, 200))
    assert [index for index, _ in found] == [0, 1, 2]
    bounds = shapely.bounds(objects(tmp_path, found[0][1]).polygons)
    assert ROOFS[3] in [tuple(map(int, one)) for one in bounds]
    for _, strip in found:
        assert (strip.windows, strip.skipped, strip.gaps) == (4, 0, ())


def test_lanes_readers_and_strips_change_no_byte(tmp_path: Path) -> None:
    path = scene(tmp_path)
    expected = [strip.packed for _, strip in strips(path, cutting(260, 200))]
    for lanes, readers in [(1, 1), (3, 5)]:
        found = strips(path, cutting(260, 200), Bright(lanes=lanes), readers=readers)
        assert [strip.packed for _, strip in found] == expected
    ((_, whole),) = strips(path, cutting(260, 200, rows_per_strip=9))
    apart = [objects(tmp_path, strip) for _, strip in strips(path, cutting(260, 200))]
    polygons = [one.wkb for strip in apart for one in strip.polygons]
    assert [one.wkb for one in objects(tmp_path, whole).polygons] == polygons


def test_windows_that_nobody_wants_or_that_hold_nothing_are_not_predicted(tmp_path: Path) -> None:
    path, cut, backend = scene(tmp_path), cutting(260, 200), Bright()
    with RasterReader(path) as reader:
        grid = reader.grid
    corner = box(*(ORIGIN @ (0, 20)), *(ORIGIN @ (20, 0)))
    found = strips(path, cut, backend, area=Area(np.array([corner]), grid))
    assert (backend.calls, [strip.skipped for _, strip in found]) == (1, [3, 4, 4])
    pixels = np.zeros((3, 200, 260), np.uint8)
    pixels[:, 150:, 200:] = 9
    write_raster(tmp_path / "half.tif", pixels, nodata=0)
    found = strips(tmp_path / "half.tif", cut, backend := Bright())
    assert (backend.calls, [strip.skipped for _, strip in found]) == (2, [4, 4, 2])


class Broken:
    """A raster one of whose windows cannot be read, now and then or ever."""

    def __init__(self, reader: RasterReader, faults: int) -> None:
        self._reader, self._left = reader, faults

    def __getattr__(self, name: str) -> object:
        return getattr(self._reader, name)

    def read(self, window: Window) -> Image:
        if window.col_off == 0 and window.row_off == 0 and self._left:
            self._left -= 1
            raise StorageError("bad block")
        return self._reader.read(window)


@pytest.mark.parametrize(("faults", "gaps"), [(1, 0), (2, 1)])
def test_what_cannot_be_read_twice_is_a_gap_where_that_was_asked_for(
    tmp_path: Path, faults: int, gaps: int
) -> None:
    with RasterReader(scene(tmp_path)) as reader:
        broken = Broken(reader, faults)
        cut = cutting(260, 200, skip_errors=True)
        detector = Detector(broken, Bright(), cut, FINDING)  # type: ignore[arg-type]
        ((_, strip),) = detector.strips([0], Silent())
        assert (len(strip.gaps), strip.skipped, strip.windows) == (gaps, 0, 4)
        if gaps:
            assert strip.gaps[0] == cut.plan.strip(0)[0][0].core
            careful = Detector(Broken(reader, 2), Bright(), cutting(260, 200), FINDING)  # type: ignore[arg-type]
            with pytest.raises(StorageError, match="bad block"):
                list(careful.strips([0], Silent()))


def test_asked_to_stop_it_finishes_the_strip_if_that_takes_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cut = scene(tmp_path), cutting(260, 200)
    with RasterReader(path) as reader:
        detector = Detector(reader, Bright(), cut, FINDING)
        assert [index for index, _ in detector.strips([0, 1, 2], Silent(), lambda: True)] == [0]
        monkeypatch.setattr(detect, "PATIENCE_S", 0.0)
        assert list(detector.strips([0, 1, 2], Silent(), lambda: True)) == []
