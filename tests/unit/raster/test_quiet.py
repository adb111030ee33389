"""The one warning that is silenced, also when many threads do it."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from buildmap.raster.burn import burn
from buildmap.raster.quiet import unreferenced_is_fine


def test_only_this_warning_is_silenced_and_only_inside() -> None:
    with unreferenced_is_fine():
        warnings.warn("no transform", NotGeoreferencedWarning, stacklevel=1)
        with pytest.raises(UserWarning, match="something else"):
            warnings.warn("something else", UserWarning, stacklevel=1)
    with pytest.raises(NotGeoreferencedWarning):
        warnings.warn("no transform", NotGeoreferencedWarning, stacklevel=1)


def test_threads_that_draw_leave_the_filters_as_they_were() -> None:
    before = list(warnings.filters)
    square = np.array([shapely.box(2, 2, 5, 5)])
    with ThreadPoolExecutor(8) as pool:
        drawn = pool.map(
            lambda _: burn(square, transform=Affine.identity(), height=9, width=9).sum(), range(4000)
        )
        assert set(drawn) == {9}
    assert list(warnings.filters) == before
