"""Footprints go down a pipe: the whole layer or nothing, and GDAL reads it at the other end."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyogrio
import pytest

from buildmap.vector.writing.writer import _COLUMNS

SENDER = """
import sys
from buildmap.errors import BuildmapError
from buildmap.publish import streamed
from buildmap.vector.writing.formats import FLATGEOBUF
from buildmap.vector.writing.writer import FootprintWriter
from tests.unit.vector.writing.test_writer import batch

try:
    with (
        streamed(sys.stdout.buffer, "footprints.fgb") as folder,
        FootprintWriter(folder / "footprints.fgb", crs="EPSG:32633", kind=FLATGEOBUF) as writer,
    ):
        writer.write(batch(1, int(sys.argv[1])))
        if len(sys.argv) > 2:
            sys.exit(int(sys.argv[2]))
except BrokenPipeError:
    sys.stdout = None
    sys.exit(141)
except BuildmapError as error:
    sys.stdout = None
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def sender(count: int, *rest: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-c", SENDER, str(count), *rest]


@pytest.mark.parametrize("count", [0, 1, 20_000])
def test_what_comes_down_the_pipe_is_a_whole_flatgeobuf(count: int) -> None:
    done = subprocess.run(sender(count), check=True, capture_output=True)
    info = pyogrio.read_info(done.stdout, force_feature_count=True)
    assert (info["driver"], info["layer_name"], info["features"]) == ("FlatGeobuf", "footprints", count)
    assert info["fields"].tolist() == [*_COLUMNS]
    assert info["crs"] == "EPSG:32633"
    ids = pyogrio.raw.read(done.stdout, columns=["footprint_id"], read_geometry=False)[3][0]
    assert sorted(ids) == [*range(1, count + 1)]


@pytest.mark.skipif(not shutil.which("ogr2ogr"), reason="needs ogr2ogr")
def test_ogr2ogr_reads_the_pipe_without_options(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    with subprocess.Popen(sender(20_000), stdout=subprocess.PIPE) as sending:
        subprocess.run(["ogr2ogr", "-f", "GPKG", path, "/vsistdin/"], check=True, stdin=sending.stdout)
    assert sending.returncode == 0
    info = pyogrio.read_info(path, layer="footprints", force_feature_count=True)
    assert (info["features"], info["crs"]) == (20_000, "EPSG:32633")
    assert info["fields"].tolist() == [*_COLUMNS]


def test_a_run_that_fails_sends_nothing() -> None:
    done = subprocess.run(sender(20_000, "65"), check=False, capture_output=True)
    assert (done.returncode, done.stdout) == (65, b"")


def test_a_reader_that_leaves_ends_the_run_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(sender(20_000), check=False, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_full_stdout_is_a_storage_error() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(sender(20_000), check=False, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 74
    assert done.stderr == "cannot write to the stream: No space left on device\n"
