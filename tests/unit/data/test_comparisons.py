"""What is compared with what."""

from pathlib import Path

import pytest

from buildmap.data.comparisons import Comparison, find_comparisons, read_comparisons
from buildmap.errors import InputError, MissingInput


def touch(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return [folder / name for name in names]


def table(folder: Path, text: str, *, encoding: str = "utf-8") -> Path:
    path = folder / "pairs.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_two_files_are_one_comparison_with_all_that_goes_with_them(tmp_path: Path) -> None:
    prediction, truth, image, other = touch(tmp_path, "p.tif", "t.gpkg", "i.tif", "o.tif")
    assert find_comparisons(prediction, truth, image=image, other=other) == (
        Comparison(prediction=prediction, truth=truth, image=image, other=other),
    )


def test_folders_are_paired_by_stem_whatever_the_format(tmp_path: Path) -> None:
    touch(tmp_path / "p", "b.tif", "a.GPKG", "a.gpkg.lock", "notes.txt", ".c.tif", "c.parquet")
    touch(tmp_path / "t", "a.tif", "a.tif.aux.xml", "b.geojson", "c.geojsons")
    touch(tmp_path / "i", "a.jp2", "b.png", "c.tif", "unused.tif")
    found = find_comparisons(tmp_path / "p", tmp_path / "t", image=tmp_path / "i")
    assert [(pair.prediction.name, pair.truth.name, pair.image and pair.image.name) for pair in found] == [
        ("a.GPKG", "a.tif", "a.jp2"),
        ("b.tif", "b.geojson", "b.png"),
        ("c.parquet", "c.geojsons", "c.tif"),
    ]
    assert {pair.other for pair in found} == {None}


def test_files_without_a_partner_are_all_named(tmp_path: Path) -> None:
    touch(tmp_path / "p", "a.tif", "b.tif", "c.tif")
    touch(tmp_path / "t", "a.tif", "c.tif", "d.tif")
    touch(tmp_path / "o", "a.tif")
    with pytest.raises(MissingInput) as missing:
        find_comparisons(tmp_path / "p", tmp_path / "t", other=tmp_path / "o")
    lines = str(missing.value).splitlines()
    assert lines[0].endswith("3 inputs cannot be used:")
    assert lines[1:] == [
        f"  b is only in {tmp_path / 'p'}",
        f"  c is only in {tmp_path / 'p'}, {tmp_path / 't'}",
        f"  d is only in {tmp_path / 't'}",
    ]
    assert "stem" in str(missing.value.hint)


def test_a_geodatabase_is_a_layer_and_no_folder_of_files(tmp_path: Path) -> None:
    (tmp_path / "t.gdb").mkdir()
    (prediction,) = touch(tmp_path, "p.tif")
    assert find_comparisons(prediction, tmp_path / "t.gdb")[0].truth == tmp_path / "t.gdb"


def test_a_path_that_gdal_alone_can_open_is_taken_as_it_is(tmp_path: Path) -> None:
    (truth,) = touch(tmp_path, "t.tif")
    remote = Path("/vsizip/archive.zip/p.tif")
    assert find_comparisons(remote, truth)[0].prediction == remote
    line = read_comparisons(table(tmp_path, f"prediction,truth\n{remote},t.tif\n"))[0]
    assert (line.prediction, line.truth) == (remote, truth)


def test_what_cannot_be_paired_is_refused(tmp_path: Path) -> None:
    (file,) = touch(tmp_path, "p.tif")
    folder = tmp_path / "t"
    folder.mkdir()
    with pytest.raises(MissingInput, match=r"none\.tif does not exist"):
        find_comparisons(file, tmp_path / "none.tif")
    with pytest.raises(InputError, match=r"t is a folder, .*p\.tif is a file") as mixed:
        find_comparisons(file, folder)
    assert mixed.value.hint == "compare files, or folders"
    with pytest.raises(MissingInput, match="no rasters or layers"):
        find_comparisons(folder, folder)
    touch(folder, "a.tif", "a.gpkg")
    with pytest.raises(InputError, match=r"two files named a: a\.gpkg, a\.tif") as twice:
        find_comparisons(folder, folder)
    assert "--pairs" in str(twice.value.hint)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_table_starts_in_its_own_folder_and_keeps_its_other_columns(tmp_path: Path, encoding: str) -> None:
    touch(tmp_path, "p.tif", "t.tif")
    touch(tmp_path / "sub", "i.tif", "o.tif")
    text = "prediction,truth,image,town,other,year\np.tif,t.tif,sub/i.tif,Köln,sub/o.tif,2020\n"
    (pair,) = read_comparisons(table(tmp_path, text, encoding=encoding))
    assert pair == Comparison(
        prediction=tmp_path / "p.tif",
        truth=tmp_path / "t.tif",
        image=tmp_path / "sub/i.tif",
        other=tmp_path / "sub/o.tif",
        columns={"town": "Köln", "year": "2020"},
    )


def test_a_table_may_be_untidy(tmp_path: Path) -> None:
    prediction, truth = touch(tmp_path, "p, 1.tif", "t.tif")
    text = f'truth, town, prediction\r\n{truth},,"p, 1.tif"\r\n\r\n'
    text += 't.tif,north,"p, 1.tif",more,cells\r\nt.tif\r\n'
    with pytest.raises(MissingInput, match="row 3: no prediction"):
        read_comparisons(table(tmp_path, text))
    first, second = read_comparisons(table(tmp_path, text.removesuffix("t.tif\r\n")))
    assert (first.prediction, first.truth, first.columns) == (prediction, truth, {"town": ""})
    assert (first.image, first.other, second.columns) == (None, None, {"town": "north"})


def test_files_that_are_not_there_are_all_named_with_their_rows(tmp_path: Path) -> None:
    touch(tmp_path, "p.tif", "t.tif")
    text = "prediction,truth,image\np.tif,t.tif,\np.tif,x.tif,y.tif\n,t.tif,\n"
    with pytest.raises(MissingInput) as missing:
        read_comparisons(table(tmp_path, text))
    assert str(missing.value).splitlines()[1:] == [
        f"  row 2: {tmp_path / 'x.tif'} does not exist",
        f"  row 2: {tmp_path / 'y.tif'} does not exist",
        "  row 3: no prediction",
    ]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("prediction,trut\np.tif,t.tif\n", "lacks the column truth", "did you mean 'trut'?"),
        ("prediction;truth\np.tif;t.tif\n", "lacks the column prediction", "columns: prediction,truth"),
        ("prediction,truth\n", "has no rows", "columns: prediction,truth"),
        ("", "has no rows", "columns: prediction,truth"),
        ('prediction,truth\n"p.tif', "is no CSV file: unexpected end of data", "columns: prediction,truth"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read_comparisons(table(tmp_path, text))
    assert hint in (refused.value.hint or "")
    assert refused.value.exit_code == 65


def test_a_table_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"none\.csv does not exist"):
        read_comparisons(tmp_path / "none.csv")
    with pytest.raises(MissingInput, match="is a folder"):
        read_comparisons(tmp_path)
    (tmp_path / "p.tif").write_bytes(b"II*\x00\xff\xfe")
    with pytest.raises(InputError, match="is no CSV file"):
        read_comparisons(tmp_path / "p.tif")


def test_a_name_that_is_too_long_is_of_no_file(tmp_path: Path) -> None:
    long = tmp_path / ("9" * 300)
    with pytest.raises(MissingInput, match="does not exist"):
        find_comparisons(long, tmp_path)
