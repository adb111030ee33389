"""Names that shells, GDAL, pyogrio or SQLite take for something else."""

import shutil
from pathlib import Path

import pyogrio
import pytest

from tests.faults.injection import run, write_scene

NAMES = ("a b", "ü", "建物", "it's", 'say "x"', "a!b", "-q", "a;b?c", "%s{}", "#1", "a\nb")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("paths"), side=64)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_works_for_folders_inputs_models_and_outputs(
    scene: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for file in ("in.tif", "m.onnx"):
        shutil.copy(scene / file, folder / f"{name}{Path(file).suffix}")
    monkeypatch.chdir(folder)
    inputs = [f"{name}.tif", f"{name}.gpkg", "--model", f"{name}.onnx"]
    options = ["predict", "-q", "--", *inputs[:2]] if name.startswith("-") else ["predict", "-q", *inputs[:2]]
    code, _, err = run(*options[:1], "--model", f"./{name}.onnx", *options[1:])
    assert code == 0, err
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        f"{name}{suffix}" for suffix in (".tif", ".onnx", ".gpkg")
    )
    shutil.copy(f"{name}.gpkg", tmp_path / "plain.gpkg")
    assert len(pyogrio.raw.read(tmp_path / "plain.gpkg", layer="footprints")[2]) > 0


@pytest.mark.parametrize("name", NAMES)
def test_any_name_works_in_a_list(
    scene: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "\n" in name or name.startswith("#"):
        pytest.skip("a line of a list ends there, or is a comment")
    shutil.copy(scene / "in.tif", tmp_path / f"{name}.tif")
    monkeypatch.chdir(tmp_path)
    Path("list").write_text(f"{name}.tif\n")
    code, _, err = run("predict", "-q", "--dry-run", "-i", "list", "o.tif", "--model", scene / "m.onnx")
    assert code == 0, err
