from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from shapely.affinity import affine_transform
from shapely.geometry import MultiPolygon, box

from buildmap.errors import Stopped
from buildmap.execution.progress import Silent
from buildmap.inference.options import Prediction, Running
from buildmap.inference.prepare import Work, prepare
from buildmap.inference.seen import seen_ground
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
from buildmap.vector.valid_area import ValidArea
from tests.scenes import ORIGIN, UTM, write_layer, write_raster
from tests.unit.inference.instance_models import write_instances

HEIGHT, WIDTH = 300, 260


class Counting(Silent):
    """Counts how far the work got."""

    done = 0

    def start(self, task: str, total: int) -> None:
        self.task, self.total = task, total

    def advance(self, steps: int = 1) -> None:
        self.done += steps


def prepared(folder: Path, valid: NDArray[np.bool_], **options: object) -> Work:
    write_instances(folder / "m.onnx")
    raster = write_raster(
        folder / "in.tif", np.where(valid, 100, 0)[None].repeat(3, 0).astype(np.uint8), nodata=0
    )
    prediction = Prediction(models=(folder / "m.onnx",), **options)  # type: ignore[arg-type]
    work, _ = prepare((str(raster),), prediction, Running(), is_layer=True)
    return work


def seen(work: Work, gaps: list[Window]) -> list[bytes]:
    batches = seen_ground(work.job, work.reader, gaps, progress=Silent(), stop=lambda: False)
    return [polygon.wkb for polygon in np.concatenate(list(batches))]


def expected(valid: NDArray[np.bool_]) -> list[bytes]:
    """Trace the whole raster at once."""
    area = ValidArea(valid.shape[1], transform=ORIGIN)
    area.push(valid)
    area.finish()
    return [polygon.wkb for polygon in area.take()]


def patches() -> NDArray[np.bool_]:
    coarse = np.random.default_rng(0).random((HEIGHT // 20, WIDTH // 20)) < 0.6
    return np.kron(coarse, np.ones((20, 20))).astype(np.bool_)


def test_ground_is_what_is_valid_less_the_gaps(tmp_path: Path) -> None:
    valid = patches()
    work = prepared(tmp_path, valid)
    with work.reader:
        assert len(list(work.job.cutting.plan)) > 9
        assert seen(work, []) == expected(valid)
        gap = list(work.job.cutting.plan)[6].core
        valid[gap.row_off : gap.row_off + gap.height, gap.col_off : gap.col_off + gap.width] = False
        assert seen(work, [gap]) == expected(valid)


def test_what_is_known_without_reading_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = prepared(tmp_path, np.indices((HEIGHT, WIDTH))[0] < 280)
    cores = [planned.core for planned in work.job.cutting.plan]
    monkeypatch.setattr(RasterReader, "read", None)
    with work.reader:
        assert seen(work, cores) == []
        with monkeypatch.context() as patch:
            patch.setattr(RasterReader, "has_data", lambda *_: False)
            assert seen(work, []) == []
        monkeypatch.setattr(work.reader, "all_valid", True)
        assert seen(work, []) == expected(np.ones((HEIGHT, WIDTH), np.bool_))


def test_ground_ends_at_the_areas_comes_as_it_is_done_and_nothing_between_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [box(0, 0, 48, 48), box(208, 240, 256, 300)]  # in pixels, at opposite corners
    on_map = [affine_transform(one, ORIGIN.to_shapely()) for one in wanted]
    aoi = write_layer(tmp_path / "aoi.gpkg", on_map, crs=UTM)
    work = prepared(tmp_path, np.indices((HEIGHT, WIDTH))[0] < 272, aoi=aoi)
    windows, read, progress = [], RasterReader.read, Counting()

    def noted(reader: RasterReader, window: Window) -> object:
        windows.append(window)
        return read(reader, window)

    monkeypatch.setattr(RasterReader, "read", noted)
    monkeypatch.setattr("buildmap.vector.tracing.outlines._COLLECT_FROM_CORNERS", 0)
    with work.reader:
        batches = list(seen_ground(work.job, work.reader, [], progress=progress, stop=lambda: False))
    assert (progress.task, progress.total, progress.done) == ("valid", 4, 4)
    first, second = (ground for ground in batches if len(ground))
    assert first[0].equals(on_map[0])
    assert second[0].equals(box(*(ORIGIN @ (208, 272)), *(ORIGIN @ (256, 240))))
    cores = [planned.core for planned in work.job.cutting.plan]
    boxes = [
        box(one.col_off, one.row_off, one.col_off + one.width, one.row_off + one.height) for one in cores
    ]
    touched = [
        core for core, bounds in zip(cores, boxes, strict=True) if bounds.intersects(MultiPolygon(wanted))
    ]
    assert windows == touched
    assert len(touched) < len(cores) / 2


def test_it_stops_when_told(tmp_path: Path) -> None:
    work = prepared(tmp_path, patches())
    asked = iter([False] * 3 + [True])
    with work.reader, pytest.raises(Stopped, match="while valid ground was traced"):
        list(seen_ground(work.job, work.reader, [], progress=Silent(), stop=lambda: next(asked)))
