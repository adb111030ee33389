"""What the paper says of HR-Mamba's network and training, sections 2 and 3 and table 2: held against ours."""

from dataclasses import replace
from functools import cache

import pytest

from buildmap.preset import find_preset
from tests.counting import NetworkCost, count_cost

PARTS = ("canny_median", "involution", "global_branch")


@cache
def cost(*parts: str, side_px: int = 500) -> NetworkCost:
    model = replace(find_preset("hr-mamba").model, **{part: None for part in PARTS if part not in parts})
    return count_cost(model, bands=3, side_px=side_px)


@pytest.fixture(scope="module")
def hrnet() -> NetworkCost:
    return cost()


def test_without_its_parts_it_costs_what_hrnet_costs(hrnet: NetworkCost) -> None:
    """An image of 500 is seen as one of 512; the paper's trunk is larger by a head it does not describe."""
    assert hrnet == count_cost(find_preset("hrnet-w48").model, bands=3, side_px=512)
    paper_parameters, one_more_mixing = 66.37e6, 720 * 720 + 720 + 2 * 720
    assert hrnet.parameters + one_more_mixing == pytest.approx(paper_parameters, abs=5000)


def test_the_stem_leaves_parameters_as_they_are_and_adds_next_to_no_work(hrnet: NetworkCost) -> None:
    """Table 2: unchanged, +0.01 %."""
    stem = cost("canny_median")
    conv, normalization, enhance, reduce = 3 * 4 * 9, 2 * 4, 4 * 4 * 9 + 4, 4 * 3 + 3
    assert stem.parameters - hrnet.parameters == conv + normalization + enhance + reduce == 279
    assert 0 < stem.multiply_adds / hrnet.multiply_adds - 1 < 0.0011


def test_involutions_save_the_paper_s_share_of_parameters_and_work(hrnet: NetworkCost) -> None:
    """Table 2: -0.19 % and -2.30 %, 128,952 parameters; ours save 952 more."""
    involution = cost("involution")
    saved = hrnet.parameters - involution.parameters
    made = 64 * 16 + 2 * 16 + 16 * 49 * 4 + 49 * 4  # reduced, normalized, spanned
    assert saved == 4 * (64 * 64 * 9 - made) == 128_952 + 952
    assert saved / hrnet.parameters == pytest.approx(0.0019, abs=0.0001)
    assert 1 - involution.multiply_adds / hrnet.multiply_adds == pytest.approx(0.0230, abs=0.00005)


def test_the_branch_is_the_paper_s_widened_to_the_channels_of_stage_3(hrnet: NetworkCost) -> None:
    """The paper's 156,912 parameters are those at 256 channels; W48 has 336 there."""
    widened = {channels: 2 * channels * 80 + channels**2 + 6 * channels for channels in (256, 336)}
    block = 156_912 - widened[256] - 80
    fusion = 1
    branch = cost("global_branch", side_px=96)  # as many at any size
    assert branch.parameters - hrnet.parameters == widened[336] + 80 + block + fusion == 217_553


def test_all_parts_together_cost_what_they_cost_alone() -> None:
    none, *alone = (cost(*parts, side_px=96) for parts in ((), *zip(PARTS, strict=True)))
    together = cost(*PARTS, side_px=96)
    for what in ("parameters", "multiply_adds"):
        base = getattr(none, what)
        assert getattr(together, what) - base == sum(getattr(one, what) - base for one in alone)


def test_it_is_trained_as_the_paper_says() -> None:
    """Sections 2.5, 3.1 and 3.2."""
    preset = find_preset("hr-mamba")
    loss, training = preset.loss, preset.training
    assert (loss.bce, loss.dice, loss.boundary_distance, loss.normalized) == (0.5, 0.4, 0.1, True)
    assert (training.optimizer, training.learning_rate) == ("adam", 1e-4)
    assert (training.batch_size, training.epochs, training.chip_px) == (16, 100, 500)
    assert training.patience_epochs is None
