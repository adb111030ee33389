import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled, inlined


@inlined
def square(number: float) -> float:
    return number * number


@compiled
def sum_of_squares(values: NDArray[np.float64]) -> float:
    total = 0.0
    for value in values:
        total += square(value)
    return total


def test_a_compiled_loop_gives_what_python_gives() -> None:
    values = np.arange(100) / 7
    python = sum_of_squares.py_func(values)  # type: ignore[attr-defined]
    assert sum_of_squares(values) == python > 1


def test_nothing_is_kept_where_there_is_no_place_for_it(tmp_path: Path) -> None:
    package = tmp_path / "buildmap"
    package.mkdir()
    source = Path("buildmap/compiled.py").read_text(encoding="utf-8")
    (package / "compiled.py").write_text(source, encoding="utf-8")
    (package / "__pycache__").touch()  # a file where a folder would have to be
    code = "import compiled; print(compiled._CACHE, compiled.compiled(lambda x: x + 1)(1))"
    environment = {"PATH": os.environ["PATH"], "HOME": "/dev/null", "NUMBA_CACHE_DIR": ""}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=package,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "2"]
