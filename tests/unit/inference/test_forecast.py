"""A forecast counts what would be predicted, and writes nothing."""

from pathlib import Path

import numpy as np
import pytest
from shapely import box

from buildmap.inference.forecast import forecast
from buildmap.inference.options import Prediction, Running
from buildmap.inference.prepare import prepare
from tests.networks import make_card, write_onnx
from tests.scenes import write_layer, write_raster


def test_windows_that_nobody_wants_are_counted_as_skipped(tmp_path: Path) -> None:
    scene = write_raster(tmp_path / "in.tif", np.full((3, 256, 640), 9, np.uint8))
    model = write_onnx(tmp_path / "m.onnx")
    corners = [box(400_000, 4_999_990, 400_010, 5_000_000), box(400_310, 4_999_872, 400_320, 4_999_880)]
    layer = write_layer(tmp_path / "aoi.gpkg", corners)
    prediction = Prediction(models=(model,), aoi=layer)
    work, backend = prepare((str(scene),), prediction, Running(), is_layer=False)
    before = sorted(tmp_path.iterdir())
    with work.reader:
        found = forecast(work, backend, list(range(3)))
        rest = forecast(work, backend, [1])
    assert (found.windows, found.windows_skipped) == (27, 25)
    assert (rest.windows, rest.windows_skipped, rest.seconds) == (9, 9, 0)
    assert found.seconds >= 0
    assert found.memory_mb > 50
    assert found.disk_mb == 0
    assert sorted(tmp_path.iterdir()) == before


def test_disk_and_memory_grow_with_the_square_of_the_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildmap.inference.forecast.resident_bytes", lambda: 10**9)
    monkeypatch.setattr("buildmap.inference.forecast.growth_bytes", lambda _: 0)
    scene = write_raster(tmp_path / "in.tif", np.full((3, 1000, 4000), 9, np.uint8))
    found = []
    for scale in (1, 8):
        model = write_onnx(tmp_path / f"{scale}.onnx", make_card(scale=scale))
        work, backend = prepare((str(scene),), Prediction(models=(model,)), Running(), is_layer=False)
        with work.reader:
            found.append(forecast(work, backend, [0]))
    assert found[0].windows == found[1].windows == 62
    pixels = 1000 * 4000 / 1e6
    assert found[0].disk_mb == round(pixels * (4 / 3 + 1.2))
    assert found[1].disk_mb == round(64 * pixels * (4 / 3 + 1.2))
    strip_mb = 4 * 4000 * 64 / 1e6
    assert found[1].memory_mb - found[0].memory_mb >= 63 * strip_mb - 1
