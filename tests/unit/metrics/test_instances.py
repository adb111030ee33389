import numpy as np
import pytest

from buildmap.metrics.instances import Instances, InstanceScores, count_instances, instance_scores
from buildmap.vector.matching import Matches

MATCHES = Matches(left=np.array([0, 3]), right=np.array([1, 0]), iou=np.array([0.9, 0.6]))
"""Of four predicted and three true buildings."""


def test_all_counted() -> None:
    every = count_instances(MATCHES, prediction_counted=np.ones(4, bool), truth_counted=np.ones(3, bool))
    assert every == Instances(tp=2, fp=2, fn=1)


def test_a_pair_on_the_rim_counts_where_its_true_building_does() -> None:
    prediction, truth = np.ones(4, bool), np.ones(3, bool)
    prediction[0] = False  # the middle of the prediction is outside, that of the truth inside
    truth[0] = False  # and the other way round
    counted = count_instances(MATCHES, prediction_counted=prediction, truth_counted=truth)
    assert counted == Instances(tp=1, fp=2, fn=1)


def test_outside_buildings_without_a_match_are_no_mistakes() -> None:
    nothing = count_instances(MATCHES, prediction_counted=np.zeros(4, bool), truth_counted=np.zeros(3, bool))
    assert nothing == Instances(tp=0, fp=0, fn=0)


def test_counts_add_up() -> None:
    assert Instances(tp=1, fp=2, fn=3) + Instances(tp=10, fp=20, fn=30) == Instances(tp=11, fp=22, fn=33)


def test_scores_of_a_case_worked_by_hand() -> None:
    given = instance_scores(Instances(tp=6, fp=2, fn=4))
    assert given.precision == pytest.approx(6 / 8, abs=1e-4)
    assert given.recall == pytest.approx(6 / 10, abs=1e-4)
    assert given.f1 == pytest.approx(12 / 18, abs=1e-4)


def test_nothing_found_where_nothing_is_scores_one_and_missing_all_scores_nothing() -> None:
    assert instance_scores(Instances()) == InstanceScores(precision=1, recall=1, f1=1)
    assert instance_scores(Instances(fn=5)).f1 < 1e-4
