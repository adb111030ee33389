"""A disk that is full, or a file that may grow no further: said as such, and what was done is kept."""

import json
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildmap.publish import workspace
from tests.faults.injection import TRAINING, VERBS, command, content, output_of, run, run_with, write_scene

OLD = b"the old output"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scene(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("verb", "file", "write", "kept", "said"),
    [
        ("predict", "strips/000002.tmp", 1, "strips", ".*000002.tif is damaged"),
        ("predict", "o.tif", 4, "strips", "cannot write .*o.tif: TIFFRead"),
        ("vectorize", "bands/000000.tmp", 1, None, "disk full: .* MB free on /"),
        ("vectorize", "part.gpkg", 10, "bands", "cannot write .*v.gpkg: "),
        ("change", "part.gpkg", 10, None, "cannot write .*c.gpkg: "),
    ],
    ids=["part", "raster", "spool", "layer", "changes"],
)
def test_a_full_disk_is_said_and_what_is_done_is_kept(
    verb: str, file: str, write: int, kept: str | None, said: str
) -> None:
    arguments = [*VERBS[verb], "--overwrite"]
    output = output_of(arguments).resolve()
    output.write_bytes(OLD)
    code, err = run_with(f"error=ENOSPC:when={write}+", workspace(output) / file, arguments)
    assert code == 74, err
    told = err.splitlines()[-2:]  # above, libtiff may have said something of its own
    assert told[0].startswith("error: ") and told[1].startswith(" hint: "), err
    assert re.match(f"error: {said}", told[0]), err  # there is room: it goes by what GDAL lets through
    assert "Traceback" not in err
    assert output.read_bytes() == OLD
    code, out, err = run(*arguments, "--json", "-q")
    assert code == 0, err
    if kept is not None:
        assert json.loads(out)[f"{kept}_resumed"] > 0
    assert content(output) != OLD


def test_a_checkpoint_that_does_not_fit_leaves_the_old_model() -> None:
    Path("t.safetensors").write_bytes(OLD)
    done = subprocess.run(
        command(*TRAINING, "--overwrite"),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)),
    )
    assert done.returncode == 74, done.stderr
    assert "File too large" in done.stderr
    assert " MB are free on " in done.stderr
    assert Path("t.safetensors").read_bytes() == OLD


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Lend a file system of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here: that takes root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    ("verb", "free_kb", "old", "kept", "needs"),
    [
        ("predict", 64, True, "strips", True),
        ("predict-layer", 192, False, "strips", False),
        ("vectorize", 96, True, "bands", False),
        ("change", 96, False, None, False),
    ],
)
def test_a_small_disk_that_fills_up_keeps_what_was_and_what_is_done(
    small_disk: Path, verb: str, free_kb: int, old: bool, kept: str | None, needs: bool
) -> None:
    usual = VERBS[verb]
    output = small_disk / output_of(usual)
    arguments = [str(output) if part == output.name else part for part in usual] + ["-q", "--overwrite"]
    code, _, err = run(*usual, "-q")
    assert code == 0, err
    if old:
        output.write_bytes(OLD)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - 1024 * free_kb))
    code, out, err = run(*arguments)
    assert (code, out) == (74, ""), err
    assert re.match(rf"error: disk full: \d+ kB free on {small_disk}[ ,]", err), err
    assert (", needs about " in err) == needs
    assert (err.count("\n"), err.count("\n hint: ")) == (2, 1)
    assert output.read_bytes() == OLD if old else not output.exists()
    ballast.unlink()
    code, out, err = run(*arguments, "--json")
    assert code == 0, err
    assert kept is None or json.loads(out)[f"{kept}_resumed"] > 0
    assert content(output) == content(Path(output.name))
    assert list(small_disk.iterdir()) == [output]
