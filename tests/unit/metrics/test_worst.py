"""The ground where predictions are worst."""

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from rasterio.warp import Resampling, reproject

from buildmap.errors import InputError
from buildmap.execution.progress import Silent
from buildmap.metrics import worst as module
from buildmap.metrics.evaluation import Evaluation
from buildmap.metrics.places import PREDICTED, TRUE, draw_place
from buildmap.metrics.report import Place
from buildmap.metrics.scoring import score_pair
from buildmap.metrics.worst import WorstPlaces
from tests.scenes import ORIGIN, UTM, houses_image, write_raster

CELLS = Evaluation(measures=frozenset(), cell_m=10)  # 20 x 20 pixels


def find(
    tmp_path: Path,
    predicted: np.ndarray,
    true: np.ndarray,
    *,
    image: Path | None = None,
    evaluation: Evaluation = CELLS,
    count: int = 12,
) -> tuple[Place, ...]:
    worst = WorstPlaces(count)
    worst.image = image
    add(worst, tmp_path, predicted, true, evaluation=evaluation)
    return worst.places


def add(
    worst: WorstPlaces,
    tmp_path: Path,
    predicted: np.ndarray,
    true: np.ndarray,
    *,
    name: str = "p.tif",
    evaluation: Evaluation = CELLS,
) -> None:
    files = write_raster(tmp_path / name, predicted), write_raster(tmp_path / "t.tif", true)
    score_pair(*files, evaluation, progress=Silent(), worst=worst)


def scene(rng: np.random.Generator, share: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    true = (rng.random((90, 70)) < 0.3).astype(np.uint8)
    return true ^ (rng.random(true.shape) < share).astype(np.uint8), true


def wrong_by_cell(predicted: np.ndarray, true: np.ndarray) -> dict[tuple[int, int], int]:
    return {
        (row, col): int((predicted != true)[row : row + 20, col : col + 20].sum())
        for row in range(0, 90, 20)
        for col in range(0, 70, 20)
    }


def test_the_cells_with_the_most_wrong_pixels_are_found_in_order(tmp_path: Path) -> None:
    predicted, true = scene(np.random.default_rng(0), 0.1)
    places = find(tmp_path, predicted, true, count=5)
    wanted = sorted(wrong_by_cell(predicted, true).items(), key=lambda cell: (-cell[1], cell[0]))[:5]
    assert [place.wrong_px for place in places] == [wrong for _, wrong in wanted]
    assert [place.cell for place in places] == [(row // 20, col // 20) for (row, col), _ in wanted]
    for place in places:  # pixels of 0.5 m
        assert place.wrong_m2 == pytest.approx(place.wrong_px / 4, rel=2e-3)
        assert place.width_m == pytest.approx(place.picture.shape[1] / 2, rel=1e-3)
    row, col = wanted[0][0]
    part = (slice(row, row + 20), slice(col, col + 20))
    both, either = (predicted & true)[part].sum(), (predicted | true)[part].sum()
    assert places[0].iou == pytest.approx(both / either)
    assert places[0].picture.tolist() == draw_place(None, predicted[part] > 0, true[part] > 0).tolist()
    height, width = predicted[part].shape
    x, y = ORIGIN @ (col + width / 2, row + height / 2)
    assert places[0].where == f"{x:.9g}, {y:.9g} ({UTM})"
    assert {place.name for place in places} == {"p.tif"}


def test_a_map_without_mistakes_has_no_worst_place(tmp_path: Path) -> None:
    _, true = scene(np.random.default_rng(0))
    assert find(tmp_path, true, true) == ()


def test_places_of_several_pairs_are_ranked_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    worst, wanted = WorstPlaces(4), []
    for name, share in (("a.tif", 0.1), ("b.tif", 0.2), ("c.tif", 0.02)):
        predicted, true = scene(rng, share)
        add(worst, tmp_path, predicted, true, name=name)
        wanted += [(wrong, name) for wrong in wrong_by_cell(predicted, true).values()]
    most = sorted(wanted, key=lambda place: -place[0])[:4]
    assert [(place.wrong_px, place.name) for place in worst.places] == most
    assert {name for _, name in most} == {"b.tif"}
    assert {place.pair for place in worst.places} == {1}


def test_places_of_unequal_pixels_are_ranked_by_their_ground(tmp_path: Path) -> None:
    worst = WorstPlaces(2)
    evaluation = Evaluation(measures=frozenset(), cell_m=1000)
    for name, zoom, wrong in (("fine", 0.5, 60), ("coarse", 2.0, 10)):
        predicted = np.zeros((20, 20), np.uint8)
        predicted.flat[:wrong] = 1
        files = [
            write_raster(tmp_path / f"{name}_{side}.tif", pixels, transform=ORIGIN @ Affine.scale(zoom))
            for side, pixels in (("p", predicted), ("t", predicted * 0))
        ]
        score_pair(*files, evaluation, progress=Silent(), worst=worst)
    told = [(place.name, place.pair, place.wrong_px, round(place.wrong_m2)) for place in worst.places]
    assert told == [("coarse_p.tif", 1, 10, 10), ("fine_p.tif", 0, 60, 4)]


def test_a_sliver_on_the_border_is_shown_with_the_ground_beside_it(tmp_path: Path) -> None:
    predicted, true = np.zeros((2, 90, 70), np.uint8)
    predicted[81:89, 41:49] = 1  # in a cell of which 10 rows are there
    (place,) = find(tmp_path, predicted, true)
    assert place.cell == (4, 2)
    part = slice(70, 90), slice(40, 60)
    assert place.picture.tolist() == draw_place(None, predicted[part] > 0, true[part] > 0).tolist()


def test_at_a_threshold_of_0_background_of_the_truth_is_no_building(tmp_path: Path) -> None:
    _, true = scene(np.random.default_rng(0))
    everywhere = np.ones(true.shape, np.uint8)
    zero = Evaluation(measures=frozenset(), cell_m=10, threshold=0)
    (place,) = find(tmp_path, np.zeros_like(true), true, evaluation=zero, count=1)
    row, col = (20 * part for part in place.cell)
    part = (slice(row, row + 20), slice(col, col + 20))
    assert place.wrong_px == (true[part] == 0).sum()
    assert place.picture.tolist() == draw_place(None, everywhere[part] > 0, true[part] > 0).tolist()


def test_pixels_that_do_not_count_are_not_drawn(tmp_path: Path) -> None:
    predicted, true = np.zeros((2, 20, 20), np.uint8)
    predicted[2:8, 2:8], true[12:18, 2:8] = 1, 1
    bbox = (400_000, 5_000_000 - 5, 400_010, 5_000_000)  # the upper half
    (place,) = find(
        tmp_path, predicted, true, evaluation=Evaluation(measures=frozenset(), cell_m=10, bbox=bbox)
    )
    assert place.wrong_px == 36
    colors = {tuple(color) for color in place.picture.reshape(-1, 3).tolist()}
    assert PREDICTED in colors
    assert TRUE not in colors


def test_a_cell_larger_than_a_picture_is_cut_to_where_most_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SIDE_PX", 16)
    monkeypatch.setattr(module, "_LOOK_PX", 32)
    predicted, true = np.zeros((2, 90, 70), np.uint8)
    predicted[::10, ::10], true[70:82, 37:48] = 1, 1
    places = find(tmp_path, predicted, true, evaluation=Evaluation(measures=frozenset(), cell_m=1e6))
    assert len(places) == 1
    assert places[0].wrong_px == int((predicted != true).sum())
    assert places[0].picture.shape == (16, 16, 3)
    x, y = (float(text) for text in places[0].where.split(" (")[0].split(", "))
    col, row = ~ORIGIN @ (x, y)
    assert (row - 8 <= 70, row + 8 >= 82, col - 8 <= 37, col + 8 >= 48) == (True,) * 4


def test_the_image_of_the_pair_is_drawn_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    predicted, true = scene(rng)
    picture = houses_image(true, rng)
    other = houses_image(1 - true, rng)
    worst = WorstPlaces(30)
    for name, pixels in (("a.tif", picture), ("b.tif", other), ("c.tif", None)):
        worst.image = None if pixels is None else write_raster(tmp_path / f"image_{name}", pixels)
        add(worst, tmp_path, predicted, true, name=name)
    shown = {}
    for place in worst.places:
        shown.setdefault(place.name, place.picture)
    (row, col), _ = max(wrong_by_cell(predicted, true).items(), key=lambda cell: cell[1])
    part = (slice(row, row + 20), slice(col, col + 20))
    masks = predicted[part] > 0, true[part] > 0
    for name, pixels in (("a.tif", picture), ("b.tif", other)):
        crop = np.moveaxis(pixels[:, *part], 0, -1)
        assert shown[name].tolist() == draw_place(crop, *masks).tolist()
    assert shown["c.tif"].tolist() == draw_place(None, *masks).tolist()


def test_an_image_on_another_grid_is_brought_to_that_of_the_comparison(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    predicted, true = np.zeros((2, 20, 20), np.uint8)
    predicted[8, 8] = 1
    fine = rng.integers(0, 255, (3, 60, 60)).astype(np.uint8)
    transform = ORIGIN @ Affine.scale(1 / 3)
    image = write_raster(tmp_path / "i.tif", fine, transform=transform)
    warped, _ = reproject(
        fine,
        np.zeros((3, 20, 20), np.uint8),
        src_transform=transform,
        src_crs=UTM,
        dst_transform=ORIGIN,
        dst_crs=UTM,
        resampling=Resampling.nearest,
    )
    (place,) = find(tmp_path, predicted, true, image=image)
    assert place.picture.tolist() == draw_place(np.moveaxis(warped, 0, -1), predicted > 0, true > 0).tolist()


@pytest.mark.parametrize(
    ("transform", "crs", "message"),
    [(ORIGIN.translation(1e5, 0) @ ORIGIN, UTM, "does not touch"), (ORIGIN, None, "no CRS")],
)
def test_an_image_of_elsewhere_is_refused(
    tmp_path: Path, transform: Affine, crs: str | None, message: str
) -> None:
    predicted, true = scene(np.random.default_rng(4))
    image = write_raster(tmp_path / "i.tif", np.ones((3, 9, 9), np.uint8), transform=transform, crs=crs)
    with pytest.raises(InputError, match=rf"i\.tif.*{message}"):
        find(tmp_path, predicted, true, image=image)


def test_without_a_crs_an_image_of_the_same_pixels_is_drawn_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    predicted, true = scene(rng)
    picture = houses_image(true, rng)
    files = [
        write_raster(tmp_path / f"{name}.tif", pixels, crs=None)
        for name, pixels in (("p", predicted), ("t", true), ("i", picture))
    ]
    worst = WorstPlaces(1)
    worst.image = files[2]
    score_pair(*files[:2], Evaluation(measures=frozenset(), cell_m=1000), progress=Silent(), worst=worst)
    crop = np.moveaxis(picture, 0, -1)
    assert worst.places[0].picture.tolist() == draw_place(crop, predicted > 0, true > 0).tolist()
    assert worst.places[0].where == "400017.5, 4999977.5"
    assert np.isnan([worst.places[0].wrong_m2, worst.places[0].width_m]).all()
