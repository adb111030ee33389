"""Windows of a raster, and the finer pixels that are made of them."""

from pathlib import Path

import pytest

from buildmap.inference.cutting import block_cache_bytes
from buildmap.raster.reader import RasterReader
from tests.unit.inference.test_segment import cutting, noise


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_what_lies_under_a_share_is_the_same_ground_at_any_scale(scale: int) -> None:
    finer, coarse = cutting(320, 200, scale=scale), cutting(320, 200)
    assert finer.predicted_width == 320 * scale
    for planned in coarse.plan:
        placed = finer.share(planned)
        window, cut = finer.seen(placed)
        assert window == coarse.share(planned).window
        assert cut == coarse.share(planned).cut
        assert placed.window.width == scale * window.width
        assert placed.window.col_off == scale * window.col_off


def test_the_block_cache_holds_a_row_of_windows(tmp_path: Path) -> None:
    cut = cutting(320, 200)
    with RasterReader(noise(tmp_path, 200, 320)) as reader:
        held = block_cache_bytes(reader, cut)
    row = (cut.plan.core_height_px + 2 * cut.plan.halo_px) * 320 * 3
    assert row < held < row + 3 * 512 * 320 * 3
