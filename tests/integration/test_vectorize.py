"""`buildmap vectorize` as a process: killed, stopped, doubled or piped, it gives the same footprints."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from scipy.ndimage import gaussian_filter

from buildmap.publish import workspace
from buildmap.vector.outlining import METHODS, Method, Outlining
from buildmap.vectorize import vectorize
from tests.scenes import write_raster

BANDS = 14
ROWS = 100
LOW_BANDS = f"""
import sys, time
import buildmap.vectorize
from buildmap.cli.app import main
from buildmap.execution.journal import Journal
pause_s, record = float(sys.argv.pop(1)), Journal.record
buildmap.vectorize.rows_per_band = lambda *_: {ROWS}
Journal.record = lambda *facts: (record(*facts), time.sleep(pause_s))
main()
"""
"""Runs the program with bands so low that a small raster has many, and a pause after each."""
PAUSE_S = 0.1


def command(*arguments: object, pause_s: float = 0) -> list[str]:
    return [sys.executable, "-W", "ignore", "-c", LOW_BANDS, str(pause_s), "vectorize", *map(str, arguments)]


def start(folder: Path, *arguments: object, pause_s: float = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments, pause_s=pause_s),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(folder: Path, *arguments: object) -> dict[str, object]:
    process = start(folder, *arguments, "--json", "-q")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    summary: dict[str, object] = json.loads(out)
    return summary


def content(path: Path) -> object:
    """Give geometry and attributes of a layer, bit for bit."""
    _, _, geometry, fields = pyogrio.raw.read(path, layer="footprints")
    return [bytes(shape) for shape in geometry], [repr(values.tolist()) for values in fields]


def recorded(output: Path) -> int:
    return len(list((workspace(output) / "bands").glob("[0-9]*.json")))


def wait_for_bands(process: subprocess.Popen[str], output: Path, bands: int) -> None:
    end = time.monotonic() + 120
    while recorded(output) < bands and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the raster, and the layer that an uninterrupted run makes of it."""
    folder = tmp_path_factory.mktemp("origin")
    rng = np.random.default_rng(0)
    field = gaussian_filter(rng.standard_normal((BANDS * ROWS - 30, 400)), 4)
    probability = np.clip(0.5 + field / field.std() / 4, 0, 1).astype(np.float32)
    probability[:, 200:204] = 0.8  # one building through all bands
    write_raster(folder / "p.tif", probability)
    summary = finish(folder, "p.tif", "expected.gpkg")
    assert (summary["bands"], summary["bands_resumed"]) == (BANDS, 0)
    return folder


@pytest.fixture
def folder(origin: Path, tmp_path: Path) -> Path:
    shutil.copy2(origin / "p.tif", tmp_path)
    return tmp_path


@pytest.fixture
def expected(origin: Path) -> object:
    found = content(origin / "expected.gpkg")
    assert len(found[0]) > 80  # type: ignore[index]
    return found


def test_kills_at_random_moments_change_no_bit_of_two_workers(folder: Path, expected: object) -> None:
    output, rng, done = folder / "out.gpkg", random.Random(2), 0
    while done < BANDS - 6:
        process = start(folder, "p.tif", "out.gpkg", "--workers", 2, "-q", pause_s=PAUSE_S)
        wait_for_bands(process, output, done + 3)
        time.sleep(rng.uniform(0, PAUSE_S))
        process.kill()
        process.communicate()
        assert not output.exists()
        assert recorded(output) > done
        done = recorded(output)
    summary = finish(folder, "p.tif", "out.gpkg", "--overwrite")
    assert summary["bands_resumed"] == done
    assert content(output) == expected
    assert not workspace(output).exists()


@pytest.mark.parametrize(
    ("number", "code", "restart"),
    [(signal.SIGINT, 130, ()), (signal.SIGTERM, 143, ("--restart",))],
)
def test_a_signal_ends_the_run_well_and_the_next_goes_on(
    folder: Path, expected: object, number: int, code: int, restart: tuple[str, ...]
) -> None:
    output = folder / "out.gpkg"
    process = start(folder, "p.tif", "out.gpkg", "-q", *restart, pause_s=PAUSE_S)
    wait_for_bands(process, output, 2)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, ""), err
    told = int(err.split("interrupted after ")[1].split(f"/{BANDS} bands")[0])
    assert 2 <= told < BANDS
    assert len(err.splitlines()) == 2 and "hint: run the same command again to resume" in err
    assert not output.exists()
    assert finish(folder, "p.tif", "out.gpkg")["bands_resumed"] == told
    assert content(output) == expected


@pytest.fixture
def unfinished(folder: Path) -> Path:
    """Leave a run behind that was killed after some bands."""
    process = start(folder, "p.tif", "out.gpkg", "-q", pause_s=PAUSE_S)
    wait_for_bands(process, folder / "out.gpkg", 3)
    process.kill()
    process.communicate()
    assert recorded(folder / "out.gpkg") >= 3
    return folder


def refused(folder: Path, *arguments: object) -> tuple[int, str]:
    process = start(folder, *arguments)
    _, err = process.communicate(timeout=60)
    assert len(err.splitlines()) == 2, err
    return process.returncode, err


def test_other_options_are_refused_and_named_until_the_old_work_is_dropped(unfinished: Path) -> None:
    output = unfinished / "out.gpkg"
    before = recorded(output)
    code, err = refused(unfinished, "p.tif", "out.gpkg", "--threshold", 0.6)
    assert code == 78
    assert "threshold was 0.5, is 0.6" in err and "hint: --restart" in err
    assert recorded(output) == before
    summary = finish(unfinished, "p.tif", "out.gpkg", "--threshold", 0.6, "--restart")
    assert summary["bands_resumed"] == 0
    finish(unfinished, "p.tif", "other.gpkg", "--threshold", 0.6)
    assert content(output) == content(unfinished / "other.gpkg")


def test_a_raster_that_has_changed_is_refused(unfinished: Path) -> None:
    with rasterio.open(unfinished / "p.tif", "r+") as dataset:
        dataset.write(np.full((1, 50, 50), 0.9, np.float32), window=rasterio.windows.Window(0, 0, 50, 50))
    code, err = refused(unfinished, "p.tif", "out.gpkg")
    assert code == 78 and "input was" in err


def test_a_reader_that_leaves_ends_the_run_quietly(folder: Path) -> None:
    with subprocess.Popen(
        command("p.tif", "-", "-q", "--method", "raw"),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pipesize=4096,  # less than the layer
    ) as sending:
        assert sending.stdout is not None and sending.stderr is not None
        assert sending.stdout.read(1) == b"f"
        sending.stdout.close()
        assert (sending.stderr.read(), sending.wait(60)) == (b"", 141)


def test_a_stream_is_the_layer_and_its_summary_goes_to_stderr(folder: Path, expected: object) -> None:
    done = subprocess.run(command("p.tif", "-", "--json", "-q"), cwd=folder, check=True, capture_output=True)
    (folder / "out.fgb").write_bytes(done.stdout)
    summary = json.loads(done.stderr)
    assert (summary["output"], summary["bands"]) == ("-", BANDS)
    _, _, geometry, fields = pyogrio.raw.read(folder / "out.fgb")
    assert len(geometry) == summary["footprints"]
    by_id = np.argsort(fields[0])
    assert [bytes(geometry[at]) for at in by_id] == expected[0]  # type: ignore[index]


def test_a_stream_that_is_stopped_sends_nothing_and_promises_nothing(folder: Path) -> None:
    environment = os.environ | {"TMPDIR": str(folder)}
    process = subprocess.Popen(
        command("p.tif", "-", "-q", pause_s=PAUSE_S),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(folder.glob("buildmap-*/bands/[0-9]*.json")) and process.poll() is None:
        time.sleep(0.002)
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "")
    assert "interrupted after" in err and "nothing of it is kept" in err
    assert not list(folder.glob("buildmap-*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_folder_that_is_read_only_is_said(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o500)
    code, err = refused(folder, "p.tif", "closed/out.gpkg")
    assert code == 73 and "not writable" in err


@pytest.mark.parametrize("method", METHODS)
def test_noise_gives_no_invalid_footprint_and_no_overlap(tmp_path: Path, method: Method) -> None:
    noise = np.random.default_rng(2).integers(0, 2, (150, 150), np.uint8)
    raster = write_raster(tmp_path / "noise.tif", noise)
    settings = Outlining(method=method, min_area_m2=0, min_hole_m2=0)
    summary = vectorize(raster, tmp_path / "out.gpkg", settings)
    polygons = shapely.from_wkb(pyogrio.raw.read(tmp_path / "out.gpkg")[2])
    assert len(polygons) == summary.footprints > 1000
    assert shapely.is_valid(polygons).all()
    one, other = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    pairs = one < other
    shared_m2 = shapely.area(shapely.intersection(polygons[one[pairs]], polygons[other[pairs]]))
    assert shared_m2.max(initial=0) < 1e-5  # of pixels of 0.25
