from dataclasses import replace
from pathlib import Path

import pytest

from buildmap.data.pairs import find_pairs, list_pairs
from buildmap.errors import InputError, MissingInput
from buildmap.preset import Source


def _touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_files_of_the_same_stem_are_a_pair_whatever_their_suffix(tmp_path: Path) -> None:
    _touch(tmp_path, "images/b.tif", "labels/b.gpkg", "images/a.png", "labels/a.png")
    _touch(tmp_path, "images/ü 1.TIF", "labels/ü 1.fgb", "images/c.tif", "labels/c.parquet")
    pairs = list_pairs(tmp_path, ())
    assert [(pair.image, pair.annotations) for pair in pairs] == [
        ("images/a.png", "labels/a.png"),
        ("images/b.tif", "labels/b.gpkg"),
        ("images/c.tif", "labels/c.parquet"),
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


@pytest.mark.parametrize("name", ["annotations.json", "labels.json"])
def test_one_coco_file_beside_images_annotates_them_all(tmp_path: Path, name: str) -> None:
    _touch(tmp_path, "images/b.tif", "images/a.png", "images/notes.txt", name)
    pairs = list_pairs(tmp_path, ())
    assert [(pair.image, pair.annotations, pair.use) for pair in pairs] == [
        ("images/a.png", name, "split"),
        ("images/b.tif", name, "split"),
    ]


def test_several_kinds_of_annotations_in_one_folder_are_refused(tmp_path: Path) -> None:
    _touch(tmp_path, "images/a.tif", "labels/a.tif", "annotations.json")
    with pytest.raises(InputError, match=r"has annotations\.json and labels/: which") as caught:
        list_pairs(tmp_path, ())
    assert caught.value.hint is not None and "[[sources]]" in caught.value.hint


def test_patterns_are_matched_by_stem(tmp_path: Path) -> None:
    _touch(tmp_path, "train/b.tif", "train/a.tif", "train/.c.tif", "train/a.tif.aux.xml", "train/readme.txt")
    _touch(tmp_path, "masks/a.png", "masks/b.tif", "masks/other.tif")
    pattern = Source(image="train/*.*", annotations="masks/*", use="validation", bands=(1, 1, 1))
    pairs = list_pairs(tmp_path, (pattern, Source(image="x.tif", annotations="y.gpkg", use="train")))
    assert pairs == (
        replace(pattern, image="train/a.tif", annotations="masks/a.png"),
        replace(pattern, image="train/b.tif", annotations="masks/b.tif"),
        Source(image="x.tif", annotations="y.gpkg", use="train"),
    )


@pytest.mark.parametrize(
    ("image", "annotations", "files", "expected"),
    [
        (
            "*/image.tif",
            "*/mask.tif",
            ["north/image.tif", "north/mask.tif", "south/image.tif", "south/mask.tif"],
            [("north/image.tif", "north/mask.tif"), ("south/image.tif", "south/mask.tif")],
        ),
        (
            "3band_*.tif",
            "*_Geo.geojson",
            ["3band_img1.tif", "3band_img2.tif", "img1_Geo.geojson", "img2_Geo.geojson"],
            [("3band_img1.tif", "img1_Geo.geojson"), ("3band_img2.tif", "img2_Geo.geojson")],
        ),
        (
            "i/**/x[0-9]?.tif",
            "m/**/y[0-9]?.tif",
            ["i/a/b/x1p.tif", "i/x1p.tif", "m/a/b/y1p.tif", "m/y1p.tif"],
            [("i/a/b/x1p.tif", "m/a/b/y1p.tif"), ("i/x1p.tif", "m/y1p.tif")],
        ),
    ],
)
def test_patterns_whose_stems_say_nothing_are_matched_by_what_the_wildcards_stand_for(
    tmp_path: Path, image: str, annotations: str, files: list[str], expected: list[tuple[str, str]]
) -> None:
    _touch(tmp_path, *files)
    pairs = list_pairs(tmp_path, (Source(image=image, annotations=annotations, use="train"),))
    assert sorted((pair.image, pair.annotations) for pair in pairs) == sorted(expected)


def test_a_pattern_of_images_may_have_one_file_of_annotations(tmp_path: Path) -> None:
    _touch(tmp_path, "t/a.tif", "t/b.tif", "all.gpkg")
    pairs = list_pairs(tmp_path, (Source(image="t/*.tif", annotations="all.gpkg", use="train"),))
    assert [(pair.image, pair.annotations) for pair in pairs] == [
        ("t/a.tif", "all.gpkg"),
        ("t/b.tif", "all.gpkg"),
    ]


def test_patterns_of_one_file_each_belong_together(tmp_path: Path) -> None:
    _touch(tmp_path, "t/scene_clipped.tif", "t/scene_buildings.geojson")
    pairs = list_pairs(tmp_path, (Source(image="t/*.tif", annotations="t/*.geojson", use="train"),))
    assert [pair.annotations for pair in pairs] == ["t/scene_buildings.geojson"]


def test_a_name_that_exists_is_no_pattern(tmp_path: Path) -> None:
    _touch(tmp_path, "a[1].tif", "a1.tif", "a[1].gpkg")
    listed = (Source(image="a[1].tif", annotations="a[1].gpkg", use="train"),)
    assert list_pairs(tmp_path, listed) == listed


def test_patterns_may_begin_at_the_root_of_the_disk(tmp_path: Path) -> None:
    _touch(tmp_path, "data/x", "else/a.tif", "else/a.gpkg")
    source = Source(image=f"{tmp_path}/else/*.tif", annotations=f"{tmp_path}/else/*.gpkg", use="train")
    (pair,) = list_pairs(tmp_path / "data", (source,))
    assert (pair.image, pair.annotations) == (f"{tmp_path}/else/a.tif", f"{tmp_path}/else/a.gpkg")


def test_all_that_is_wrong_with_patterns_is_named_at_once(tmp_path: Path) -> None:
    _touch(
        tmp_path, "t/a.tif", "t/b.tif", "m/a.tif", "m/c.tif", "w/s.tif", "w/s.gpkg", "w/s.geojson", "w/r.tif"
    )
    listed = (
        Source(image="t/*.tif", annotations="m/*.tif", use="train"),
        Source(image="none/*.tif", annotations="nothing/*.gpkg", use="train"),
        Source(image="w/*.tif", annotations="w/?.g*", use="train"),
    )
    with pytest.raises(InputError) as caught:
        list_pairs(tmp_path, listed)
    message = str(caught.value)
    assert "t/b.tif has no partner m/*.tif" in message
    assert "nothing fits none/*.tif" in message
    assert "nothing fits nothing/*.gpkg" in message
    assert "w/r.tif has no partner w/?.g*" in message
    assert "w/s.tif has several partners: w/s.geojson, w/s.gpkg" in message
    assert "5 inputs" in message
    pairs, problems = find_pairs(tmp_path, listed)
    assert [pair.image for pair in pairs] == ["t/a.tif"]
    assert len(problems) == 5
