"""Runs steps without end, to be killed: KIND FOLDER."""

import sys
from functools import partial
from pathlib import Path

from buildmap.execution.executor import Executor, Processes
from tests.unit.execution.tasks import linger


def _executor(kind: str) -> Executor:
    if kind == "processes":
        return Processes(workers=2, ahead=2)
    from buildmap.execution.cluster import Cluster  # noqa: PLC0415  takes a second to import

    return Cluster(address="local", workers=2)


if __name__ == "__main__":
    for _ in _executor(sys.argv[1]).run(partial(linger, Path(sys.argv[2])), range(10**6), stop=lambda: False):
        pass
