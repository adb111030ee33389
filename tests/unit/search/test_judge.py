"""Who goes on: as Optuna decides when trials run one after another, and as the paper's rule says."""

import random
import sys

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildmap.errors import ResourceError
from buildmap.search.judge import Judge
from buildmap.search.plan import Halving

SCORES = st.lists(st.lists(st.integers(0, 20), min_size=30, max_size=30), min_size=1, max_size=12)


def raced(curves: list[list[float]], halving: Halving) -> list[int]:
    """Give the epochs that each trial runs: all to the same epoch, then a judgement, and so on."""
    judge, longest = Judge(halving, len(curves)), len(curves[0])
    ran, racing = [longest] * len(curves), set(range(len(curves)))
    for epoch in judge.epochs(longest):
        chosen = judge.choose({number: curves[number] for number in racing}, epoch=epoch)
        for number in racing - chosen:
            ran[number] = epoch
        racing = chosen
    return ran


def one_after_another(curves: list[list[float]], halving: Halving) -> list[int]:
    """Have Optuna run each trial until it stops it, in the usual way: a report after each epoch."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.SuccessiveHalvingPruner(
        min_resource=halving.min_epochs, reduction_factor=halving.reduction
    )
    study = optuna.create_study(direction="maximize", pruner=pruner)
    ran = [0] * len(curves)
    for number in order(len(curves), halving):
        trial, best = study.ask(), -1.0
        for epoch, score in enumerate(curves[number], start=1):
            best, ran[number] = max(best, score), epoch
            trial.report(best, step=epoch)
            if epoch < len(curves[number]) and trial.should_prune():
                break
        study.tell(trial, best)
    return ran


def by_the_rule(curves: list[list[float]], halving: Halving) -> list[int]:
    """Go by the rule itself: among the first k of a judgement, the best k // reduction go on, or the best."""
    ran, longest = [len(curves[0])] * len(curves), len(curves[0])
    seen: dict[int, list[float]] = {}
    for number in order(len(curves), halving):
        epoch = halving.min_epochs
        while epoch < longest:
            mine = max(curves[number][:epoch])
            others = seen.setdefault(epoch, [])
            others.append(mine)
            places = max(len(others) // halving.reduction, 1)
            if mine < sorted(others, reverse=True)[places - 1]:
                ran[number] = epoch
                break
            epoch *= halving.reduction
    return ran


def order(count: int, halving: Halving) -> list[int]:
    return random.Random(halving.seed).sample(range(count), count)


@settings(max_examples=25)
@given(SCORES, st.integers(1, 6), st.integers(2, 4), st.integers(0, 3))
def test_the_race_ends_as_one_trial_after_another_would(
    curves: list[list[float]], min_epochs: int, reduction: int, seed: int
) -> None:
    halving = Halving(min_epochs=min_epochs, reduction=reduction, seed=seed)
    ran = raced(curves, halving)
    assert ran == one_after_another(curves, halving)
    assert ran == by_the_rule(curves, halving)


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(2, 4), st.integers(0, 5))
def test_where_the_ranking_never_changes_the_best_runs_to_the_end(
    order: int, reduction: int, seed: int
) -> None:
    finals = (1 + np.random.default_rng(order).permutation(27)).tolist()
    curves = [[final * epoch for epoch in range(1, 31)] for final in finals]
    ran = raced(curves, Halving(reduction=reduction, seed=seed))
    assert ran[int(np.argmax(finals))] == 30
    assert sum(ran) < 0.6 * 30 * 27


def test_every_score_counts_up_to_the_judgement_and_none_after() -> None:
    halving = Halving(min_epochs=2, reduction=2, seed=0)
    first, second = order(2, halving)
    for scores, goes_on in (([9.0, 1, 0], True), ([1, 1, 9.0], False)):
        judge = Judge(halving, 2)
        chosen = judge.choose({first: [5, 5, 5], second: scores}, epoch=2)
        assert (first in chosen, second in chosen) == (True, goes_on)


def test_judgements_come_at_powers_of_the_reduction() -> None:
    judge = Judge(Halving(min_epochs=5, reduction=3), 1)
    assert judge.epochs(100) == [5, 15, 45]
    assert judge.epochs(45) == [5, 15]
    assert judge.epochs(5) == []


def test_seeds_decide_the_order() -> None:
    curves = [[float(number)] * 10 for number in range(9)]
    found = {tuple(raced(curves, Halving(seed=seed))) for seed in range(5)}
    assert len(found) > 1
    assert raced(curves, Halving(seed=3)) == raced(curves, Halving(seed=3))


def test_without_optuna_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ResourceError, match="needs Optuna") as caught:
        Judge(Halving(), 1)
    assert "pip install 'buildmap[search]'" in (caught.value.hint or "")
