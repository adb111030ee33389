"""`buildmap change`, seen from a shell."""

from pathlib import Path

import pytest
import shapely
from typer.testing import CliRunner

from buildmap.cli.app import app
from tests.scenes import write_layer


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["change", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    return write_layer(tmp_path / "a.gpkg", [shapely.box(4e5, 5e6, 4e5 + 10, 5e6 + 10)])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--confirm", "2"], "'2' is not such as 2/3"),
        (["--confirm", "3/2"], "3 of 2 dates cannot agree"),
        (["--confirm", "0/0"], "0 of 0 dates cannot agree"),
        (["--only", "add"], "there is no status 'add'; did you mean 'added'?"),
        (["--only", "xyz"], "choose among added, removed"),
        (["--image-after", "x.tif"], "shown in the report of --html"),
        (["--iou-min", "nan"], "nan"),
        (["--shift-tolerance-m", "60", "--shift-block-m", "100"], "at least twice"),
        (["--date-after", "tomorrow"], "is not a date"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    layer: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    code, out, err = run(layer, layer, tmp_path / "out.gpkg", *options)
    assert (code, out) == (2, "")
    assert said in err
    assert not (tmp_path / "out.gpkg").exists()


def test_a_missing_layer_is_named_in_two_lines(layer: Path, tmp_path: Path) -> None:
    code, _, err = run(layer, tmp_path / "none.gpkg", tmp_path / "out.gpkg")
    assert code == 66
    assert err.strip().splitlines()[0].endswith("none.gpkg does not exist")


def test_an_output_is_not_replaced_without_being_asked(layer: Path, tmp_path: Path) -> None:
    (tmp_path / "out.gpkg").write_text("mine")
    assert run(layer, layer, tmp_path / "out.gpkg", "-q")[0] == 73
    assert (tmp_path / "out.gpkg").read_text() == "mine"
    assert run(layer, layer, tmp_path / "out.gpkg", "-q", "--overwrite")[0] == 0
