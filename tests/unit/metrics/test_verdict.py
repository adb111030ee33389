"""The answer in sentences: right numbers, right grammar, and nothing where there is nothing to say."""

from dataclasses import replace

import pytest

from buildmap.metrics.confusion import Confusion, scores
from buildmap.metrics.instances import Instances
from buildmap.metrics.summary import EvaluateSummary
from buildmap.metrics.verdict import verdict
from tests.unit.metrics.summaries import make_summary, only_pixels, paired_test


def summary(found: Instances | None = None, pixels: Confusion | None = None) -> EvaluateSummary:
    pixels = pixels or Confusion(tp=0, fp=0, fn=0, tn=9)
    total = replace(only_pixels(), instances=found, confusion=pixels, pixels=scores(pixels))
    return replace(make_summary(), total=total)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (
            Instances(tp=73, fp=268, fn=182),
            "Of 255 true buildings 73 are found (29 %), and of 341 mapped buildings 73 are right (21 %). "
            "A footprint is right if both share 50 % of the ground they cover together.",
        ),
        (
            Instances(tp=1, fp=0, fn=0),
            "Of 1 true building 1 is found (100 %), and of 1 mapped building 1 is right (100 %). "
            "A footprint is right if both share 50 % of the ground they cover together.",
        ),
        (Instances(fn=1200), "No building is mapped: all 1,200 true ones are missed."),
        (Instances(fp=7), "There is no true building on the compared ground: all 7 mapped are invented."),
        (Instances(), "Neither side has a building on the compared ground."),
    ],
)
def test_buildings_are_told_as_what_became_of_them(found: Instances, told: str) -> None:
    assert verdict(summary(found)) == [told]


@pytest.mark.parametrize(
    ("pixels", "told"),
    [
        (
            Confusion(tp=60, fp=40, fn=20, tn=9),
            "75 % of the ground of true buildings is mapped, and 60 % of the mapped ground is building.",
        ),
        (Confusion(tp=0, fp=40, fn=0, tn=9), "0 % of the mapped ground is building."),
        (Confusion(tp=0, fp=0, fn=20, tn=9), "0 % of the ground of true buildings is mapped."),
    ],
)
def test_ground_is_told_from_both_sides(pixels: Confusion, told: str) -> None:
    assert verdict(summary(pixels=pixels)) == [told]


def test_a_better_threshold_is_told_where_it_is_worth_it() -> None:
    found = make_summary()
    sweep = found.total.sweep
    assert sweep is not None
    hint = f"A threshold of {sweep.best_iou.threshold:.2f} instead of 0.5 would raise the IoU of the pixels"
    for less, worth in ((0.02, True), (0.009, False)):
        used = replace(found.total.pixels, iou=sweep.best_iou.iou - less)
        told = verdict(replace(found, total=replace(found.total, pixels=used)))
        assert any(sentence.startswith(hint) for sentence in told) == worth
        assert len(told) == 2 + worth


@pytest.mark.parametrize(
    ("difference", "told"),
    [
        (0.0123, "It is better than the other map: +0.012 IoU on average over 144 cells."),
        (-0.0123, "It is worse than the other map: -0.012 IoU on average over 144 cells."),
        (0.001, "Whether it is better or worse than the other map is not certain."),
    ],
)
def test_the_other_map_is_better_worse_or_nobody_knows(difference: float, told: str) -> None:
    found = replace(make_summary(of=only_pixels()), paired={"iou": paired_test(difference)})
    assert verdict(found)[-1] == told
    unknown = replace(paired_test(difference), low=float("nan"), high=float("nan"))
    assert len(verdict(replace(found, paired={"iou": unknown}))) == len(verdict(found)) - 1
