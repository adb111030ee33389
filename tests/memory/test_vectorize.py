"""Memory of vectorizing follows the width of a raster and not its height; measured, not believed."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.benchmark

SCRIPT = """
import resource, sys
import numpy as np
from affine import Affine
from buildmap.vector.footprint import footprints
from buildmap.vector.outlining import Outlining

def strips(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        strip = np.zeros((128, 2048), np.uint8)
        for row, col in zip(rng.integers(0, 110, 700), rng.integers(0, 2030, 700)):
            strip[row:row + 15, col:col + 15] = 200
        strip[:, 1000:1003] = 254
        strip[64, :] = 0
        yield strip

def peak_kib(count):
    transform, settings = Affine(0.5, 0, 400000, 0, -0.5, 5000000), Outlining(threshold=0.5, simplify_m=0)
    found = sum(map(len, footprints(strips(count), transform=transform, crs="EPSG:32633", settings=settings)))
    return found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

peak_kib(20)
few, low = peak_kib(30)
many, high = peak_kib(120)
print(few, low, many, high)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is asked of POSIX")
def test_a_raster_four_times_as_tall_needs_no_more_memory() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    few, low_kib, many, high_kib = map(int, done.stdout.split())
    assert many > 3.5 * few > 1000
    assert high_kib - low_kib < 8 * 1024
