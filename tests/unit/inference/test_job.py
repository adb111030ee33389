"""A job travels: pickled, it does the same elsewhere."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from buildmap.execution.progress import Silent
from buildmap.inference.job import StripTask, gap
from buildmap.inference.options import Prediction, Running
from buildmap.inference.prepare import prepare
from buildmap.inference.segment import Segmenter
from buildmap.raster.blend import INVALID
from tests.networks import make_card, write_onnx
from tests.scenes import write_raster


@pytest.mark.parametrize("scale", [1, 4])
def test_a_pickled_task_gives_the_strip_that_is_predicted_here(tmp_path: Path, scale: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 200, 300), np.uint8)
    scene = write_raster(tmp_path / "in.tif", pixels)
    model = write_onnx(tmp_path / "m.onnx", make_card(scale=scale), kernel_px=5)
    work, backend = prepare((str(scene),), Prediction(models=(model,)), Running(), is_layer=False)
    with work.reader:
        segmenter = Segmenter(work.reader, backend, work.job.cutting)
        ((_, expected),) = segmenter.strips([1], Silent())
    task = pickle.loads(pickle.dumps(StripTask(job=work.job)))
    got, measured = task(1)
    for name in ("top", "rows", "bottom"):
        np.testing.assert_array_equal(getattr(got.part, name), getattr(expected.part, name))
    assert measured.pixels > 0
    assert got.seams == expected.seams
    blank = gap(work.job.cutting, 1)
    for name in ("top", "rows", "bottom"):
        assert getattr(blank.part, name).shape == getattr(expected.part, name).shape
    assert (blank.part.top == INVALID).all() and (blank.part.rows == 255).all()
    assert len(blank.gaps) == blank.windows == expected.windows
    assert sum(core.width for core in blank.gaps) == blank.part.rows.shape[1] == 300 * scale
    assert {core.row_off for core in blank.gaps} == {80 * scale}
