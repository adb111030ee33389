from pathlib import Path

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from shapely.geometry import box

from buildmap.errors import Stopped
from buildmap.inference.options import Prediction, Running
from buildmap.inference.prepare import Work, prepare
from buildmap.inference.seen import seen_ground
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
from buildmap.vector.valid_area import ValidArea
from tests.scenes import ORIGIN, UTM, write_layer, write_raster
from tests.unit.inference.instance_models import write_instances

HEIGHT, WIDTH = 300, 260


def prepared(folder: Path, valid: NDArray[np.bool_], **options: object) -> Work:
    write_instances(folder / "m.onnx")
    raster = write_raster(
        folder / "in.tif", np.where(valid, 100, 0)[None].repeat(3, 0).astype(np.uint8), nodata=0
    )
    prediction = Prediction(models=(folder / "m.onnx",), **options)  # type: ignore[arg-type]
    work, _ = prepare((str(raster),), prediction, Running(), is_layer=True)
    return work


def seen(work: Work, gaps: list[Window]) -> list[bytes]:
    batches = seen_ground(work.job, work.reader, gaps, stop=lambda: False)
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


def test_gaps_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = prepared(tmp_path, np.indices((HEIGHT, WIDTH))[0] < 280)
    cores = [planned.core for planned in work.job.cutting.plan]
    with work.reader:
        monkeypatch.setattr(RasterReader, "read", None)
        assert seen(work, cores) == []


def test_ground_ends_at_the_area(tmp_path: Path) -> None:
    wanted = box(*(ORIGIN @ (64, 224)), *(ORIGIN @ (192, 96)))
    aoi = write_layer(tmp_path / "aoi.gpkg", [wanted], crs=UTM)
    work = prepared(tmp_path, np.indices((HEIGHT, WIDTH))[0] < 192, aoi=aoi)
    with work.reader:
        (ground,) = seen(work, [])
    assert shapely.from_wkb(ground).equals(box(*(ORIGIN @ (64, 192)), *(ORIGIN @ (192, 96))))


def test_it_stops_when_told(tmp_path: Path) -> None:
    work = prepared(tmp_path, patches())
    asked = iter([False] * 3 + [True])
    with work.reader, pytest.raises(Stopped, match="while valid ground was traced"):
        list(seen_ground(work.job, work.reader, [], stop=lambda: next(asked)))
