"""`buildmap predict`, seen from a shell."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from PIL import Image
from shapely import Point, box
from typer.testing import CliRunner

from buildmap.cli.app import app
from buildmap.raster.quiet import unreferenced_is_fine
from buildmap.raster.reader import RasterReader
from tests.networks import make_card, write_onnx
from tests.scenes import blocks_mask, houses_image, write_layer, write_raster


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    mask = blocks_mask(rng, 300, 260)
    write_onnx(tmp_path / "m.onnx")
    np.save(tmp_path / "mask.npy", mask)
    return write_raster(tmp_path / "in.tif", houses_image(mask, rng))


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_a_raster_becomes_probability_and_one_json_object(scene: Path, tmp_path: Path) -> None:
    code, out, err = run(scene, tmp_path / "p.tif", "--model", tmp_path / "m.onnx", "--json", "-q")
    assert (code, err) == (0, "")
    summary = json.loads(out)
    assert (summary["width_px"], summary["height_px"], summary["windows_skipped"]) == (260, 300, 0)
    with rasterio.open(tmp_path / "p.tif") as dataset:
        got = dataset.read(1) >= 127
        assert json.loads(dataset.tags()["BUILDMAP"])["source"] == "in.tif"
    np.testing.assert_array_equal(got, np.load(tmp_path / "mask.npy") == 1)


def test_a_layer_as_output_holds_the_buildings(scene: Path, tmp_path: Path) -> None:
    code, out, _ = run(scene, tmp_path / "p.gpkg", "--model", tmp_path / "m.onnx", "--json")
    assert code == 0
    layer = gpd.read_file(tmp_path / "p.gpkg")
    assert json.loads(out)["footprints"] == len(layer) > 3
    assert layer.is_valid.all()
    assert layer.area_m2.sum() == pytest.approx(np.load(tmp_path / "mask.npy").sum() * 0.25, rel=0.1)
    assert not (tmp_path / "p.tif").exists()


def test_a_layer_without_buildings_is_a_failure_when_told(scene: Path, tmp_path: Path) -> None:
    output, strict = (
        tmp_path / "p.gpkg",
        ("--model", tmp_path / "m.onnx", "--overwrite", "--fail-if-empty", "-q"),
    )
    assert run(scene, output, *strict)[0] == 0
    code, out, err = run(scene, output, *strict, "--min-area-m2", 1e6, "--json")
    assert (code, json.loads(out)["footprints"], len(gpd.read_file(output))) == (4, 0, 0)
    assert err == "error: no building was found\n hint: the layer is written, and empty\n"
    code, _, err = run(
        scene, tmp_path / "p.tif", "--model", tmp_path / "m.onnx", "--fail-if-empty", "--split"
    )
    assert code == 2 and "--split, --fail-if-empty would do nothing" in " ".join(err.split())


def test_an_existing_output_is_refused_and_replaced_when_told(scene: Path, tmp_path: Path) -> None:
    output = tmp_path / "p.tif"
    output.write_text("old")
    code, out, err = run(scene, output, "--model", tmp_path / "m.onnx")
    assert (code, out) == (73, "")
    assert err == f"error: {output} exists already\n hint: pass --overwrite to replace it\n"
    assert output.read_text() == "old"
    assert run(scene, output, "--model", tmp_path / "m.onnx", "--overwrite")[0] == 0
    assert output.stat().st_size > 1000


def test_writing_over_the_input_is_refused(scene: Path, tmp_path: Path) -> None:
    (tmp_path / "link.tif").symlink_to(scene)
    before = scene.read_bytes()
    code, _, err = run(scene, tmp_path / "link.tif", "--model", tmp_path / "m.onnx", "--overwrite")
    assert code == 73
    assert "is the input" in err
    assert scene.read_bytes() == before


@pytest.mark.usefixtures("scene")
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.tif", "o.tif"], 66, "none.tif does not exist"),
        (["in.tif", "o.tif", "--model", "none.onnx"], 66, "model none.onnx does not exist"),
        (["in.tif", "nowhere/o.tif"], 73, "folder nowhere does not exist"),
        (["in.tif", "o.tif", "--bands", "1,2"], 65, "2 bands chosen, the model expects 3"),
        (["in.tif", "o.tif", "--bands", "3,2,9"], 65, "in.tif has 3 bands, not band 9"),
        (["grey.tif", "o.tif"], 65, "grey.tif has 1 bands, not band 2"),
        (["deep.tif", "o.tif"], 65, "deep.tif is uint16, the model expects uint8"),
        (["in.tif", "o.shp"], 73, "only as .gpkg"),
        (["in.tif", "o.png"], 73, "o.png does not end in .tif or .gpkg"),
        (["in.tif", "-"], 73, "- does not end in .tif or .gpkg"),
        (["lost.tif", "o.tif"], 65, "(400004, 4999996) have no place in EPSG:4326"),
        (["world.tif", "o.tif"], 65, "world.tif: the GSD is 1.11e+05 m, 0.3 to 0.6 m are wanted"),
        (["unplaced.tif", "o.gpkg"], 65, "unplaced.tif has no geotransform, which footprints need"),
        (["in.tif", "o.gpkg", "--threshold", "nan"], 2, "nan is not a finite number"),
        (["in.tif", "o.tif", "--bands", "red"], 2, "not a list of band numbers"),
    ],
)
def test_wrong_inputs_say_what_is_wrong(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_raster(Path("grey.tif"), np.zeros((1, 8, 8), np.uint8))
    write_raster(Path("deep.tif"), np.zeros((3, 8, 8), np.uint16))
    write_raster(Path("lost.tif"), np.zeros((3, 16, 16), np.uint8), crs="EPSG:4326")
    write_raster(
        Path("world.tif"),
        np.zeros((3, 8, 8), np.uint8),
        crs="EPSG:4326",
        transform=rasterio.Affine(1, 0, -4, 0, -1, 4),
    )
    with unreferenced_is_fine():
        write_raster(
            Path("unplaced.tif"), np.zeros((3, 8, 8), np.uint8), transform=rasterio.Affine.identity()
        )
    if "--model" not in arguments:
        arguments = [*arguments, "--model", "m.onnx"]
    got, out, err = run(*arguments)
    assert got == code
    assert message in " ".join(err.split())
    assert out == ""
    assert not list(tmp_path.glob("o.*"))
    assert not list(tmp_path.glob(".o.*"))


def test_a_raster_finer_than_the_model_is_predicted_at_the_models_gsd(tmp_path: Path) -> None:
    model = write_onnx(tmp_path / "m.onnx", make_card())
    fine = write_raster(
        tmp_path / "in.tif",
        np.zeros((3, 100, 100), np.uint8),
        transform=rasterio.Affine(0.1, 0, 4e5, 0, -0.1, 5e6),
    )
    _, out, _ = run(fine, tmp_path / "p.tif", "--model", model, "--json")
    assert json.loads(out)["gsd_m"] == pytest.approx(0.3, rel=0.02)
    with rasterio.open(tmp_path / "p.tif") as ours, rasterio.open(fine) as theirs:
        assert ours.bounds == pytest.approx(theirs.bounds, abs=1e-6)
    _, out, _ = run(fine, tmp_path / "q.tif", "--model", model, "--json", "--no-resample")
    assert json.loads(out)["width_px"] == 100


def test_a_picture_without_georeference_is_predicted_pixel_by_pixel(scene: Path, tmp_path: Path) -> None:
    with rasterio.open(scene) as dataset:
        Image.fromarray(np.moveaxis(dataset.read(), 0, -1)).save(tmp_path / "in.png")
    code, out, err = run(tmp_path / "in.png", tmp_path / "p.tif", "--model", tmp_path / "m.onnx", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["gsd_m"] is None
    with RasterReader(tmp_path / "p.tif") as reader:
        got = reader.read(reader.grid.window).pixels[0] >= 127
    np.testing.assert_array_equal(got, np.load(tmp_path / "mask.npy") == 1)
    code, _, err = run(tmp_path / "in.png", tmp_path / "p.gpkg", "--model", tmp_path / "m.onnx")
    assert code == 65
    assert "CRS" in err


def test_several_rasters_are_one_mosaic(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    mask = blocks_mask(rng, 300, 260)
    pixels = houses_image(mask, rng)
    write_onnx(tmp_path / "m.onnx")
    whole = write_raster(tmp_path / "whole.tif", pixels)
    names = []
    for index, (row, col) in enumerate([(0, 0), (0, 130), (150, 0), (150, 130)]):
        place = rasterio.Affine(0.5, 0, 400_000 + col / 2, 0, -0.5, 5_000_000 - row / 2)
        part = pixels[:, row : row + 150, col : col + 130]
        names.append(str(write_raster(tmp_path / f"{index}.tif", part, transform=place)))
    (tmp_path / "list.txt").write_text("# four of them\n\n" + "\n".join(names))
    assert run(whole, tmp_path / "a.tif", "--model", tmp_path / "m.onnx")[0] == 0
    assert run("-i", tmp_path / "list.txt", tmp_path / "b.tif", "--model", tmp_path / "m.onnx")[0] == 0
    result = CliRunner().invoke(
        app,
        ["predict", "-i", "-", str(tmp_path / "c.tif"), "--model", str(tmp_path / "m.onnx")],
        input="\n".join(names),
    )
    assert result.exit_code == 0, result.stderr
    with rasterio.open(tmp_path / "a.tif") as one:
        expected = one.read(1)
    for name in ("b.tif", "c.tif"):
        with rasterio.open(tmp_path / name) as other:
            np.testing.assert_array_equal(other.read(1), expected)


def test_a_box_and_an_area_limit_what_is_predicted(scene: Path, tmp_path: Path) -> None:
    model = ("--model", tmp_path / "m.onnx")
    run(scene, tmp_path / "all.tif", *model)
    code, out, _ = run(
        scene, tmp_path / "box.tif", *model, "--bbox", "400010,4999900,400060,4999950", "--json"
    )
    assert code == 0
    summary = json.loads(out)
    assert (summary["width_px"], summary["height_px"]) == (100 + 20 % 16, 100 + 100 % 16)
    write_layer(tmp_path / "aoi.gpkg", [Point(400_060, 4_999_930).buffer(20)])
    assert run(scene, tmp_path / "aoi.tif", *model, "--aoi", tmp_path / "aoi.gpkg")[0] == 0
    with rasterio.open(tmp_path / "aoi.tif") as inside, rasterio.open(tmp_path / "all.tif") as everywhere:
        got = inside.read(1)
        row, col = everywhere.index(*(inside.transform @ (0.5, 0.5)))
        expected = everywhere.read(1)[row : row + inside.height, col : col + inside.width]
    wanted = got != 255
    assert wanted.sum() == pytest.approx(np.pi * 40**2, rel=0.02)
    assert np.abs(got[wanted].astype(int) - expected[wanted]).max() <= 1


def test_a_dry_run_tells_and_writes_nothing(scene: Path, tmp_path: Path) -> None:
    plan = tmp_path / ".o.tif.buildmap" / "strips" / "plan.json"
    plan.parent.mkdir(parents=True)
    plan.write_text('{"halo_px": "0"}')  # of a run that is in its first strip
    before = sorted(tmp_path.iterdir())
    code, out, err = run(scene, tmp_path / "o.tif", "--model", tmp_path / "m.onnx", "--dry-run", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert (told["strips"], told["strips_done"], told["replaces"]) == (4, 0, False)
    assert (told["takes"]["windows"], told["takes"]["windows_skipped"]) == (16, 0)
    assert sorted(tmp_path.iterdir()) == before
    assert plan.read_text() == '{"halo_px": "0"}'


def test_shards_and_finish_give_the_same_file(scene: Path, tmp_path: Path) -> None:
    model = ("--model", tmp_path / "m.onnx")
    run(scene, tmp_path / "a.tif", *model)
    for share in ("2/2", "1/2"):
        code, out, _ = run(scene, tmp_path / "b.tif", *model, "--shard", share, "--json")
        assert code == 0
        assert json.loads(out)["seams"] is None
    assert not (tmp_path / "b.tif").exists()
    assert run(scene, tmp_path / "b.tif", *model, "--finish")[0] == 0
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    code, _, err = run(scene, tmp_path / "c.tif", *model, "--finish")
    assert code == 3
    assert "4 of 4 strips are missing" in err


def test_what_cannot_be_read_is_an_error_or_a_gap(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write_onnx(tmp_path / "m.onnx")
    scene = write_raster(
        tmp_path / "in.tif",
        houses_image(blocks_mask(rng, 320, 320), rng),
        tiled=True,
        blockxsize=64,
        blockysize=64,
        compress="zstd",
    )
    with rasterio.open(scene) as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_2_2", "TIFF", bidx=1))
    data = bytearray(scene.read_bytes())
    data[offset : offset + 40] = bytes(40)
    scene.write_bytes(data)
    code, _, err = run(scene, tmp_path / "o.tif", "--model", tmp_path / "m.onnx")
    assert code == 74
    assert "cannot read" in err
    code, out, err = run(
        scene, tmp_path / "o.tif", "--model", tmp_path / "m.onnx", "--on-error", "skip", "--restart", "--json"
    )
    assert code == 3
    assert "4 windows could not be read" in err
    gaps = json.loads(out)["gaps"]
    assert {"col_off": 96, "row_off": 96, "width": 64, "height": 64} in gaps
    with rasterio.open(tmp_path / "o.tif") as dataset:
        rows = dataset.read(1)
    assert (rows[128:192, 128:192] == 255).all()
    assert (rows[:30, :30] != 255).all()
    options = ("--model", tmp_path / "m.onnx", "--on-error", "skip", "--valid")
    assert run(scene, tmp_path / "o.gpkg", *options)[0] == 3
    lost = gpd.read_file(tmp_path / "o.gpkg", layer="gaps").union_all()
    assert gpd.read_file(tmp_path / "o.gpkg", layer="valid").union_all().intersection(lost).area == 0
    assert gpd.read_file(tmp_path / "o.gpkg", layer="gaps").area.sum() == pytest.approx(4 * 64**2 / 4)
    assert len(gpd.read_file(tmp_path / "o.gpkg", layer="footprints")) > 0


def test_valid_ground_is_a_layer_beside_the_footprints(scene: Path, tmp_path: Path) -> None:
    with rasterio.open(scene, "r+") as dataset:
        dataset.write_mask(np.indices(dataset.shape)[1] >= 96)
    options = ("--model", tmp_path / "m.onnx", "--valid", "-q")
    aoi = write_layer(tmp_path / "aoi.gpkg", [box(400_040, 4_999_880, 400_080, 4_999_960)])
    assert run(scene, tmp_path / "all.gpkg", *options)[0] == 0
    (ground,) = gpd.read_file(tmp_path / "all.gpkg", layer="valid").geometry
    assert ground.equals(box(400_048, 4_999_850, 400_130, 5_000_000))
    assert len(gpd.read_file(tmp_path / "all.gpkg", layer="footprints")) > 0
    assert run(scene, tmp_path / "part.gpkg", *options, "--aoi", aoi)[0] == 0
    (ground,) = gpd.read_file(tmp_path / "part.gpkg", layer="valid").geometry
    assert ground.equals(box(400_048, 4_999_880, 400_080, 4_999_960))


def test_valid_ground_needs_room(scene: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    for output, told in (
        ("o.tif", "o.tif is a raster"),
        ("o.fgb", "FlatGeobuf has no room for a layer 'valid'"),
    ):
        code, _, err = run(scene, tmp_path / output, "--model", tmp_path / "m.onnx", "--valid")
        assert code == 73
        assert told in err
    assert sorted(tmp_path.iterdir()) == before


def test_symmetries_and_models_are_averaged(scene: Path, tmp_path: Path) -> None:
    model = ("--model", tmp_path / "m.onnx")
    run(scene, tmp_path / "a.tif", *model)
    assert run(scene, tmp_path / "b.tif", *model, *model, "--tta", "d4")[0] == 0
    with rasterio.open(tmp_path / "a.tif") as one, rasterio.open(tmp_path / "b.tif") as other:
        assert np.abs(one.read(1).astype(int) - other.read(1)).max() <= 1  # the network is symmetric


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in.tif"], "Missing argument 'OUTPUT'"),
        (["-i", "list.txt", "a", "b"], "with -i there is one argument"),
        (["in.tif", "o.tif", "--shard", "3/2"], "'3/2' is not a share"),
        (["in.tif", "o.tif", "--max-memory", "lots"], "'lots' is not an amount of memory"),
        (["in.tif", "o.tif", "--bbox", "1,2,3"], "is not LEFT,BOTTOM,RIGHT,TOP"),
    ],
)
def test_usage_is_explained(arguments: list[str], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.replace("│", " ").split())
