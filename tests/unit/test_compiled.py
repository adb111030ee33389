import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core.errors import NumbaError
from numpy.typing import NDArray

from buildmap.compiled import compiled, inlined, uncounted


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


@uncounted
def count_up(values: NDArray[np.float64]) -> int:
    for place in range(values.shape[0]):
        values[place] = place
    return int(values.shape[0])


def test_an_uncounted_loop_works_on_the_arrays_it_is_given() -> None:
    values = np.full(50, np.nan)
    assert count_up(values) == 50
    assert values.tolist() == list(range(50))
    assert sys.getrefcount(values) == 2


def test_an_uncounted_function_that_makes_an_array_does_not_compile() -> None:
    @uncounted
    def make(count: int) -> NDArray[np.float64]:
        return np.empty(count)

    with pytest.raises(NumbaError):
        make(3)
