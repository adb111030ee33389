"""What holds for every test: the caller's environment stays outside, small networks take one thread."""

import logging
import os
from collections.abc import Iterator

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("buildmap", deadline=None)
hypothesis.settings.load_profile("buildmap")

_MOST_PROCESSES = 4


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("BUILDMAP_")]:
        monkeypatch.delenv(name)
    logger = logging.getLogger("buildmap")
    handlers, level, propagate = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    """Let processes that tests start take one thread, too: there are as many tests as cores."""
    if config.option.markexpr == "not benchmark":
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Share the plain run out among the cores; what is measured has the machine to itself."""
    if config.option.markexpr == "not benchmark":
        return min(os.cpu_count() or 1, _MOST_PROCESSES)
    config.option.dist = "no"
    return 0
