import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as reference

from buildmap.data import coco
from buildmap.data.coco import CocoFile, CocoFiles, is_coco, run_lengths
from buildmap.errors import InputError, MissingInput
from buildmap.raster.burn import burn
from tests.scenes import blocks_mask
from tests.unit.data.material import houses, to_mask

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools

SQUARE = [10.0, 5.0, 20.0, 5.0, 20.0, 15.0, 10.0, 15.0]


def _write(
    path: Path,
    segmentations: list[object],
    *,
    name: str = "a.tif",
    size: tuple[int, int] | None = (60, 40),
    **others: object,
) -> Path:
    """Write one image of (width, height) and its annotations."""
    image = {"id": 7, "file_name": name}
    if size is not None:
        image |= {"width": size[0], "height": size[1]}
    drawn = [
        {"id": number, "image_id": 7, "category_id": 1, "segmentation": segmentation}
        for number, segmentation in enumerate(segmentations)
    ]
    path.write_text(json.dumps({"info": {"year": 2020}, "images": [image], "annotations": drawn, **others}))
    return path


def _masks(path: Path, width: int = 60, height: int = 40) -> np.ndarray:
    found = CocoFile(path).footprints(Path("x/a.tif"), width=width, height=height)
    return burn(found.polygons, transform=Affine.identity(), height=height, width=width)


def test_rings_become_polygons_in_pixel_corners(tmp_path: Path) -> None:
    path = _write(tmp_path / "c.json", [[SQUARE], [[1, 1, 4, 1, 4, 4], [30, 30, 33, 30, 33, 33, 30, 33]]])
    found = CocoFile(path).footprints(Path("x/a.tif"), width=60, height=40)
    assert found.polygons[0].equals(shapely.box(10, 5, 20, 15))
    assert [polygon.area for polygon in found.polygons] == [100, 4.5, 9]
    assert found.repairs.dropped == found.repairs.mended == 0


def test_rings_on_whole_pixels_are_drawn_as_pycocotools_draws_them(tmp_path: Path) -> None:
    windows = houses(np.random.default_rng(0), 40, 60, 12)
    rings = [
        [float(n) for n in (w.col_off, w.row_off, w.col_off + w.width, w.row_off)]
        + [float(n) for n in (w.col_off + w.width, w.row_off + w.height, w.col_off, w.row_off + w.height)]
        for w in windows
    ]
    path = _write(tmp_path / "c.json", [[ring] for ring in rings])
    expected = reference.decode(reference.merge(reference.frPyObjects(rings, 40, 60)))
    assert np.array_equal(_masks(path), expected > 0)
    assert np.array_equal(expected, to_mask(windows, 40, 60))


@given(arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30)), elements=st.integers(0, 1)))
def test_compressed_run_lengths_are_those_of_pycocotools(mask: np.ndarray) -> None:
    encoded = reference.encode(np.asfortranarray(mask))
    runs = run_lengths(encoded["counts"].decode())
    values = np.arange(len(runs)) % 2
    assert np.array_equal(np.repeat(values, runs), mask.ravel(order="F"))


def test_long_and_falling_runs_come_back_from_their_text() -> None:
    mask = np.zeros((2000, 1500), np.uint8)
    mask[3:1999, 7] = mask[5, 900:1400] = mask[0, 0] = 1
    runs = run_lengths(reference.encode(np.asfortranarray(mask))["counts"].decode())
    assert runs.max() > 2**16
    assert np.array_equal(np.repeat(np.arange(len(runs)) % 2, runs), mask.ravel(order="F"))


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_run_length_masks_are_drawn_pixel_by_pixel(tmp_path: Path, seed: int, compressed: bool) -> None:
    mask = blocks_mask(np.random.default_rng(seed), 40, 60)
    encoded = reference.encode(np.asfortranarray(mask))
    text = encoded["counts"].decode()
    counts = text if compressed else run_lengths(text).tolist()
    path = _write(tmp_path / "c.json", [{"size": [40, 60], "counts": counts}])
    assert np.array_equal(_masks(path), reference.decode(encoded) > 0)


def test_a_mask_at_the_edges_of_the_image_is_whole(tmp_path: Path) -> None:
    mask = np.ones((40, 60), np.uint8)
    mask[10:20, 10:20] = 0
    counts = run_lengths(reference.encode(np.asfortranarray(mask))["counts"].decode()).tolist()
    assert counts[0] == 0
    assert np.array_equal(
        _masks(_write(tmp_path / "c.json", [{"size": [40, 60], "counts": counts}])), mask > 0
    )


def test_crowds_are_buildings_too(tmp_path: Path) -> None:
    path = _write(tmp_path / "c.json", [])
    content = json.loads(path.read_text())
    crowd = {"size": [40, 60], "counts": [0, 5, 40 * 60 - 5]}
    content["annotations"] = [{"image_id": 7, "iscrowd": 1, "segmentation": crowd}]
    path.write_text(json.dumps(content))
    assert _masks(path).sum() == 5


def test_what_is_no_segmentation_is_dropped_and_counted(tmp_path: Path) -> None:
    bad = [
        [],  # a box only
        None,
        [[1, 1, 2, 2]],
        [[1, 1, 5, 1, 5]],
        [[1, 1, "x", 1, 5, 5]],
        {"size": [40, 60], "counts": [1, 2, 3]},
        {"size": [60, 40], "counts": [0, 40 * 60]},
        {"size": [40, 60], "counts": "~~~"},
        {"size": [40, 60], "counts": [-5, 40 * 60 + 5]},
        {"size": [40, 60]},
        "text",
    ]
    path = _write(tmp_path / "c.json", [[SQUARE], *bad])
    found = CocoFile(path).footprints(Path("a.tif"), width=60, height=40)
    assert len(found.polygons) == 1
    assert found.repairs.null == found.repairs.dropped == len(bad)


def test_broken_rings_are_mended_or_dropped_as_those_of_layers(tmp_path: Path) -> None:
    bowtie = [20, 20, 30, 30, 30, 20, 20, 30]
    line = [1, 1, 2, 2, 3, 3]
    empty = {"size": [40, 60], "counts": [40 * 60]}
    path = _write(tmp_path / "c.json", [[bowtie], [line], [[float("nan"), 1, 2, 2, 3, 1]], empty])
    found = CocoFile(path).footprints(Path("a.tif"), width=60, height=40)
    assert len(found.polygons) == 2
    assert shapely.is_valid(found.polygons).all()
    repairs = found.repairs
    assert (repairs.mended, repairs.not_polygonal, repairs.not_finite, repairs.empty) == (1, 1, 1, 1)


def test_an_image_is_found_by_its_path_before_its_name(tmp_path: Path) -> None:
    images = [
        {"id": "x", "file_name": "train/a.tif"},
        {"id": "y", "file_name": "val/a.tif"},
        {"id": "z", "file_name": "deep\\b.tif"},
        {"id": "w", "file_name": "c.tif"},
    ]
    drawn = [{"image_id": "y", "segmentation": [SQUARE]}, {"image_id": "z", "segmentation": [SQUARE] * 2}]
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"annotations": drawn, "images": images}))
    file = CocoFile(path)

    def count(name: str) -> int:
        return len(file.footprints(Path(name), width=60, height=40).polygons)

    assert count("/data/train/a.tif") == 0
    assert count("/data/val/a.tif") == 1
    assert count("/elsewhere/b.tif") == 2
    assert count("/elsewhere/c.tif") == 0
    with pytest.raises(InputError, match=r"2 images that may be .*other/a\.tif: train/a\.tif, val/a\.tif"):
        count("/data/other/a.tif")
    with pytest.raises(InputError, match=r"says nothing of d\.tif") as caught:
        count("/data/d.tif")
    assert caught.value.hint is not None and "train/a.tif" in caught.value.hint


def test_an_image_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"images": [{"id": n, "file_name": "a.tif"} for n in range(2)]}))
    with pytest.raises(InputError, match=r"has a\.tif several times"):
        CocoFile(path)


def test_an_image_of_another_size_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "c.json", [[SQUARE]])
    with pytest.raises(InputError, match="60 x 40 pixels, it has 30 x 20"):
        CocoFile(path).footprints(Path("a.tif"), width=30, height=20)
    unsized = _write(tmp_path / "d.json", [[SQUARE]], size=None)
    assert len(CocoFile(unsized).footprints(Path("a.tif"), width=30, height=20).polygons) == 1


def test_of_several_categories_only_buildings_are_drawn(tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "Building"}, {"id": 2, "name": "road"}]
    path = _write(tmp_path / "c.json", [[SQUARE], [SQUARE]], categories=categories)
    content = json.loads(path.read_text())
    content["annotations"][1]["category_id"] = 2
    path.write_text(json.dumps(content))
    assert len(CocoFile(path).footprints(Path("a.tif"), width=60, height=40).polygons) == 1
    categories[0]["name"] = "house"
    path = _write(tmp_path / "d.json", [[SQUARE]], categories=categories)
    with pytest.raises(InputError, match="none called building: house, road"):
        CocoFile(path)
    path = _write(tmp_path / "e.json", [[SQUARE]], categories=categories[:1])
    assert len(CocoFile(path).footprints(Path("a.tif"), width=60, height=40).polygons) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"info": {"features": 1}, "licenses": [], "images": [', True),
        ('\ufeff {"type": "instances", "categories": []}', True),
        ('{"type": "FeatureCollection", "images": []}', False),
        ('{"name": "x", "crs": {}, "features": [', False),
        ('{"other": 3}', False),
        ("[1, 2]", False),
        ('{"a": oops}', False),
        ("", False),
    ],
)
def test_coco_is_told_from_geojson_by_its_first_keys(tmp_path: Path, text: str, expected: bool) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    assert is_coco(path) is expected


def test_telling_the_kind_of_a_large_file_reads_its_beginning_only(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'{"type": "FeatureCollection", "features": [' + b"0," * 2**21 + b"\xff\xff not text")
    assert is_coco(path) is False


@pytest.mark.parametrize("chunk", [1, 2, 7, 64])
def test_a_file_reads_the_same_in_chunks_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    mask = blocks_mask(np.random.default_rng(0), 40, 60)
    counts = reference.encode(np.asfortranarray(mask))["counts"].decode()
    numbers = {"n" * length: 12.5e-12 for length in range(20)}
    path = _write(tmp_path / "c.json", [[SQUARE], {"size": [40, 60], "counts": counts}], none=None, **numbers)
    expected = _masks(path)
    monkeypatch.setattr(coco, "_CHUNK_CHARACTERS", chunk)
    assert np.array_equal(_masks(path), expected)
    assert expected.any()


def test_the_parts_of_a_mask_that_meet_at_a_corner_are_polygons_of_their_own(tmp_path: Path) -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[3, 3] = mask[4, 4] = 1
    counts = reference.encode(np.asfortranarray(mask))["counts"].decode()
    path = _write(tmp_path / "c.json", [{"size": [40, 60], "counts": counts}])
    found = CocoFile(path).footprints(Path("a.tif"), width=60, height=40)
    assert sorted(polygon.bounds for polygon in found.polygons) == [(3, 3, 4, 4), (4, 4, 5, 5)]
    assert found.repairs.mended == 0


@pytest.mark.parametrize(
    "text", ['{"images": [{"id": 1, ', '{"images": [1 2]}', '{"images": 3}', '{"images": [oops, 1]}']
)
def test_broken_json_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"c\.json"):
        CocoFile(path)


@pytest.mark.parametrize(
    ("key", "item", "match"),
    [
        ("images", {"id": 1}, "image without id or file_name"),
        ("annotations", {"segmentation": []}, "annotation without image_id"),
        ("categories", {"id": 1}, "category without id or name"),
        ("images", 5, "image without id or file_name: 5"),
    ],
)
def test_what_is_missing_from_an_entry_is_named(tmp_path: Path, key: str, item: object, match: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({key: [item]}))
    with pytest.raises(InputError, match=match):
        CocoFile(path)


def test_a_file_that_many_rasters_share_is_read_once(tmp_path: Path) -> None:
    path = _write(tmp_path / "c.json", [[SQUARE]])
    (tmp_path / "layer.json").write_text('{"type": "FeatureCollection", "features": []}')
    files = CocoFiles()
    first = files.find(path)
    assert first is not None
    path.unlink()
    assert files.find(path) is first
    assert files.find(tmp_path / "layer.json") is None
    assert files.find(tmp_path / "no_coco.geojson") is None
    with pytest.raises(MissingInput, match=r"gone\.json does not exist"):
        files.find(tmp_path / "gone.json")
