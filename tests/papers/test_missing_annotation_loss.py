"""What Kang et al. (2022) say of their losses, equations 1 to 5 and Table I, each held against the code."""

import math

import pytest
import torch
from torch import Tensor

from buildmap.losses.boundary_alignment import BoundaryAlignment
from buildmap.losses.dice import Dice
from buildmap.losses.logit_adjusted import LogitAdjustedCrossEntropy
from buildmap.losses.weighted_dice import WeightedDice
from buildmap.losses.weighted_sum import build_loss
from buildmap.preset import LOSSES, Loss
from tests.unit.losses import oracles

TABLE_I = {
    "CE": ("bce",),
    "Dice": ("dice",),
    "NR-Dice": ("nr_dice",),
    "CE Dice": ("bce", "dice"),
    "ELL": ("ell",),
    "WDice": ("wdice",),
    "BD Dice": ("boundary_alignment", "dice"),
    "BD WDice": ("boundary_alignment", "wdice"),
    "LACE": ("lace",),
    "LACE WDice": ("lace", "wdice"),
    "BD LACE WDice": ("boundary_alignment", "lace", "wdice"),
}
PARTS = ("bce", "dice", "nr_dice", "ell", "wdice", "lace", "boundary_alignment")
PI_RARE, PI_COMMON, TAU = 0.1, 0.9, 1.0
BUILDING_SHARE = 0.0333
"""Figure 2a: building pixels of the Massachusetts set when 90 % of the annotations are missing."""


@pytest.fixture
def scene() -> tuple[Tensor, Tensor, Tensor]:
    """Logits (2, 1, 12, 12), target with one building each, all valid."""
    logits = 2 * torch.randn(2, 1, 12, 12, generator=torch.Generator().manual_seed(7))
    target = torch.zeros(2, 12, 12)
    target[0, 2:7, 3:9] = target[1, 6:11, 1:5] = 1
    return logits, target, torch.ones_like(target, dtype=torch.bool)


def sparse() -> tuple[Tensor, Tensor]:
    """Give a target with as few building pixels as 90 % missing annotations leave, and valid."""
    target = torch.zeros(1, 100, 100)
    target.view(-1)[: round(BUILDING_SHARE * 10_000)] = 1
    return target, torch.ones_like(target, dtype=torch.bool)


def test_equation_1_in_its_first_form_a_softmax_of_adjusted_scores(
    scene: tuple[Tensor, Tensor, Tensor],
) -> None:
    logits, target, _ = scene
    adjusted = (TAU * math.log(PI_COMMON) + 0 * logits, TAU * math.log(PI_RARE) + logits)
    exponentials = torch.cat(adjusted, 1).double().exp()
    truth = torch.stack((1 - target, target), 1).double()
    expected = -((exponentials * truth).sum(1) / exponentials.sum(1)).log().mean()
    assert LogitAdjustedCrossEntropy(PI_RARE, TAU)(*scene).item() == pytest.approx(expected.item(), rel=1e-5)


def test_equation_1_in_its_second_form_pairwise_margins(scene: tuple[Tensor, Tensor, Tensor]) -> None:
    expected = oracles.pairwise_logit_adjusted(*scene, PI_RARE, TAU)
    assert LogitAdjustedCrossEntropy(PI_RARE, TAU)(*scene).item() == pytest.approx(expected, rel=1e-5)


def test_the_margin_between_the_classes_is_the_logarithm_of_their_priors_ratio() -> None:
    """Where a building's score leads by log(pi_0 / pi_1), the loss is that of plain cross-entropy at 0."""
    valid, margin = torch.ones(1, 1, 1, dtype=torch.bool), math.log(PI_COMMON / PI_RARE)
    loss = LogitAdjustedCrossEntropy(PI_RARE, TAU)
    for truth in (0.0, 1.0):
        at_margin = loss(torch.full((1, 1, 1, 1), margin), torch.full((1, 1, 1), truth), valid)
        assert at_margin.item() == pytest.approx(math.log(2), rel=1e-6)


@pytest.mark.parametrize(
    ("prior", "shares_of_the_log_odds"), [(BUILDING_SHARE, 0), (0.5, 1), (1 - BUILDING_SHARE, 2)]
)
def test_equation_1_keeps_the_rare_class_only_with_building_as_the_rare_prior(
    prior: float, shares_of_the_log_odds: int
) -> None:
    """The score at which a network rests that sees nothing but how rare buildings are.

    With true priors it is undecided. Cross-entropy takes it to the common class, and the order of section
    III-A, 0.9 for building, would take it there twice as far.
    """
    target, valid = sparse()
    logit = torch.tensor(shares_of_the_log_odds * math.log(BUILDING_SHARE / (1 - BUILDING_SHARE)))
    logit.requires_grad_()
    loss = LogitAdjustedCrossEntropy(prior, TAU)(logit.expand(1, 1, 100, 100), target, valid)
    loss.backward()
    assert logit.grad is not None
    assert logit.grad.item() == pytest.approx(0, abs=1e-4)


def test_equation_2_counts_true_and_false_pixels(scene: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, target, valid = scene
    predicted, truth = logits[:, 0] > 0, target.bool()
    tp = int((predicted & truth).sum())
    fp, fn = int((predicted & ~truth).sum()), int((~predicted & truth).sum())
    assert min(tp, fp, fn) > 0
    sure = 1000 * logits.sign()
    assert Dice()(sure, target, valid).item() == pytest.approx(1 - 2 * tp / (2 * tp + fn + fp), rel=1e-5)


def test_equation_3_weighs_classes_as_section_3a_says_building_nine_tenths(
    scene: tuple[Tensor, Tensor, Tensor],
) -> None:
    expected = 0.9 * oracles.dice(*scene) + 0.1 * oracles.dice(-scene[0], 1 - scene[1], scene[2])
    assert build_loss(LOSSES["wdice"])(*scene).item() == pytest.approx(expected, rel=1e-5)


def test_equation_3_keeps_the_rare_class_only_with_building_as_the_heavy_one() -> None:
    """Mapping nothing costs nearly all there is to lose; with the weights exchanged, next to nothing."""
    target, valid = sparse()
    nothing = torch.full((1, 1, 100, 100), -100.0)
    assert WeightedDice(PI_RARE)(nothing, target, valid).item() == pytest.approx(0.902, abs=1e-3)
    assert WeightedDice(PI_COMMON)(nothing, target, valid).item() == pytest.approx(0.115, abs=1e-3)


def test_equation_4_sums_both_classes_boundaries(scene: tuple[Tensor, Tensor, Tensor]) -> None:
    expected = oracles.boundary_alignment(*scene, 3, 5)
    assert BoundaryAlignment(3, 5)(*scene).item() == pytest.approx(expected, rel=1e-5)
    nothing = torch.full_like(scene[0], -100.0)
    assert BoundaryAlignment(3, 5)(nothing, *scene[1:]).item() == 2


def test_equation_5_is_the_plain_sum_of_the_three(scene: tuple[Tensor, Tensor, Tensor]) -> None:
    expected = (
        oracles.boundary_alignment(*scene)
        + oracles.weighted_dice(*scene)
        + oracles.pairwise_logit_adjusted(*scene)
    )
    assert build_loss(LOSSES["bd+lace+wdice"])(*scene).item() == pytest.approx(expected, rel=1e-5)


def test_table_1_names_these_eleven_in_this_order() -> None:
    assert [name.lower().replace(" ", "+") for name in TABLE_I] == list(LOSSES)
    for ours, parts in zip(LOSSES.values(), TABLE_I.values(), strict=True):
        weights = {part: getattr(ours, part) for part in PARTS}
        assert weights == {part: float(part in parts) for part in PARTS}


def test_the_losses_of_table_1_have_the_papers_settings() -> None:
    for loss in LOSSES.values():
        assert (loss.building_prior, loss.temperature, loss.noise_exponent) == (PI_RARE, TAU, 1.5)
        assert (loss.boundary_px, loss.tolerance_px) == (3, 5)
    assert Loss(lace=1).building_prior == PI_RARE


@pytest.mark.parametrize("name", LOSSES)
def test_descending_each_loss_of_table_1_draws_the_building(
    name: str, scene: tuple[Tensor, Tensor, Tensor]
) -> None:
    """From a faint noise, on the logits themselves."""
    _, target, valid = scene
    logits = (0.1 * scene[0]).requires_grad_()
    loss, optimizer = build_loss(LOSSES[name]), torch.optim.Adam([logits], 0.2)
    for _ in range(100):
        optimizer.zero_grad()
        loss(logits, target, valid).backward()
        optimizer.step()
    building = logits[:, 0] > 0
    # The boundary may lie off by the tolerance, which is a lot of a building of five pixels.
    iou = (building & target.bool()).sum() / (building | target.bool()).sum()
    assert iou > (0.7 if LOSSES[name].boundary_alignment else 0.99)
