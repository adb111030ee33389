"""A task of objects travels: pickled, it does the same elsewhere; and strips become one set of buildings."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely

from buildmap.inference.finding import FoundStrip
from buildmap.inference.object_files import load
from buildmap.inference.object_strips import ObjectTask, gap, merged
from buildmap.inference.options import Prediction, Running
from buildmap.inference.prepare import Work, prepare
from buildmap.vector.instance_rules import Candidates
from buildmap.vector.outlining import Outlining
from tests.scenes import write_raster
from tests.unit.inference.instance_models import write_instances

ROOFS = [(10, 12, 30, 24), (90, 60, 104, 70), (150, 140, 166, 150), (220, 20, 250, 44), (60, 170, 80, 190)]


def scene(folder: Path, **options: object) -> Path:
    pixels = np.full((3, 200, 260), 20, np.uint8)
    for left, top, right, bottom in ROOFS:
        pixels[:, top:bottom, left:right] = 255
    return write_raster(folder / "in.tif", pixels, **options)  # type: ignore[arg-type]


def objects(folder: Path, strip: FoundStrip) -> Candidates:
    (folder / "strip.npz").write_bytes(strip.packed)
    return load(folder / "strip.npz")


def prepared(folder: Path, **options: object) -> Work:
    write_instances(folder / "m.onnx")
    prediction = Prediction(models=(folder / "m.onnx",), outlining=Outlining(), **options)  # type: ignore[arg-type]
    work, backend = prepare((str(scene(folder)),), prediction, Running(), is_layer=True)
    assert backend.batch == 1
    return work


def test_a_pickled_task_gives_the_strip_that_is_found_here(tmp_path: Path) -> None:
    work = prepared(tmp_path)
    work.reader.close()
    task = pickle.loads(pickle.dumps(ObjectTask(job=work.job)))
    found, measured = task(1)
    again, _ = ObjectTask(job=work.job)(1)
    assert found.packed == again.packed
    assert measured.pixels > 0
    blank = gap(work.job.cutting, 1)
    assert blank.windows == len(blank.gaps) == found.windows
    assert {core.row_off for core in blank.gaps} == {work.job.cutting.plan.span(1)[0]}
    assert len(objects(tmp_path, blank)) == 0
    with pytest.raises(ValueError, match="not to find objects"):
        ObjectTask(job=replace(work.job, finding=None))(1)


def test_the_objects_of_all_strips_become_one_set(tmp_path: Path) -> None:
    work = prepared(tmp_path)
    work.reader.close()
    files = []
    for step in range(work.job.cutting.plan.strips):
        path = tmp_path / f"{step}.npz"
        path.write_bytes(ObjectTask(job=work.job)(step)[0].packed)
        files.append((step, path))
    seen = sum(len(load(path)) for _, path in files)
    bounds = [
        one for batch in merged(files, work.job) for one in shapely.bounds(batch.polygons).reshape(-1, 4)
    ]
    assert sorted(tuple(map(round, one)) for one in bounds) == sorted(ROOFS)
    assert seen > len(ROOFS)


def test_the_margin_is_no_wider_than_the_halo(tmp_path: Path) -> None:
    for halo_px, margin_px in ((0, 0), (16, 8)):
        work = prepared(tmp_path, halo_px=halo_px)
        work.reader.close()
        assert work.job.finding is not None and work.job.finding.margin_px == margin_px
        assert work.job.cutting.ramp_px == 0
