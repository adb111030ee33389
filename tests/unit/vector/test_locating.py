from pathlib import Path

import pyogrio
import pytest

from buildmap.errors import InputError, MissingInput
from buildmap.vector.locating import locate


def test_a_file_is_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.gpkg").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    assert locate(Path("a.gpkg")) == str(tmp_path / "a.gpkg")


@pytest.mark.parametrize("name", ["a!b.gpkg", "a?b.gpkg", "a;b.gpkg", "a\nb.gpkg"])
def test_marks_that_pyogrio_would_read_otherwise_are_hidden_from_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert locate(tmp_path / name) == f"/vsisubfile/0,{tmp_path / name}"


def test_what_is_missing_empty_or_a_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty.gpkg").touch()
    with pytest.raises(MissingInput, match="does not exist"):
        locate(tmp_path / "none.gpkg")
    with pytest.raises(InputError, match="is empty"):
        locate(tmp_path / "empty.gpkg")
    with pytest.raises(InputError, match="is a folder"):
        locate(tmp_path)


@pytest.mark.parametrize(
    "text", ["<OGRVRTDataSource/>", "  <!-- x --><OGRWFSDataSource/>", "<wfs:WFS_Capabilities/>"]
)
def test_what_names_other_layers_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.gpkg").write_text(text)
    with pytest.raises(InputError, match=r"names other layers|web service"):
        locate(tmp_path / "a.gpkg")


def test_only_what_the_user_typed_as_elsewhere_may_connect(tmp_path: Path) -> None:
    (tmp_path / "a.gpkg").write_bytes(b"x")
    locate(tmp_path / "a.gpkg")
    assert pyogrio.get_gdal_config_option("GDAL_HTTP_PROXY") == "127.0.0.1:9"
    locate(Path("/vsimem/a.gpkg"))
    assert pyogrio.get_gdal_config_option("GDAL_HTTP_PROXY") is None
