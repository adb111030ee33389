import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from buildmap.vector.outlining import Outlining
from buildmap.vector.tracing.split import MAX_SPLIT_PX, MIN_SEED_PX, seed_score, split
from tests.unit.vector.outlines import component_at
from tests.unit.vector.tracing.test_flood import large_parts


def houses(groove: float = 0.6) -> NDArray[np.uint8]:
    """Draw three attached houses of 30 x 24 pixels as a network would: blurred, with a groove between."""
    body = np.zeros((50, 110))
    body[10:40, 10:94] = 1
    body[10:40, [37, 38, 65, 66]] -= groove
    return np.round(254 * ndimage.gaussian_filter(body, 1.5)).astype(np.uint8)


def test_attached_houses_are_split_at_the_groove() -> None:
    values = houses()
    component = component_at(values, 25, 20, 127)
    labels = split(values, component, seed_value=241)
    assert labels.dtype == np.int32
    assert ((labels > 0) == component).all()
    assert labels[25, [20, 50, 80]].tolist() == [1, 2, 3]
    changes = np.flatnonzero(np.diff(labels[25, 12:92])) + 13
    assert changes.tolist() == [38, 66]


def test_a_building_with_one_seed_is_one_label() -> None:
    values = houses(groove=0)
    component = component_at(values, 25, 20, 127)
    assert (split(values, component, seed_value=241) == component).all()


def test_a_building_without_seeds_is_one_label() -> None:
    values = np.full((6, 6), 130, np.uint8)
    assert (split(values, values > 0, seed_value=241) == 1).all()


def test_small_seeds_do_not_count() -> None:
    values = np.full((9, 30), 200, np.uint8)
    values[2:6, 2:7] = 250
    values[2:6, 20:25] = 250
    everywhere = np.ones_like(values, np.bool_)
    assert split(values, everywhere, seed_value=241).max() == 2
    values[2, 2] = 200
    assert split(values, everywhere, seed_value=241).max() == 1
    assert split(values, everywhere, seed_value=241, min_seed_px=MIN_SEED_PX - 1).max() == 2


def test_the_wall_between_plateaus_is_half_way() -> None:
    values = np.full((7, 21), 200, np.uint8)
    values[:, 0] = values[:, 20] = 250
    labels = split(values, np.ones_like(values, np.bool_), seed_value=241, min_seed_px=7)
    assert set((labels == 1).sum(1).tolist()) <= {10, 11}
    assert labels[:, :10].max() == 1
    assert labels[:, 11:].min() == 2


def test_every_pixel_has_a_label_and_every_label_is_connected_and_holds_its_seed() -> None:
    rng = np.random.default_rng(5)
    splits = 0
    for _ in range(40):
        field = ndimage.gaussian_filter(rng.standard_normal((60, 60)), rng.choice([0.8, 2]))
        values = np.clip(150 + 70 * field / field.std(), 0, 255).astype(np.uint8)
        row, col = np.argwhere((values > 150) & (values < 255))[0]
        component = component_at(values, row, col, 120)
        labels = split(values, component, seed_value=215, min_seed_px=3)
        assert ((labels > 0) == component).all()
        for label in range(1, labels.max() + 1):
            assert ndimage.label(labels == label)[1] == 1
        seeds = large_parts(component & (values >= 215), 3)
        if seeds.max() > 1:
            splits += 1
            assert (labels[seeds > 0] == seeds[seeds > 0]).all()
    assert splits > 20


def test_a_border_class_separates_what_the_body_does_not() -> None:
    values = houses(groove=0)
    component = component_at(values, 25, 20, 127)
    border = np.zeros_like(values)
    border[:, 49:53] = 200
    labels = split(values, component, seed_value=241, border=border)
    assert labels.max() == 2
    assert np.flatnonzero(np.diff(labels[25, 12:92])).tolist() == [51 - 13]
    border[:] = 255
    assert split(values, component, seed_value=241, border=border).max() == 1


def test_the_score_is_the_body_less_the_border() -> None:
    rng = np.random.default_rng(6)
    values, border = rng.integers(0, 256, (2, 40, 40)).astype(np.uint8)
    score = seed_score(values, border)
    share = np.where(border == 255, 1, 1 - border / 254)
    assert (score == np.floor(np.where(values == 255, 0, values) * share + 0.5 + 1e-9)).all()
    assert (seed_score(values) == np.where(values == 255, 0, values)).all()


def test_no_data_within_a_component_is_never_a_seed() -> None:
    values = np.full((9, 30), 200, np.uint8)
    values[2:6, 2:7] = 250
    values[2:6, 20:25] = 255
    assert split(values, np.ones_like(values, np.bool_), seed_value=241).max() == 1


def test_a_component_in_pieces_is_a_mistake_of_the_caller() -> None:
    values = np.full((5, 30), 250, np.uint8)
    values[:, 8:10] = 0
    values[:, 18:] = 200
    component = values > 0
    component[:, 20] = False
    with pytest.raises(ValueError, match="not 4-connected"):
        split(values, component, seed_value=241)


def test_pictures_of_different_shapes_are_a_mistake_of_the_caller() -> None:
    values = np.zeros((4, 5), np.uint8)
    with pytest.raises(ValueError, match="differ in shape"):
        split(values, np.ones((5, 4), np.bool_), seed_value=241)
    with pytest.raises(ValueError, match="differ in shape"):
        split(values, np.ones((4, 5), np.bool_), seed_value=241, border=values[1:])


def test_a_picture_that_would_not_fit_in_memory_is_a_mistake_of_the_caller() -> None:
    row = np.broadcast_to(np.uint8(0), (1, MAX_SPLIT_PX + 1))
    with pytest.raises(ValueError, match="too large to split"):
        split(row, row > 0, seed_value=241)


def test_the_defaults_are_those_measured() -> None:
    assert (Outlining().seed, Outlining().min_seed_px, MIN_SEED_PX) == (0.95, 20, 20)
