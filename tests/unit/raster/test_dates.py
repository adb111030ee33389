"""When imagery was taken."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from buildmap.raster.dates import tags_of
from buildmap.raster.reader import RasterReader
from tests.scenes import write_raster


def tagged(path: Path, **namespaces: dict[str, str]) -> Path:
    write_raster(path, np.zeros((4, 4), np.uint8))
    with rasterio.open(path, "r+") as dataset:
        for namespace, tags in namespaces.items():
            dataset.update_tags(**({} if namespace == "default" else {"ns": namespace}), **tags)
    return path


@pytest.mark.parametrize(
    ("namespaces", "date"),
    [
        ({}, None),
        ({"default": {"TIFFTAG_DATETIME": "2024:05:31 10:20:30"}}, "2024-05-31"),
        ({"default": {"TIFFTAG_DATETIME": "last summer"}}, None),
        ({"IMAGERY": {"ACQUISITIONDATETIME": "2023-02-01 08:00:00"}}, "2023-02-01"),
        (
            {
                "IMAGERY": {"ACQUISITIONDATETIME": "2023-02-01T08:00:00"},
                "default": {"TIFFTAG_DATETIME": "2024:05:31 10:20:30"},
            },
            "2023-02-01",
        ),
    ],
)
def test_the_date_is_what_the_metadata_say(
    tmp_path: Path, namespaces: dict[str, dict[str, str]], date: str | None
) -> None:
    with RasterReader(tagged(tmp_path / "image.tif", **namespaces)) as reader:
        assert reader.date == date


def test_a_raster_made_from_imagery_can_tell_its_date(tmp_path: Path) -> None:
    derived = tagged(tmp_path / "probability.tif", default=tags_of("2024-05-31"))
    with RasterReader(derived) as reader:
        assert reader.date == "2024-05-31"
    assert tags_of(None) == {}
