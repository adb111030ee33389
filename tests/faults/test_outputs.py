"""Outputs that cannot be: said which and why, before any work, and nothing that is there changes."""

from pathlib import Path

import pytest

from tests.faults.injection import run, write_scene

WHY = {
    "in": "is the input",
    "symbolic": "is the input",
    "hard": "is the input",
    "folder": "is not a regular file",
    "device": "is not a regular file",
    "nowhere/o": "does not exist",
    "file/o": "does not exist",
    "dangling": "exists already",
    "old": "exists already",
}


@pytest.mark.parametrize("name", WHY)
@pytest.mark.parametrize("verb", ["predict", "vectorize"])
def test_an_output_that_cannot_be_is_said(
    tmp_path: Path, verb: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scene(tmp_path, side=64)
    monkeypatch.chdir(tmp_path)
    raster, suffix = (Path("in.tif"), ".tif") if verb == "predict" else (Path("p.tif"), ".gpkg")
    if verb == "vectorize":
        Path("in.gpkg").hardlink_to(raster)
    Path("file").touch()
    Path(f"symbolic{suffix}").symlink_to(raster)
    Path(f"hard{suffix}").hardlink_to(raster)
    Path(f"folder{suffix}").mkdir()
    Path(f"device{suffix}").symlink_to("/dev/null")
    Path(f"dangling{suffix}").symlink_to("gone")
    Path(f"old{suffix}").write_bytes(b"old")
    files = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    overwrite = [] if name in {"dangling", "old"} else ["--overwrite"]
    model = ["--model", "m.onnx"] if verb == "predict" else []
    code, out, err = run(verb, raster, f"{name}{suffix}", *model, *overwrite, "-q")
    assert (code, out) == (73, ""), err
    assert WHY[name] in err
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == files
