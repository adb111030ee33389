"""What a network is shown of a window: whole strides, no invalid number, and nothing where nothing counts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from buildmap.errors import StorageError
from buildmap.inference.window_reader import WindowReader
from buildmap.raster.reader import Image, RasterReader
from buildmap.raster.windows import Window
from tests.networks import make_card
from tests.scenes import write_raster
from tests.unit.inference.test_segment import cutting, noise

CARD = make_card()


def test_a_window_at_the_edge_is_continued_to_whole_strides(tmp_path: Path) -> None:
    cut = cutting(150, 70)
    *_, last = cut.plan
    with RasterReader(noise(tmp_path, 70, 150)) as reader:
        seen = WindowReader(reader, CARD, cut, None).read(last, cut.share(last))
        stored = reader.read(last.read).pixels
    rows, cols = stored.shape[1:]
    assert seen is not None
    assert rows % CARD.stride and cols % CARD.stride
    assert seen.valid.shape == (rows, cols)
    assert [extent % CARD.stride for extent in seen.image.shape] == [3, 0, 0]
    assert np.array_equal(seen.image[:, :rows, :cols], stored)
    assert (seen.image[:, rows:, :cols] == stored[:, -1:]).all()
    assert (seen.image[:, :, cols:] == seen.image[:, :, cols - 1 : cols]).all()


def test_numbers_without_meaning_are_not_shown_and_a_core_of_them_is_no_window(tmp_path: Path) -> None:
    pixels = np.full((3, 64, 320), 200, np.uint8)
    pixels[:, :, :112] = 0
    pixels[:, :5, 180:190] = 0
    cut = cutting(320, 64)
    first, *others = cut.plan
    with RasterReader(write_raster(tmp_path / "a.tif", pixels, nodata=0)) as reader:
        windows = WindowReader(reader, CARD, cut, None)
        assert windows.read(first, cut.share(first)) is None
        for planned in others:
            seen = windows.read(planned, cut.share(planned))
            assert seen is not None
            assert (seen.image > 0).all()
            left = planned.read.col_off
            assert np.array_equal(seen.valid, (pixels[0] > 0)[:, left : left + seen.valid.shape[1]])


@pytest.mark.parametrize("failures", [1, 2])
def test_what_cannot_be_read_is_tried_once_more(tmp_path: Path, failures: int) -> None:
    cut = cutting(64, 64)
    (only,) = cut.plan
    calls = []

    class Failing(RasterReader):
        def read(self, window: Window, *, out_shape: tuple[int, int] | None = None) -> Image:
            calls.append(window)
            if len(calls) <= failures:
                raise StorageError("bad block")
            return super().read(window, out_shape=out_shape)

    with Failing(noise(tmp_path, 64, 64)) as reader:
        windows = WindowReader(reader, CARD, cut, None)
        if failures == 1:
            assert windows.read(only, cut.share(only)) is not None
        else:
            with pytest.raises(StorageError, match="bad block"):
                windows.read(only, cut.share(only))
    assert calls == [only.read] * 2


def test_only_what_lies_under_a_share_decides_whether_a_window_is_needed(tmp_path: Path) -> None:
    path, cut = noise(tmp_path, 64, 320), cutting(320, 64, scale=4)
    asked = []

    class Knowing(RasterReader):
        def has_data(self, window: Window) -> bool:
            asked.append(window)
            return False

    with Knowing(path) as reader:
        windows = WindowReader(reader, replace(CARD, scale=4), cut, None)
        assert not any(windows.needs(cut.share(planned)) for planned in cut.plan)
    coarse = [cutting(320, 64).share(planned).window for planned in cut.plan]
    assert asked == coarse
