"""SIGTERM and Ctrl-C in the middle of a prediction: the strip in hand is kept, the same command goes on."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from buildmap.publish import workspace
from tests.networks import write_onnx
from tests.scenes import write_raster


@pytest.mark.parametrize(("number", "code", "workers"), [(signal.SIGTERM, 143, 1), (signal.SIGINT, 130, 2)])
def test_a_signal_ends_the_run_well(tmp_path: Path, number: int, code: int, workers: int) -> None:
    write_onnx(tmp_path / "m.onnx", kernel_px=15)
    pixels = np.random.default_rng(0).integers(0, 255, (3, 3200, 640), np.uint8)
    write_raster(tmp_path / "in.tif", pixels)
    output = tmp_path / "o.tif"
    command = [sys.executable, "-m", "buildmap", "predict", "in.tif", "o.tif", "--model", "m.onnx", "--json"]
    command += ["--workers", str(workers)]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    records = workspace(output) / "strips"
    while process.poll() is None and len(list(records.glob("[0-9]*.json"))) < 3:
        time.sleep(0.005)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert out == ""
    done = int(err.split("interrupted after ")[1].split("/49 strips")[0])
    assert 3 <= done < 49
    assert "hint: run the same command again to resume" in err
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    summary = json.loads(again.stdout)
    assert (summary["strips"], summary["strips_resumed"]) == (49, done)
    assert not workspace(output).exists()
