"""The README's scripts do what they say, line by line, as far as this machine allows."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from tests.scenes import blocks_mask, houses_image, write_layer, write_raster

CRON = Path("README.md").read_text(encoding="utf-8").partition("\n## From cron\n")[2].partition("\n## ")[0]
SCRIPT, PIPES = re.findall(r"^```sh\n(.*?)^```", CRON, re.M | re.S)
(CRONTAB,) = re.findall(r"^```crontab\n(.*?)^```", CRON, re.M | re.S)
(UNITS,) = re.findall(r"^```ini\n(.*?)^```", CRON, re.M | re.S)


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed here")


def cron(command: str, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run as cron does: with sh, no terminal, and hardly an environment."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"HOME": str(home), "PATH": path, "LC_ALL": "C", **more}
    return subprocess.run(
        ["/bin/sh", "-c", command], env=environment, cwd=home, capture_output=True, text=True, check=False
    )


def test_every_night_maps_what_is_new_and_tells_what_has_changed(tmp_path: Path) -> None:
    folder = tmp_path / "mapping"
    for name in ("incoming", "maps", "seen"):
        (folder / name).mkdir(parents=True)
    (folder / "nightly.sh").write_text(SCRIPT, encoding="utf-8")
    (folder / "nightly.sh").chmod(0o755)
    rng = np.random.default_rng(0)
    image = houses_image(blocks_mask(rng, 160, 160), rng)
    five = r"((?:\S+ ){5})(.*)"
    when, command = re.fullmatch(five, CRONTAB.strip()).groups()  # type: ignore[union-attr]
    assert re.fullmatch(r"(?:(?:\d+|\*) ){5}", when)
    for date in ("2024-01", "2024-02"):
        write_raster(folder / "incoming" / f"{date}.tif", image)
        done = cron(command, tmp_path)
        assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
        assert (folder / "nightly.err").read_text() == ""
        assert (folder / "latest.gpkg").resolve() == (folder / "maps" / f"{date}.gpkg").resolve()
    maps = {path.name: path.stat().st_mtime_ns for path in (folder / "maps").iterdir()}
    assert {*maps} == {"2024-01.gpkg", "2024-02.gpkg"}
    assert {*gpd.read_file(folder / "latest.gpkg").status} <= {"unchanged"}
    assert cron(command, tmp_path).returncode == 0
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "maps").iterdir()} == maps


@needs("systemd-analyze")
def test_the_timer_is_one_that_systemd_understands() -> None:
    (when,) = re.findall(r"^OnCalendar=(.*)$", UNITS, re.M)
    done = subprocess.run(
        ["systemd-analyze", "calendar", when],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    assert done.returncode == 0 and "02:30:00" in done.stdout


@pytest.fixture
def two_dates(tmp_path: Path) -> Path:
    town = [shapely.box(4e5 + 30 * n, 5e6, 4e5 + 30 * n + 12, 5e6 + 10) for n in range(20)]
    write_layer(tmp_path / "latest.gpkg", town)
    write_layer(tmp_path / "seen.gpkg", [*town[1:], shapely.box(4e5, 5e6 + 100, 4e5 + 9, 5e6 + 109)])
    mask = blocks_mask(np.random.default_rng(1), 60, 80)
    write_raster(tmp_path / "probability.tif", mask)
    return tmp_path


@needs("ogr2ogr")
def test_pipes_reach_other_programs(two_dates: Path) -> None:
    lines = [line for line in PIPES.strip().splitlines() if "PostgreSQL" not in line]
    told = [cron(line, two_dates) for line in lines]
    assert [done.returncode for done in told] == [0] * len(lines)
    assert [done.stdout for done in told] == ["", "1\n", "something has changed\n"]
    assert sorted(gpd.read_file(two_dates / "news.fgb").status) == ["added", "removed"]
    assert "removed     1" in (two_dates / "summary.txt").read_text()


@needs("ogr2ogr")
@pytest.mark.skipif("PGDATABASE" not in os.environ, reason="PGDATABASE names no PostGIS database")
def test_footprints_go_into_postgis(two_dates: Path) -> None:
    (line,) = [line for line in PIPES.splitlines() if "PostgreSQL" in line]
    wanted = {name: value for name, value in os.environ.items() if name.startswith("PG")}
    assert cron(line, two_dates, **wanted).returncode == 0
    count = 'psql -tAc "select count(*) from buildings where ST_IsValid(wkb_geometry)"'
    assert int(cron(count, two_dates, **wanted).stdout) > 0
