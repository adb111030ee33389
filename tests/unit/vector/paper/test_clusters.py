import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from buildmap.vector.paper.clusters import clusters, first_centres, k_means, on_circle, silhouette


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("count", [2, 3, 4])
def test_k_means_is_that_of_scikit_learn(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    places, weight = on_circle(rng.uniform(0, np.pi, 30)), rng.uniform(1, 9, 30)
    centres = first_centres(places, weight, count)
    theirs = KMeans(count, init=centres, n_init=1, max_iter=1000, tol=0, algorithm="lloyd")
    np.testing.assert_array_equal(k_means(places, weight, centres), theirs.fit_predict(places, None, weight))


@pytest.mark.parametrize("seed", range(8))
def test_the_silhouette_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    places = on_circle(rng.uniform(0, np.pi, 20))
    member = rng.integers(0, 4, 20)
    member[:5] = [0, 1, 1, 2, 3]
    member[5:][member[5:] == 0] = 1  # the first cluster has one place
    assert silhouette(places, member) == pytest.approx(silhouette_score(places, member))


def test_one_cluster_has_no_silhouette() -> None:
    assert silhouette(on_circle(np.arange(3.0)), np.zeros(3, np.int64)) == -1


def test_centres_begin_with_the_heaviest_and_spread() -> None:
    places = on_circle(np.radians([0, 10, 45, 90.0]))
    centres = first_centres(places, np.array([1, 5, 1, 1.0]), 3)
    np.testing.assert_array_equal(centres, places[[1, 3, 2]])


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [
        ([30, 31, 29, 30], [0, 0, 0, 0]),
        ([179, 1, 178, 2], [0, 0, 0, 0]),
        ([30, 120, 31, 119], [0, 1, 0, 1]),
        ([1, 91, 179, 45, 46, 89], [0, 1, 0, 2, 2, 1]),
        ([10, 55, 100, 145, 11, 56, 101, 146], [0, 2, 1, 3, 0, 2, 1, 3]),
    ],
)
def test_the_number_of_clusters_follows_from_the_orientations(
    degrees: list[float], expected: list[int]
) -> None:
    weight = np.linspace(2, 1, len(degrees))
    found = clusters(np.radians(np.array(degrees, np.float64)), weight, 4)
    same = np.equal.outer(found, found)
    np.testing.assert_array_equal(same, np.equal.outer(expected, expected))


def test_there_are_no_more_clusters_than_the_limit() -> None:
    angle = np.radians(np.array([10, 55, 100, 145, 11, 56, 101, 146.0]))
    assert clusters(angle, np.ones(8), 2).max() == 1
    assert clusters(angle, np.ones(8), 1).max() == 0
