"""Averages over models and symmetries are the means one gets by hand."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from buildmap.contract import ModelCard
from buildmap.errors import MismatchError
from buildmap.inference.devices import Tta
from buildmap.inference.ensemble import SYMMETRIES, Ensemble, join_cards, transform, transform_back
from buildmap.raster.blend import ONE
from tests.networks import make_card

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 255, (2, 3, 32, 48), np.uint8)


@dataclass
class Bright:
    """Brighter is likelier; `slant` makes what it says depend on where north is."""

    card: ModelCard
    slant: float = 0
    device: str = "cpu"
    lanes: int = 2
    batch: int = 1

    def probability(self, images: NDArray[np.generic]) -> NDArray[np.float32]:
        rows, cols = images.shape[2:]
        assert rows % self.card.stride == cols % self.card.stride == 0
        field = np.arange(rows)[:, None] * cols + np.arange(cols) ** 2
        mean = images.mean(1) / 255
        return (mean * (1 - self.slant * field / field.max())).astype(np.float32)

    def contributions(
        self, images: NDArray[np.generic], cut: tuple[slice, slice], weights: NDArray[np.float32]
    ) -> NDArray[np.uint16]:
        raise NotImplementedError


@pytest.mark.parametrize("tta", ["none", "flips", "d4"])
def test_a_network_that_knows_no_north_gives_the_same_with_and_without_symmetries(tta: Tta) -> None:
    backend = Bright(make_card())
    found = Ensemble((backend,), tta=tta).probability(IMAGES)
    np.testing.assert_allclose(found, backend.probability(IMAGES), atol=1e-6)
    assert found.dtype == np.float32


def test_a_network_that_knows_north_gives_the_mean_of_its_eight_views() -> None:
    backend = Bright(make_card(), slant=0.8)

    def view(turn: int, flip: bool) -> NDArray[np.float32]:
        seen = np.rot90(IMAGES, turn, (2, 3))
        if flip:
            seen = np.flip(seen, 3)
        found = backend.probability(np.ascontiguousarray(seen))
        if flip:
            found = np.flip(found, 2)
        return np.rot90(found, 4 - turn, (1, 2))

    eight = np.mean([view(turn, flip) for turn in range(4) for flip in (False, True)], axis=0)
    np.testing.assert_allclose(Ensemble((backend,), tta="d4").probability(IMAGES), eight, atol=1e-6)
    assert np.abs(eight - backend.probability(IMAGES)).max() > 0.1
    up_down = np.flip(backend.probability(np.ascontiguousarray(np.flip(IMAGES, 2))), 1)
    four = np.mean([view(0, False), view(0, True), up_down, view(2, False)], axis=0)
    np.testing.assert_allclose(Ensemble((backend,), tta="flips").probability(IMAGES), four, atol=1e-6)


@pytest.mark.parametrize("symmetry", SYMMETRIES["d4"])
def test_every_symmetry_is_undone(symmetry: tuple[int, bool]) -> None:
    image = RNG.random((2, 5, 7)).astype(np.float32)
    np.testing.assert_array_equal(transform_back(transform(image, *symmetry), *symmetry), image)


def test_the_eight_symmetries_differ() -> None:
    image = np.arange(9).reshape(3, 3)
    assert len({transform(image, *symmetry).tobytes() for symmetry in SYMMETRIES["d4"]}) == 8


def test_two_models_give_their_mean_and_the_slower_lanes() -> None:
    one, other = Bright(make_card(), batch=4), Bright(make_card(), slant=0.5, lanes=1, device="cuda:0")
    both = Ensemble((one, other))
    expected = (one.probability(IMAGES) + other.probability(IMAGES)) / 2
    np.testing.assert_allclose(both.probability(IMAGES), expected, atol=1e-6)
    assert (both.lanes, both.batch, both.device) == (1, 1, "cpu + cuda:0")


@dataclass
class Finer(Bright):
    """The same, each pixel three times in a row and a column; the slant goes on inside them."""

    def probability(self, images: NDArray[np.generic]) -> NDArray[np.float32]:
        return super().probability(images.repeat(3, axis=2).repeat(3, axis=3))


def test_symmetries_of_a_finer_network_are_undone_in_its_own_pixels() -> None:
    backend = Finer(make_card(scale=3), slant=0.8)
    found = Ensemble((backend, backend), tta="d4").probability(IMAGES)
    fine = IMAGES.repeat(3, axis=2).repeat(3, axis=3)
    expected = Ensemble((Bright(make_card(), slant=0.8),), tta="d4").probability(fine)
    assert found.shape == (2, 96, 144)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_contributions_are_the_weighted_mean_of_the_part_that_is_cut_out() -> None:
    both = Ensemble((Bright(make_card()), Bright(make_card(), slant=0.5)), tta="flips")
    cut = (slice(2, 30), slice(5, 45))
    weights = RNG.random((28, 40)).astype(np.float32)
    found = both.contributions(IMAGES, cut, weights)
    assert found.dtype == np.uint16
    expected = both.probability(IMAGES)[:, 2:30, 5:45] * weights * ONE
    assert ((expected - found > -0.01) & (expected - found < 1.01)).all()  # rounded down


def test_the_card_of_several_serves_them_all() -> None:
    first = make_card(stride=16, window_px=128, halo_px=32, threshold=0.4, fingerprint="a" * 16)
    data = replace(first.data, gsd_min_m=0.4, gsd_max_m=0.9)
    second = make_card(
        title="other", data=data, stride=24, window_px=144, halo_px=48, threshold=0.6, fingerprint="b" * 16
    )
    card = join_cards([first, second])
    assert card.stride == 48
    assert (card.window_px, card.halo_px) == (144, 48)
    assert (card.data.gsd_min_m, card.data.gsd_max_m) == (0.4, 0.6)
    assert card.threshold == pytest.approx(0.5)
    assert card.title == "bright is building + other"
    assert card.license == "CC0-1.0"
    assert card.fingerprint not in {first.fingerprint, second.fingerprint}
    assert card.fingerprint != join_cards([second, first]).fingerprint
    assert join_cards([first, second]) == card


def test_a_window_always_keeps_a_core() -> None:
    card = join_cards([make_card(stride=16, halo_px=48), make_card(stride=40, window_px=120, halo_px=40)])
    assert card.stride == 80
    assert card.core_px >= 80


def test_symmetries_leave_the_card_as_it_is() -> None:
    assert Ensemble((Bright(make_card()),), tta="d4").card == make_card()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"bands": (1, 2), "mean": (0, 0), "std": (1, 1)}, r"bands \(1, 2, 3\), 'other' has \(1, 2\)"),
        ({"dtype": "uint16"}, "dtype uint8, 'other' has uint16"),
        ({"gsd_min_m": 1.0, "gsd_max_m": 2.0}, r"'other' works from 1.0 m, .* up to 0.6 m"),
    ],
)
def test_models_that_see_different_images_are_not_averaged(changes: dict[str, object], told: str) -> None:
    other = make_card(title="other", data=replace(make_card().data, **changes))
    with pytest.raises(MismatchError, match=told):
        Ensemble((Bright(make_card()), Bright(other)))


def test_models_of_another_scale_are_not_averaged() -> None:
    with pytest.raises(MismatchError, match="scale 1, 'bright is building' has 4"):
        join_cards([make_card(), make_card(scale=4)])
