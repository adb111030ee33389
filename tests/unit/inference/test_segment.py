"""Windows through a network: the same as the whole raster through it at once."""

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from shapely import box
from torch import from_numpy
from torch.nn.functional import interpolate

from buildmap.contract import ModelCard
from buildmap.errors import StorageError
from buildmap.execution.progress import Silent
from buildmap.inference.cutting import Cutting
from buildmap.inference.segment import Segmenter, StripResult
from buildmap.raster.area import Area
from buildmap.raster.blend import join, ramp_width, weigh
from buildmap.raster.reader import Image, RasterReader
from buildmap.raster.windows import Window, plan_evenly
from tests.networks import make_card
from tests.scenes import write_raster

SHAPES = [(300, 410), (64, 64), (5, 700), (130, 1)]


@dataclass
class Blur:
    """Sees `reach` pixels far, zero-padded like a network; asserts that windows are aligned."""

    card: ModelCard = field(default_factory=make_card)
    reach: int = 4
    device: str = "cpu"
    lanes: int = 2
    batch: int = 1
    calls: list[int] = field(default_factory=list)

    def probability(self, images: NDArray[np.generic]) -> NDArray[np.float32]:
        self.calls.append(len(images))
        assert images.shape[2] % self.card.stride == 0
        assert images.shape[3] % self.card.stride == 0
        size = 2 * self.reach + 1
        mean = images.astype(np.float32).mean(1) / 255
        return uniform_filter(mean, (0, size, size), mode="constant")

    def contributions(
        self, images: NDArray[np.generic], cut: tuple[slice, slice], weights: NDArray[np.float32]
    ) -> NDArray[np.uint16]:
        return weigh(self.probability(images)[:, *cut], weights)


@dataclass
class Finer(Blur):
    """The same, enlarged between pixels as a network's last layer does it."""

    card: ModelCard = field(default_factory=lambda: make_card(scale=4))

    def probability(self, images: NDArray[np.generic]) -> NDArray[np.float32]:
        blurred = from_numpy(super().probability(images)[:, None])
        finer: NDArray[np.float32] = interpolate(blurred, scale_factor=self.card.scale, mode="bilinear")
        return np.asarray(finer[:, 0])


def cutting(
    width: int,
    height: int,
    *,
    window_px: int = 128,
    halo_px: int = 32,
    rows_per_strip: int = 1,
    scale: int = 1,
) -> Cutting:
    plan = plan_evenly(
        width=width,
        height=height,
        window_px=window_px,
        halo_px=halo_px,
        stride=16,
        rows_per_strip=rows_per_strip,
    )
    return Cutting(plan=plan, ramp_px=ramp_width(halo_px), threshold=0.5, scale=scale)


def assembled(results: list[StripResult]) -> NDArray[np.uint8]:
    rows = [results[0].part.rows]
    for above, below in pairwise(results):
        rows += [join(above.part.bottom, below.part.top), below.part.rows]
    return np.concatenate(rows)


def predicted(
    path: Path, backend: Blur, cut: Cutting, **options: object
) -> tuple[NDArray[np.uint8], list[StripResult]]:
    with RasterReader(path) as reader:
        segmenter = Segmenter(reader, backend, cut, **options)  # type: ignore[arg-type]
        results = [result for _, result in segmenter.strips(range(cut.plan.strips), Silent())]
    return assembled(results), results


def noise(folder: Path, height: int, width: int, **options: object) -> Path:
    pixels = np.random.default_rng(0).integers(1, 255, (3, height, width), np.uint8)
    return write_raster(folder / "a.tif", pixels, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_windows_give_what_the_whole_raster_gives(tmp_path: Path, height: int, width: int) -> None:
    path = noise(tmp_path, height, width)
    cut = cutting(width, height)
    tiled, results = predicted(path, Blur(), cut)
    whole, alone = predicted(path, Blur(), cutting(width, height, window_px=1024))
    assert [result.windows for result in alone] == [1]
    assert sum(result.windows for result in results) == cut.plan.rows * cut.plan.columns
    assert tiled.shape == (height, width)
    assert np.abs(tiled.astype(int) - whole).max() <= 1


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_strips_batches_lanes_and_readers_change_no_byte(tmp_path: Path, height: int, width: int) -> None:
    path = noise(tmp_path, height, width)
    expected, _ = predicted(path, Blur(), cutting(width, height))
    for rows_per_strip, batch, lanes, readers in [(3, 1, 1, 1), (17, 4, 3, 3), (2, 3, 2, 5)]:
        cut = cutting(width, height, rows_per_strip=rows_per_strip)
        got, _ = predicted(path, Blur(batch=batch, lanes=lanes), cut, readers=readers)
        np.testing.assert_array_equal(got, expected)


def test_windows_of_one_shape_go_through_the_network_together(tmp_path: Path) -> None:
    backend = Blur(batch=4, lanes=1)
    predicted(noise(tmp_path, 64, 64 * 9), backend, cutting(64 * 9, 64))
    assert sorted(backend.calls) == [1, 1, 2, 4]  # the two at the ends have one halo less


def test_strips_come_in_any_order_and_one_by_one(tmp_path: Path) -> None:
    path, cut = noise(tmp_path, 300, 200), cutting(200, 300)
    expected, _ = predicted(path, Blur(), cut)
    with RasterReader(path) as reader:
        segmenter = Segmenter(reader, Blur(), cut)
        results = dict(segmenter.strips([3, 1], Silent()))
        for index in (0, 2):
            results |= dict(segmenter.strips([index], Silent()))
    assert list(results) == [3, 1, 0, 2]
    np.testing.assert_array_equal(assembled([results[index] for index in range(4)]), expected)


def test_invalid_pixels_are_nodata_and_empty_windows_never_reach_the_network(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (3, 320, 640), np.uint8)
    pixels[:, :, 200:] = 0
    path = write_raster(tmp_path / "a.tif", pixels, nodata=0)
    backend = Blur()
    rows, results = predicted(path, backend, cutting(640, 320))
    np.testing.assert_array_equal(rows == 255, (pixels == 0).all(axis=0))
    assert sum(result.windows for result in results) == 4 * 9
    assert len(backend.calls) == 4 * 3
    assert sum(result.skipped for result in results) == 4 * 6


def test_outside_the_area_nothing_is_predicted_and_inside_nothing_changes(tmp_path: Path) -> None:
    path = noise(tmp_path, 320, 640)
    everywhere, _ = predicted(path, Blur(), cutting(640, 320))
    with RasterReader(path) as reader:
        left, _, _, top = reader.grid.bounds
        wanted = np.array([box(left + 5, top - 40, left + 70.2, top - 20)], object)  # half-metre pixels
        area = Area(wanted, reader.grid)
        outside = area.outside(reader.grid.window)
    backend = Blur()
    rows, _ = predicted(path, backend, cutting(640, 320), area=area)
    assert (rows[outside] == 255).all()
    np.testing.assert_array_equal(rows[~outside], everywhere[~outside])
    assert len(backend.calls) == 4


def test_a_window_that_cannot_be_read_is_tried_again_and_then_a_gap_if_wanted(tmp_path: Path) -> None:
    path, cut = noise(tmp_path, 64, 320), cutting(320, 64)
    expected, _ = predicted(path, Blur(), cut)

    class Failing(RasterReader):
        left = 1

        def read(self, window: Window, *, out_shape: tuple[int, int] | None = None) -> Image:
            if window.col_off == 64 and self.left:
                self.left -= 1
                raise StorageError("bad block")
            return super().read(window, out_shape=out_shape)

    with Failing(path) as reader:
        ((_, result),) = Segmenter(reader, Blur(), cut).strips([0], Silent())
        np.testing.assert_array_equal(result.part.rows, expected)
        reader.left = 99
        with pytest.raises(StorageError, match="bad block"):
            list(Segmenter(reader, Blur(), cut).strips([0], Silent()))
        lenient = Cutting(plan=cut.plan, ramp_px=cut.ramp_px, threshold=0.5, skip_errors=True)
        ((_, result),) = Segmenter(reader, Blur(), lenient).strips([0], Silent())
    assert [(core.col_off, core.width) for core in result.gaps] == [(96, 64)]
    assert result.skipped == 0
    assert (result.part.rows[:, 96:160] == 255).all()
    np.testing.assert_array_equal(result.part.rows[:, 192:], expected[:, 192:])


def test_a_run_that_is_asked_to_end_finishes_the_strip_in_hand(tmp_path: Path) -> None:
    path, cut = noise(tmp_path, 640, 320), cutting(320, 640)
    with RasterReader(path) as reader:
        segmenter = Segmenter(reader, Blur(), cut)
        asked: list[bool] = []
        done = []
        for index, _ in segmenter.strips(range(10), Silent(), stop=lambda: bool(asked)):
            done.append(index)
            if index == 3:
                asked.append(True)
    assert done[:4] == [0, 1, 2, 3]
    assert len(done) <= 5


def test_seams_are_audited(tmp_path: Path) -> None:
    _, results = predicted(noise(tmp_path, 64, 320), Blur(), cutting(320, 64))
    assert results[0].seams.pixels == 3 * 64
    assert results[0].seams.disagreement / results[0].seams.pixels < 1e-3  # the halo is wider than the reach
    _, results = predicted(noise(tmp_path, 64, 320), Blur(reach=40), cutting(320, 64))
    assert results[0].seams.disagreement / results[0].seams.pixels > 3e-3


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(300, 210), (5, 300), (130, 1)])
def test_finer_windows_give_what_the_whole_raster_gives(
    tmp_path: Path, height: int, width: int, scale: int
) -> None:
    path = noise(tmp_path, height, width)
    backend = Finer(make_card(scale=scale))
    tiled, results = predicted(path, backend, cutting(width, height, scale=scale))
    with RasterReader(path) as reader:
        mean = reader.read(reader.grid.window).pixels.mean(0) / 255
    blurred = uniform_filter(np.pad(mean, ((0, -height % 16), (0, -width % 16)), "edge"), 9, mode="constant")
    whole = interpolate(from_numpy(blurred)[None, None], scale_factor=scale, mode="bilinear")[0, 0]
    expected = whole.numpy()[: height * scale, : width * scale]
    assert tiled.shape == expected.shape
    assert np.abs(tiled - 254 * expected).max() <= 1
    assert all(result.part.top.shape[0] in {0, 32 * scale} for result in results)


def test_finer_strips_batches_and_readers_change_no_byte(tmp_path: Path) -> None:
    path = noise(tmp_path, 300, 210)
    expected, _ = predicted(path, Finer(), cutting(210, 300, scale=4))
    for rows_per_strip, batch, readers in [(3, 1, 1), (2, 3, 3)]:
        cut = cutting(210, 300, rows_per_strip=rows_per_strip, scale=4)
        got, results = predicted(path, Finer(batch=batch), cut, readers=readers)
        np.testing.assert_array_equal(got, expected)
        seams = [result.seams for result in results]
        assert sum(seam.disagreement for seam in seams) < 1e-3 * sum(seam.pixels for seam in seams)


def test_a_finer_network_leaves_whole_pixels_of_the_raster_without_data(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 255, (3, 160, 640), np.uint8)
    pixels[:, rng.random((160, 640)) < 0.2] = 0
    pixels[:, :, 200:] = 0
    backend = Finer()
    path = write_raster(tmp_path / "a.tif", pixels, nodata=0)
    rows, results = predicted(path, backend, cutting(640, 160, scale=4))
    np.testing.assert_array_equal(rows == 255, (pixels == 0).all(axis=0).repeat(4, 0).repeat(4, 1))
    assert [result.skipped for result in results] == [6, 6]
    assert len(backend.calls) == 2 * 3


def test_an_area_may_end_inside_a_pixel_of_the_raster(tmp_path: Path) -> None:
    path = noise(tmp_path, 160, 320)
    everywhere, _ = predicted(path, Finer(), cutting(320, 160, scale=4))
    with RasterReader(path) as reader:
        grid = reader.grid.scaled(4)
    left, _, _, top = grid.bounds
    area = Area(np.array([box(left + 5.125, top - 40.25, left + 30.375, top - 20.5)], object), grid)
    backend = Finer()
    rows, _ = predicted(path, backend, cutting(320, 160, scale=4), area=area)
    wanted = np.zeros(rows.shape, np.bool_)
    wanted[164:322, 41:243] = True  # eighths of a metre
    assert (rows[~wanted] == 255).all()
    np.testing.assert_array_equal(rows[wanted], everywhere[wanted])
    assert len(backend.calls) == 2


def test_a_gap_is_told_in_predicted_pixels(tmp_path: Path) -> None:
    path = noise(tmp_path, 64, 320)

    class Failing(RasterReader):
        def read(self, window: Window, *, out_shape: tuple[int, int] | None = None) -> Image:
            if window.col_off == 64:
                raise StorageError("bad block")
            return super().read(window, out_shape=out_shape)

    cut = cutting(320, 64, scale=4)
    lenient = Cutting(plan=cut.plan, ramp_px=cut.ramp_px, threshold=0.5, scale=4, skip_errors=True)
    with Failing(path) as reader:
        ((_, result),) = Segmenter(reader, Finer(), lenient).strips([0], Silent())
    assert result.gaps == (Window(col_off=384, row_off=0, width=256, height=256),)
    assert (result.part.rows[:, 384:640] == 255).all()
    assert (result.part.rows[:, 640 + 64 :] < 255).all()
