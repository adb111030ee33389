"""Memory: the block cache is bounded, but the user's setting wins; what is freed goes back."""

import os
import subprocess
import sys

import numpy as np
import pytest

from buildmap.execution.memory import bound_block_cache, resident_bytes


def test_the_cache_is_as_large_as_asked_but_not_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GDAL_CACHEMAX", raising=False)
    bound_block_cache(1)
    assert os.environ["GDAL_CACHEMAX"] == "16"
    monkeypatch.delenv("GDAL_CACHEMAX")
    bound_block_cache(300 * 2**20)
    assert os.environ["GDAL_CACHEMAX"] == "300"


def test_the_users_setting_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDAL_CACHEMAX", "17")
    bound_block_cache(300 * 2**20)
    assert os.environ["GDAL_CACHEMAX"] == "17"


def test_what_this_process_holds_is_told() -> None:
    before = resident_bytes()
    held = np.ones(2**27, np.uint8)
    assert 2**26 < resident_bytes() - before < 2**28
    del held


PROGRAM = """
import sys
import numpy as np
from buildmap.execution.memory import release_unused, resident_bytes
pieces = [np.ones(20_000, np.uint8) for _ in range(10_000)]
last = np.ones(20_000, np.uint8)
del pieces
before = resident_bytes()
release_unused()
print(before - resident_bytes())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_what_was_freed_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 10**8
