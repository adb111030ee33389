"""What holds for every test: the caller's environment stays outside, small networks take one thread."""

import logging
import os
from collections.abc import Iterator

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("buildmap", deadline=None)
hypothesis.settings.load_profile("buildmap")


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
