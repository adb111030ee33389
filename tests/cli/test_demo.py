"""`buildmap demo`: the packaged scene and the built-in model, end to end."""

import json
import shlex
from pathlib import Path

import geopandas as gpd
import pytest
from PIL import Image
from typer.testing import CliRunner

from buildmap.cli.app import app
from buildmap.demo import commands


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    folder = tmp_path_factory.mktemp("demo") / "new folder"
    result = CliRunner().invoke(app, ["demo", str(folder), "--json"])
    assert result.exit_code == 0, result.stderr
    return folder, json.loads(result.stdout)


def test_the_builtin_model_maps_a_scene_it_has_not_seen(shown: tuple[Path, dict[str, object]]) -> None:
    folder, summary = shown
    layer = gpd.read_file(folder / "footprints.gpkg")
    truth = gpd.read_file(folder / "truth.gpkg")
    assert summary["footprints"] == len(layer)
    assert summary["buildings"] == len(truth)
    assert summary["iou"] > 0.6
    assert layer.is_valid.all()
    overlap = (
        layer.union_all().intersection(truth.union_all()).area
        / layer.union_all().union(truth.union_all()).area
    )
    assert summary["iou"] == pytest.approx(overlap, abs=0.03)


def test_picture_and_credits_lie_beside_the_map(shown: tuple[Path, dict[str, object]]) -> None:
    folder, _ = shown
    with Image.open(folder / "overlay.png") as picture:
        assert picture.size == (1600, 1067)
    assert "OpenStreetMap" in (folder / "CREDITS.md").read_text(encoding="utf-8")


def test_a_second_run_is_refused_before_it_writes(shown: tuple[Path, dict[str, object]]) -> None:
    folder, _ = shown
    before = (folder / "footprints.gpkg").stat().st_mtime_ns
    result = CliRunner().invoke(app, ["demo", str(folder)])
    assert result.exit_code == 73
    assert (folder / "footprints.gpkg").stat().st_mtime_ns == before


def test_the_printed_commands_are_what_it_did(shown: tuple[Path, dict[str, object]]) -> None:
    folder, summary = shown
    for command in commands(folder):
        program, *arguments = shlex.split(command)
        assert program == "buildmap"
        redo = [] if arguments[0] == "evaluate" else ["--overwrite"]
        result = CliRunner().invoke(app, [*arguments, *redo, "--json"])
        assert result.exit_code == 0, result.stderr
    total = json.loads(result.stdout)["total"]
    assert total["objects"]["at_50"]["f1"] == pytest.approx(summary["object_f1"])
    assert summary["object_f1"] > 0.5
    assert total["instances"]["tp"] + total["instances"]["fp"] == summary["footprints"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("a file")
    result = CliRunner().invoke(app, ["demo", str(tmp_path / "demo")])
    assert result.exit_code == 73
    assert result.stderr == f"error: folder {tmp_path / 'demo'} cannot be made: File exists\n"
