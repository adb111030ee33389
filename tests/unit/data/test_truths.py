import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray

from buildmap.data.annotations import Annotations, Truth
from buildmap.data.coco import CocoFiles
from buildmap.data.copies import MemoryMask
from buildmap.data.truths import Truths, open_truths
from buildmap.errors import InputError
from buildmap.preset import Source
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
from tests.scenes import write_layer, write_raster
from tests.unit.data.material import make_preset, to_mask, to_polygons, write_picture

ROWS, COLS = 160, 200
WHOLE = Window(col_off=0, row_off=0, width=COLS, height=ROWS)
LEFT = Window(col_off=0, row_off=0, width=100, height=ROWS)
HOUSES = [
    Window(col_off=col, row_off=row, width=8, height=6)
    for row in range(10, 150, 20)
    for col in range(12, 190, 20)
]
"""Apart from one another, on even pixels, none across the middle."""
MASK = to_mask(HOUSES, ROWS, COLS)
KINDS = ("footprints", "mask", "coco")
SUFFIXES = {"footprints": "gpkg", "mask": "tif", "coco": "json"}


def _write_annotations(root: Path, kind: str, houses: list[Window] = HOUSES, stem: str = "labels") -> Path:
    """Write the houses on `a.tif`, and for COCO also on `a.png` and `b.png`."""
    path = root / f"{stem}.{SUFFIXES[kind]}"
    if kind == "footprints":
        return write_layer(path, list(to_polygons(houses)))
    if kind == "mask":
        return write_raster(path, to_mask(houses, ROWS, COLS))
    images = [
        {"id": number, "file_name": name, "width": COLS, "height": ROWS}
        for number, name in enumerate(("a.tif", "a.png", "b.png"))
    ]
    rings = [
        np.array(polygon.exterior.coords)[:-1].ravel().tolist()
        for polygon in to_polygons(houses, Affine.identity())
    ]
    drawn = [{"image_id": image["id"], "segmentation": [ring]} for image in images for ring in rings]
    path.write_text(json.dumps({"images": images, "annotations": drawn}))
    return path


def _write_image(root: Path, name: str = "a.tif") -> Path:
    pixels = np.zeros((3, ROWS, COLS), np.uint8)
    return write_raster(root / name, pixels) if name.endswith("tif") else write_picture(root / name, pixels)


@contextmanager
def _opened(
    annotations: Path,
    image: Path,
    *,
    use: str = "train",
    share: float = 0.0,
    part_attached: bool = False,
    seed: int = 0,
    ground: Window | None = None,
    gsd_m: float | None = None,
) -> Iterator[tuple[Truths, RasterReader]]:
    """Lend the truths of a raster, and the raster."""
    pair = Source(image=image.name, annotations=annotations.name, use=use)
    with RasterReader(image, gsd_range_m=None if gsd_m is None else (gsd_m, gsd_m)) as reader:
        truths = open_truths(
            annotations,
            reader,
            ground or reader.grid.window,
            pair=pair,
            training=replace(
                make_preset(seed=seed).training, drop_annotations=share, part_attached=part_attached
            ),
            coco=CocoFiles(),
        )
        with closing(truths):
            yield truths, reader


def _draw(truth: Annotations | None, window: Window = WHOLE, halved: int = 1) -> NDArray[np.bool_]:
    assert truth is not None
    drawn = truth.draw(window, out_shape=(window.height // halved, window.width // halved))
    assert drawn.known.all()
    return drawn.building


def _fates(truths: Truths) -> list[bool]:
    """Give whether each of the houses is dropped, by the places that the truths tell."""
    assert truths.fates is not None
    told = {}
    for col, row, dropped in zip(
        truths.fates.cols, truths.fates.rows, truths.fates.dropped.tolist(), strict=True
    ):
        (number,) = (
            number
            for number, w in enumerate(HOUSES)
            if w.col_off <= col <= w.col_off + w.width and w.row_off <= row <= w.row_off + w.height
        )
        told[number] = dropped
    return [told[number] for number in range(len(HOUSES))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("use", "share", "has_whole", "has_thinned"),
    [
        ("train", 0.0, True, False),
        ("split", 0.0, True, False),
        ("validation", 0.0, True, False),
        ("train", 0.5, False, True),
        ("split", 0.5, True, True),
        ("validation", 0.5, True, False),
    ],
)
def test_what_is_drawn_follows_from_the_use_and_the_share_to_drop(
    tmp_path: Path, kind: str, use: str, share: float, has_whole: bool, has_thinned: bool
) -> None:
    annotations, image = _write_annotations(tmp_path, kind), _write_image(tmp_path)
    with _opened(annotations, image, use=use, share=share) as (truths, _):
        assert (truths.whole is not None, truths.thinned is not None) == (has_whole, has_thinned)
        assert truths.masks == (has_whole + has_thinned if kind == "mask" else 0)
        assert truths.has_buildings
        if has_whole:
            assert np.array_equal(_draw(truths.whole), MASK > 0)
        if has_thinned:
            fates = _fates(truths)
            kept = [house for house, dropped in zip(HOUSES, fates, strict=True) if not dropped]
            assert np.mean(fates) == pytest.approx(0.5, abs=0.2)
            assert np.array_equal(_draw(truths.thinned), to_mask(kept, ROWS, COLS) > 0)
        else:
            assert truths.fates is None
        assert truths.footprints == (None if kind == "mask" else len(HOUSES))
        assert (truths.repairs is None) == (kind == "mask")


@pytest.mark.parametrize("part_attached", [False, True])
def test_attached_footprints_are_parted_where_the_preset_says(tmp_path: Path, part_attached: bool) -> None:
    halves = [Window(col_off=20 + 10 * half, row_off=30, width=10, height=12) for half in range(2)]
    annotations, image = _write_annotations(tmp_path, "footprints", halves), _write_image(tmp_path)
    expected = to_mask(halves, ROWS, COLS) > 0
    expected[30:42, 29:31] = not part_attached
    with _opened(annotations, image, part_attached=part_attached) as (truths, _):
        assert np.array_equal(_draw(truths.whole), expected)
    with _opened(annotations, image, part_attached=part_attached, share=1e-9) as (truths, _):
        assert np.array_equal(_draw(truths.thinned), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_dropped_follows_from_the_seed(tmp_path: Path, kind: str) -> None:
    annotations, image = _write_annotations(tmp_path, kind), _write_image(tmp_path)
    fates = []
    for seed in (0, 0, 1):
        with _opened(annotations, image, share=0.5, seed=seed) as (truths, _):
            fates.append(_fates(truths))
    assert fates[0] == fates[1] != fates[2]


def test_layers_and_coco_drop_the_same_of_a_raster_that_is_somewhere(tmp_path: Path) -> None:
    image = _write_image(tmp_path)
    fates = []
    for kind in ("footprints", "coco"):
        with _opened(_write_annotations(tmp_path, kind), image, share=0.5) as (truths, _):
            fates.append(_fates(truths))
    assert fates[0] == fates[1]


def test_each_picture_drops_its_own_and_rasters_that_share_a_mask_drop_the_same(tmp_path: Path) -> None:
    pictures = [_write_image(tmp_path, name) for name in ("a.png", "b.png")]
    fates = {}
    for kind in ("coco", "mask"):
        annotations = _write_annotations(tmp_path, kind)
        for picture in pictures:
            with _opened(annotations, picture, share=0.5) as (truths, _):
                fates[kind, picture.name] = _fates(truths)
    assert fates["coco", "a.png"] != fates["coco", "b.png"]
    assert fates["mask", "a.png"] == fates["mask", "b.png"]
    with _opened(_write_annotations(tmp_path, "mask", stem="other"), pictures[0], share=0.5) as (truths, _):
        assert _fates(truths) != fates["mask", "a.png"]


@pytest.mark.parametrize("kind", ["footprints", "coco"])
def test_polygons_outside_the_annotated_part_are_left_out(tmp_path: Path, kind: str) -> None:
    annotations, image = _write_annotations(tmp_path, kind), _write_image(tmp_path)
    with _opened(annotations, image, use="split", share=0.5, ground=LEFT) as (truths, _):
        assert truths.footprints == sum(house.col_off < 100 for house in HOUSES) == len(HOUSES) * 5 // 9
        assert truths.fates is not None and len(truths.fates.dropped) == truths.footprints
        assert np.array_equal(_draw(truths.whole, LEFT), MASK[:, :100] > 0)
        assert not _draw(truths.whole, Window(col_off=100, row_off=0, width=100, height=ROWS)).any()


@pytest.mark.parametrize("kind", KINDS)
def test_annotations_and_fates_are_told_on_the_working_grid(tmp_path: Path, kind: str) -> None:
    annotations, image = _write_annotations(tmp_path, kind), _write_image(tmp_path)
    with _opened(annotations, image, share=0.5) as (truths, _):
        assert truths.fates is not None
        native = truths.fates
    with _opened(annotations, image, use="split", share=0.5, gsd_m=1.0) as (truths, reader):
        working = reader.grid
        assert (working.width, working.height) == pytest.approx((COLS / 2, ROWS / 2), abs=1)
        assert truths.fates is not None
        assert truths.fates.cols == pytest.approx(native.cols * working.width / COLS)
        assert truths.fates.rows == pytest.approx(native.rows * working.height / ROWS)
        drawn = _draw(truths.whole, working.window)
    halved = MASK[::2, ::2] > 0
    assert (drawn == halved[: drawn.shape[0], : drawn.shape[1]]).mean() > 0.97
    assert drawn.sum() == pytest.approx(halved.sum(), rel=0.1)


@pytest.mark.parametrize("kind", ["mask", "coco"])
def test_pictures_without_georeferencing_are_annotated_pixel_by_pixel(tmp_path: Path, kind: str) -> None:
    with _opened(_write_annotations(tmp_path, kind), _write_image(tmp_path, "a.png")) as (truths, _):
        assert np.array_equal(_draw(truths.whole), MASK > 0)


def test_a_mask_without_georeferencing_has_the_size_of_the_raster_and_not_of_its_working_grid(
    tmp_path: Path,
) -> None:
    annotations, image = write_picture(tmp_path / "labels.png", MASK), _write_image(tmp_path)
    with _opened(annotations, image, gsd_m=1.0) as (truths, reader):
        drawn = _draw(truths.whole, reader.grid.window)
    halved = MASK[::2, ::2] > 0
    assert (drawn == halved[: drawn.shape[0], : drawn.shape[1]]).mean() > 0.97


def test_footprints_cannot_be_laid_on_a_raster_without_crs(tmp_path: Path) -> None:
    annotations = _write_annotations(tmp_path, "footprints")
    image = _write_image(tmp_path, "a.png")
    with (
        pytest.raises(InputError, match=r"a\.png has no CRS") as caught,
        _opened(annotations, image) as _,
    ):
        pass
    assert caught.value.hint is not None and "gdal_translate -a_srs" in caught.value.hint


def test_a_suffix_in_capitals_is_a_mask_too(tmp_path: Path) -> None:
    annotations = _write_annotations(tmp_path, "mask").rename(tmp_path / "M.TIF")
    with _opened(annotations, _write_image(tmp_path)) as (truths, _):
        assert truths.masks == 1


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize(
    ("kind", "known_to_be_none"), [("footprints", True), ("coco", True), ("mask", False)]
)
def test_polygons_tell_at_once_that_there_are_none_and_a_mask_not_before_it_is_copied(
    tmp_path: Path, kind: str, known_to_be_none: bool, share: float
) -> None:
    right = [house for house in HOUSES if house.col_off > 100]
    annotations, image = _write_annotations(tmp_path, kind, right), _write_image(tmp_path)
    with _opened(annotations, image, ground=LEFT, share=share) as (truths, reader):
        assert truths.has_buildings is not known_to_be_none
        copied = truths.copied(reader.grid, LEFT)
        assert not copied.has_buildings
        copied.close()


@pytest.mark.parametrize("kind", ["footprints", "coco"])
def test_polygons_need_no_copy(tmp_path: Path, kind: str) -> None:
    annotations, image = _write_annotations(tmp_path, kind), _write_image(tmp_path)
    with _opened(annotations, image, use="split", share=0.5) as (truths, reader):
        assert truths.copied(reader.grid, WHOLE) is truths


@pytest.mark.parametrize(
    ("use", "share", "copies"),
    [("train", 0.0, 1), ("train", 0.5, 1), ("split", 0.5, 2), ("validation", 0.5, 1)],
)
def test_copied_masks_draw_the_same_when_the_files_are_closed(
    tmp_path: Path, use: str, share: float, copies: int
) -> None:
    annotations, image = _write_annotations(tmp_path, "mask"), _write_image(tmp_path)
    ground = Window(col_off=20, row_off=10, width=150, height=120)
    part = Window(col_off=40, row_off=22, width=96, height=64)
    with _opened(annotations, image, use=use, share=share) as (truths, reader):
        copied = truths.copied(reader.grid, ground)
        pairs = [(truths.whole, copied.whole), (truths.thinned, copied.thinned)]
        expected = [
            (_draw(file, part), _draw(file, part, 2), memory) for file, memory in pairs if file is not None
        ]
        assert all((file is None) == (memory is None) for file, memory in pairs)
    assert len(expected) == copies
    for fine, coarse, memory in expected:
        assert isinstance(memory, MemoryMask)
        assert 0 < fine.sum() <= (MASK[22:86, 40:136] > 0).sum()
        assert np.array_equal(_draw(memory, part), fine)
        assert np.array_equal(_draw(memory, part, 2), coarse)
    assert copied.fates is truths.fates
    assert (copied.masks, copied.has_buildings) == (0, True)
    assert (copied.footprints, copied.repairs) == (None, None)
    copied.close()


def test_a_mask_whose_buildings_are_all_dropped_still_has_buildings(tmp_path: Path) -> None:
    annotations, image = _write_annotations(tmp_path, "mask"), _write_image(tmp_path)
    with _opened(annotations, image, share=0.9999) as (truths, reader):
        assert all(_fates(truths))
        copied = truths.copied(reader.grid, WHOLE)
        assert not _draw(copied.thinned).any()
        assert copied.has_buildings
        copied.close()


@pytest.mark.parametrize("has_whole", [True, False])
@pytest.mark.parametrize("has_thinned", [True, False])
def test_closing_closes_what_there_is_once(has_whole: bool, has_thinned: bool) -> None:
    closed = []

    class Recorder:
        def __init__(self, name: str) -> None:
            self.name = name

        def draw(self, window: Window, *, out_shape: tuple[int, int]) -> Truth:
            raise AssertionError((window, out_shape))

        def close(self) -> None:
            closed.append(self.name)

    Truths(
        whole=Recorder("whole") if has_whole else None,
        thinned=Recorder("thinned") if has_thinned else None,
        fates=None,
        footprints=None,
        repairs=None,
        has_buildings=True,
    ).close()
    assert closed == ["whole"] * has_whole + ["thinned"] * has_thinned
