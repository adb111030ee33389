"""What a preset says of rasters."""

from pathlib import Path

import pytest

from buildmap.errors import MismatchError
from buildmap.preset import load_preset

LITE = Path("presets/lite.toml")


def test_a_source_window_has_four_numbers(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    source = '[[sources]]\nimage = "a.tif"\nannotations = "a.gpkg"\nuse = "train"\nwindow_px = '
    path.write_text(f"{LITE.read_text()}\n{source}[0, 0, 10]\n")
    with pytest.raises(MismatchError, match="window_px is not col_off, row_off, width, height"):
        load_preset(path)
    path.write_text(f"{LITE.read_text()}\n{source}[0, 0, 10, 20]\n")
    assert load_preset(path).sources[0].window_px == (0, 0, 10, 20)
