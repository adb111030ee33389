"""A disk that is full, or a file that may grow no further: said as such, and what was done is kept."""

import json
import resource
import subprocess
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
    ("verb", "file", "write", "kept"),
    [
        ("predict", "strips/000002.tmp", 1, "strips"),
        ("predict", "o.tif", 4, "strips"),
        ("vectorize", "bands/000000.tmp", 1, None),
        ("vectorize", "part.gpkg", 10, "bands"),
        ("change", "part.gpkg", 10, None),
    ],
    ids=["part", "raster", "spool", "layer", "changes"],
)
def test_a_full_disk_is_said_and_what_is_done_is_kept(
    verb: str, file: str, write: int, kept: str | None
) -> None:
    arguments = [*VERBS[verb], "--overwrite"]
    output = output_of(arguments).resolve()
    output.write_bytes(OLD)
    code, err = run_with(f"error=ENOSPC:when={write}+", workspace(output) / file, arguments)
    assert code == 74, err
    told = err.splitlines()[-2:]  # above, libtiff may have said something of its own
    assert told[0].startswith("error: ") and told[1].startswith(" hint: "), err
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
    assert " MB are free in " in done.stderr
    assert Path("t.safetensors").read_bytes() == OLD
