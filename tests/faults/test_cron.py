"""As cron starts it: no HOME, no terminal, no stdin, the C locale, and standard streams in ASCII."""

import json
import subprocess
import sys
from pathlib import Path

from tests.faults.injection import write_scene


def test_a_bare_environment_is_enough_for_any_name(tmp_path: Path) -> None:
    write_scene(tmp_path, side=64)
    (tmp_path / "in.tif").rename(tmp_path / "建物.tif")
    done = subprocess.run(
        [sys.executable, "-m", "buildmap", "predict", "建物.tif", "ü.gpkg", "--model", "m.onnx", "--json"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["footprints"] > 0
    assert (tmp_path / "ü.gpkg").exists()
    assert b"Traceback" not in done.stderr
