"""A file has a plain name while it is made."""

from pathlib import Path

from buildmap.vector.writing.part_file import drop_leftovers, part_file


def test_what_is_written_under_the_plain_name_lies_beside_the_file_to_be(tmp_path: Path) -> None:
    folder = tmp_path / "a!b;ü\n"
    folder.mkdir()
    with part_file(folder / "out.fgb", ".fgb") as part:
        assert part.suffix == ".fgb"
        assert not set("!;ü\n") & set(str(part))
        part.write_text("x")
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("part.fgb", "x")]
    assert not part.exists()


def test_the_name_goes_on_meaning_the_same_file(tmp_path: Path) -> None:
    with part_file(tmp_path / "out.fgb", ".fgb") as part:
        part.write_text("x")
    with part_file(tmp_path / "out.fgb", ".fgb") as part:
        assert part.read_text() == "x"


def test_only_the_unfinished_file_and_what_lies_beside_it_are_leftovers(tmp_path: Path) -> None:
    for name in ("part.gpkg", "part.gpkg-journal", "part.gpkg.tmp_rtree_1.db", "part.fgb", "out.gpkg"):
        (tmp_path / name).touch()
    drop_leftovers(tmp_path / "out.gpkg", ".gpkg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.gpkg", "part.fgb"]
