from pathlib import Path

import pytest

from buildmap.data.pairs import list_pairs
from buildmap.errors import InputError, MissingInput
from buildmap.preset import Source


def _touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_files_of_the_same_stem_are_a_pair_whatever_their_suffix(tmp_path: Path) -> None:
    _touch(tmp_path, "images/b.tif", "labels/b.gpkg", "images/a.png", "labels/a.png")
    _touch(tmp_path, "images/ü 1.TIF", "labels/ü 1.fgb")
    pairs = list_pairs(tmp_path, ())
    assert [(pair.image, pair.annotations) for pair in pairs] == [
        ("images/a.png", "labels/a.png"),
        ("images/b.tif", "labels/b.gpkg"),
        ("images/ü 1.TIF", "labels/ü 1.fgb"),
    ]
    assert {pair.use for pair in pairs} == {"split"}


def test_sidecars_and_hidden_files_are_passed_over(tmp_path: Path) -> None:
    _touch(tmp_path, "images/a.tif", "images/a.tif.aux.xml", "images/a.tfw", "images/._a.tif")
    _touch(tmp_path, "labels/a.shp", "labels/a.dbf", "labels/a.prj")
    assert [pair.annotations for pair in list_pairs(tmp_path, ())] == ["labels/a.shp"]


def test_all_files_without_a_partner_are_named_at_once(tmp_path: Path) -> None:
    _touch(tmp_path, "images/a.tif", "images/b.tif", "labels/b.gpkg", "labels/c.geojson")
    with pytest.raises(InputError) as caught:
        list_pairs(tmp_path, ())
    message = str(caught.value)
    assert "images/a.tif has no partner labels/a.*" in message
    assert "labels/c.geojson has no partner images/c.*" in message
    assert "b.tif" not in message
    assert caught.value.exit_code == 65


def test_two_annotations_of_one_raster_are_refused(tmp_path: Path) -> None:
    _touch(tmp_path, "images/a.tif", "labels/a.gpkg", "labels/a.png")
    with pytest.raises(
        InputError, match=r"a is there several times: images/a\.tif, labels/a\.gpkg, labels/a\.png"
    ):
        list_pairs(tmp_path, ())


def test_what_the_preset_lists_goes_before_what_lies_there(tmp_path: Path) -> None:
    _touch(tmp_path, "images/a.tif", "labels/a.gpkg")
    listed = (Source(image="x.tif", annotations="y.gpkg", use="train"),)
    assert list_pairs(tmp_path, listed) == listed


def test_a_missing_folder_is_named_with_the_layout_that_is_expected(tmp_path: Path) -> None:
    _touch(tmp_path, "images/a.tif")
    with pytest.raises(MissingInput, match="labels does not exist") as caught:
        list_pairs(tmp_path, ())
    assert caught.value.hint is not None and "labels/" in caught.value.hint
    with pytest.raises(MissingInput, match="nowhere is not a folder"):
        list_pairs(tmp_path / "nowhere", ())


def test_a_folder_without_rasters_is_refused(tmp_path: Path) -> None:
    _touch(tmp_path, "images/readme.txt", "labels/readme.txt")
    with pytest.raises(InputError, match="holds no rasters"):
        list_pairs(tmp_path, ())
