"""The block cache is bounded, but the user's setting wins."""

import os

import pytest

from buildmap.execution.memory import bound_block_cache


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
