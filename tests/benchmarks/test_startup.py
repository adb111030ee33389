"""Help and completion feel instant: CPU time beyond the interpreter's own start."""

import os
import resource
import statistics
import subprocess
import sys

import pytest

BUILDMAP = ["-m", "buildmap"]
TAB = {"_BUILDMAP_COMPLETE": "complete_bash", "COMP_WORDS": "buildmap predict --", "COMP_CWORD": "2"}


def _cpu_ms(arguments: list[str], environment: dict[str, str]) -> float:
    """Give the median CPU time of ten runs, user and system."""
    times = []
    for _ in range(10):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, *arguments], env=os.environ | environment, stdout=subprocess.DEVNULL, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return 1000 * statistics.median(times)


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("arguments", "environment"),
    [(["--help"], {}), (["predict", "--help"], {}), (["--version"], {}), ([], TAB)],
    ids=["help", "verb-help", "version", "tab"],
)
def test_it_takes_at_most_150_ms_of_cpu(arguments: list[str], environment: dict[str, str]) -> None:
    ours = _cpu_ms([*BUILDMAP, *arguments], environment) - _cpu_ms(["-c", "pass"], {})
    print(f"{ours:.0f} ms")
    assert ours <= 150
