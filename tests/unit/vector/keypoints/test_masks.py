"""Outlines of many small masks."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rasterio import features

from buildmap.vector.keypoints import masks as masks_module
from buildmap.vector.keypoints.masks import mask_outlines


def largest_piece(mask: np.ndarray, corner: np.ndarray) -> set[bytes]:
    """Give those of the pieces that GDAL finds that have the most pixels."""
    pieces = [
        shapely.geometry.shape(ring)
        for ring, value in features.shapes(mask.astype(np.uint8), connectivity=4)
        if value
    ]
    most = max((piece.area for piece in pieces), default=0)
    moved = [shapely.transform(piece, lambda xy: xy + corner) for piece in pieces if piece.area == most]
    return {shapely.normalize(piece).wkb for piece in moved}


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 60, 2**22]))
def test_each_outline_is_that_of_the_largest_piece_that_gdal_finds(seed: int, strip_px: int) -> None:
    rng = np.random.default_rng(seed)
    masks = [rng.random(rng.integers(1, 12, 2)) < rng.choice([0.1, 0.6, 0.8, 1.0]) for _ in range(9)]
    corners = rng.integers(0, 100_000, (9, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks_module, "_STRIP_PX", strip_px)
        found = mask_outlines(masks, corners)
    for mask, corner, outline in zip(masks, corners, found, strict=True):
        expected = largest_piece(mask, corner)
        assert (outline is None) == (not expected)
        if outline is not None:
            assert outline.is_valid
            assert shapely.normalize(outline).wkb in expected


def test_no_masks_have_no_outlines() -> None:
    assert mask_outlines([], np.empty((0, 2), np.int64)).tolist() == []


def test_of_pieces_of_one_size_the_one_that_ends_first_stays() -> None:
    mask = np.array([[0, 1, 0, 0], [1, 0, 0, 1], [0, 0, 0, 1], [1, 1, 0, 0]], bool)
    (outline,) = mask_outlines([mask], np.array([[10, 20]]))
    assert outline.equals(shapely.box(13, 21, 14, 23))
