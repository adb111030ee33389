"""Change between two dates of a synthetic country: time, memory, and how much of what is said is true.

The country of five million takes four minutes to make:
`BUILDMAP_BENCH_COUNTRY=5000000 pytest -m benchmark tests/benchmarks/test_change_country.py -s`.
With `BUILDMAP_BENCH_VARYING=1` its shift turns from place to place.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from numpy.typing import NDArray

from tests.benchmarks.country import (
    KINDS,
    LAYER,
    SHIFT_M,
    STATUSES,
    Truth,
    make_country,
    read_truth,
    shift_at,
)
from tests.benchmarks.measure import measured

COUNTRY = int(os.environ.get("BUILDMAP_BENCH_COUNTRY", "100000"))
VARYING = os.environ.get("BUILDMAP_BENCH_VARYING", "") == "1"
SMALL = 6000


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How right one status is."""

    said: int
    """Rows of the output that have it."""
    true: int
    """Buildings that it is true of."""
    right: int
    """Rows that have it and are of such a building."""

    @property
    def precision(self) -> float:
        return self.right / max(self.said, 1)

    @property
    def recall(self) -> float:
        return self.right / max(self.true, 1)


def number(row_before: NDArray[np.integer], row_after: NDArray[np.integer]) -> NDArray[np.int64]:
    """Make one number of two row numbers, either of which may be -1."""
    return (row_before.astype(np.int64) + 1 << 32) + row_after + 1


def score(changes: Path, truth: Truth) -> dict[str, Score]:
    """Compare a layer of changes with the truth, per status and per kind of change.

    A row is right if this became of these very buildings; of those that were merged it names one.
    """
    columns = ["status", "kind", "row_before", "row_after"]
    names, _, _, values = pyogrio.raw.read(changes, layer="changes", columns=columns, read_geometry=False)
    said = dict(zip(names["fields"].tolist(), values, strict=True))
    rows = number(said["row_before"], said["row_after"])
    true_rows = number(truth.row_before, truth.row_after)
    scores = {}
    for column, words, codes in (("status", STATUSES, truth.status), ("kind", KINDS, truth.kind)):
        for code, word in enumerate(words):
            have, meant = said[column].astype(str) == word, codes == code
            if word:
                right = np.intersect1d(rows[have], true_rows[meant])
                true = np.unique(np.where(truth.row_after >= 0, truth.row_after, true_rows)[meant])
                scores[word] = Score(said=int(have.sum()), true=len(true), right=len(right))
    return scores


@pytest.mark.benchmark
def test_what_is_said_of_a_country_is_true(tmp_path: Path) -> None:
    truth = make_country(tmp_path, COUNTRY, varying=VARYING)
    before, after, changes = (tmp_path / name for name in ("before.gpkg", "after.gpkg", "changes.gpkg"))
    cost = measured(["-m", "buildmap", "change", str(before), str(after), str(changes), "--json"])
    print(
        f"{COUNTRY:,} per date: {cost.wall_s:.1f} s, {cost.cpu_s:.1f} s of CPU, {cost.peak_mb:.0f} MB at most"
    )
    scores = score(changes, truth)
    for name, one in scores.items():
        print(
            f"{name:>10} {one.said:>10,} said {one.true:>10,} true, "
            f"precision {one.precision:.4f}, recall {one.recall:.4f}"
        )
    for status in STATUSES:
        assert scores[status].precision >= 0.99, status
        assert scores[status].recall >= 0.99, status


@dataclass(frozen=True, slots=True, kw_only=True)
class Country:
    """A small country as it is on disk."""

    folder: Path
    truth: Truth
    before: NDArray[np.object_]
    after: NDArray[np.object_]

    def rows(self, status: str, kind: str = "") -> Iterator[tuple[int, int]]:
        """Give the rows of BEFORE and AFTER of all that became this."""
        meant = (self.truth.status == STATUSES.index(status)) & (self.truth.kind == KINDS.index(kind))
        assert meant.any()
        pairs = zip(self.truth.row_before[meant].tolist(), self.truth.row_after[meant].tolist(), strict=True)
        yield from pairs


def layer(path: Path) -> NDArray[np.object_]:
    return np.asarray(shapely.from_wkb(pyogrio.raw.read(path, layer=LAYER)[2]), dtype=object)


def iou(one: shapely.Polygon, other: shapely.Polygon) -> float:
    return float(one.intersection(other).area / one.union(other).area)


@pytest.fixture(scope="module")
def country(tmp_path_factory: pytest.TempPathFactory) -> Country:
    folder = tmp_path_factory.mktemp("country")
    make_country(folder, SMALL, seed=3)
    back = shapely.transform(layer(folder / "after.gpkg"), lambda xy: xy - SHIFT_M)
    return Country(
        folder=folder,
        truth=read_truth(folder / "truth.npz"),
        before=layer(folder / "before.gpkg"),
        after=np.asarray(back, dtype=object),
    )


def test_the_truth_has_every_building_once_and_as_many_as_asked_for(country: Country) -> None:
    truth = country.truth
    torn = np.isin(truth.kind, (KINDS.index("split"), KINDS.index("merged")))
    for rows, buildings in ((truth.row_before, country.before), (truth.row_after, country.after)):
        assert len(buildings) == pytest.approx(SMALL, rel=0.05)
        assert np.unique(rows[rows >= 0]).tolist() == list(range(len(buildings)))
        assert (np.bincount(rows[(rows >= 0) & ~torn], minlength=len(buildings)) <= 1).all()
        noise = truth.noise & (rows >= 0)
        assert noise.sum() / len(buildings) == pytest.approx(0.03, rel=0.3)
    for status, share in (("added", 0.04), ("removed", 0.04)):
        assert np.mean(truth.status == STATUSES.index(status)) == pytest.approx(share, rel=0.3)
    for kind, share in (("enlarged", 0.005), ("reduced", 0.005), ("split", 0.006), ("merged", 0.006)):
        assert np.mean(truth.kind == KINDS.index(kind)) == pytest.approx(share, rel=0.6)


def test_buildings_are_valid_and_those_of_a_date_share_no_ground_but_slivers(country: Country) -> None:
    for buildings in (country.before, country.after):
        assert shapely.is_valid(buildings).all()
        areas = shapely.area(buildings)
        assert areas.min() > 35 and areas.max() < 700
        one, other = shapely.STRtree(buildings).query(buildings, predicate="intersects")
        one, other = one[one < other], other[one < other]
        assert len(one) > 100  # attached
        shared = shapely.area(shapely.intersection(buildings[one], buildings[other]))
        assert (shared < 0.15 * np.minimum(areas[one], areas[other])).all()


def test_what_is_unchanged_lies_where_it_lay(country: Country) -> None:
    pairs = np.array(list(country.rows("unchanged")))
    before, after = country.before[pairs[:, 0]], country.after[pairs[:, 1]]
    shared = shapely.area(shapely.intersection(before, after))
    ious = shared / (shapely.area(before) + shapely.area(after) - shared)
    assert ious.min() > 0.75 and np.median(ious) > 0.9


def test_what_was_added_or_removed_stands_where_the_other_date_has_nothing(country: Country) -> None:
    for status, buildings, others, column in (
        ("removed", country.before, country.after, 0),
        ("added", country.after, country.before, 1),
    ):
        rows = np.array(list(country.rows(status)))
        assert (rows[:, 1 - column] == -1).all()
        lone = buildings[rows[:, column]]
        which, other = shapely.STRtree(others).query(lone)
        shared = shapely.area(shapely.intersection(lone[which], others[other]))
        assert (shared < 0.1 * shapely.area(lone[which])).all()


def test_what_was_enlarged_or_reduced_has_a_wing_on_one_date_only(country: Country) -> None:
    for kind, small, large in (("enlarged", 0, 1), ("reduced", 1, 0)):
        for rows in country.rows("changed", kind):
            shapes = country.before[rows[0]], country.after[rows[1]]
            assert shapes[large].area / shapes[small].area == pytest.approx(1.4, abs=0.25)
            assert shapes[small].intersection(shapes[large]).area > 0.85 * shapes[small].area


def test_what_was_split_or_merged_is_two_on_one_date_and_one_on_the_other(country: Country) -> None:
    for kind, one, two in (("split", 0, 1), ("merged", 1, 0)):
        parts: dict[int, list[shapely.Polygon]] = {}
        dates = (country.before, country.after)
        for rows in country.rows("changed", kind):
            parts.setdefault(rows[one], []).append(dates[two][rows[two]])
        for row, halves in parts.items():
            assert len(halves) == 2
            whole = dates[one][row]
            assert iou(whole, shapely.union_all(halves)) > 0.8
            assert max(iou(whole, half) for half in halves) < 0.75


def test_the_shift_is_the_one_planted_and_may_vary(country: Country, tmp_path: Path) -> None:
    truth = make_country(tmp_path, SMALL, seed=3, varying=True)
    same = truth.status == 0
    before, after = layer(tmp_path / "before.gpkg"), layer(tmp_path / "after.gpkg")
    one, other = (
        shapely.centroid(before[truth.row_before[same]]),
        shapely.centroid(after[truth.row_after[same]]),
    )
    ways = shapely.get_coordinates(other) - shapely.get_coordinates(one)
    planted = shift_at(shapely.get_coordinates(one), varying=True)
    assert np.ptp(planted, axis=0).max() > 0.05
    np.testing.assert_allclose(ways, planted, atol=0.5)
    assert np.abs((ways - planted).mean(axis=0)).max() < 0.02
    assert {polygon.wkb for polygon in before} == {polygon.wkb for polygon in country.before}


def test_the_same_seed_makes_the_same_country(tmp_path: Path) -> None:
    made = []
    for seed in (3, 3, 4):
        truth = make_country(tmp_path, 1000, seed=seed)
        made.append((truth.row_after.tolist(), [one.wkb for one in layer(tmp_path / "before.gpkg")]))
    assert made[0] == made[1]
    assert made[0][0] != made[2][0] and made[0][1] != made[2][1]


def test_scores_count_what_is_right_of_what_was_said_and_of_what_is_true(
    country: Country, tmp_path: Path
) -> None:
    """Write the truth as a layer of changes with some rows wrong, one missing and one twice."""
    truth = country.truth
    merged = np.flatnonzero(truth.kind == KINDS.index("merged"))
    other_half = merged[np.unique(truth.row_after[merged], return_index=True)[1]]
    kept = np.setdiff1d(np.arange(len(truth.status)), other_half)
    code, row_before, row_after = truth.status[kept], truth.row_before[kept], truth.row_after[kept].copy()
    status, kind = np.array(STATUSES, object)[code], np.array(KINDS, object)[truth.kind[kept]]
    kind[kind == ""] = None
    true = {name: int((status == name).sum()) for name in STATUSES}
    unchanged, added, removed, changed = (np.flatnonzero(status == name) for name in STATUSES)
    status[added[:2]] = "unchanged"
    status[removed[0]] = "added"
    row_after[unchanged[:2]] = row_after[unchanged[1::-1]]  # taken for one another
    order = np.append(np.delete(np.arange(len(kept)), removed[1]), changed[0])
    polygons = np.full(len(order), country.before[0].wkb, object)
    pyogrio.raw.write(
        tmp_path / "changes.gpkg",
        polygons,
        [values[order] for values in (status, kind, row_before, row_after)],
        ["status", "kind", "row_before", "row_after"],
        layer="changes",
        driver="GPKG",
        geometry_type="Polygon",
        crs="EPSG:32633",
    )
    scores = score(tmp_path / "changes.gpkg", truth)
    assert {name: scores[name].true for name in STATUSES} == true
    assert scores["removed"] == Score(
        said=true["removed"] - 2, true=true["removed"], right=true["removed"] - 2
    )
    assert scores["added"] == Score(said=true["added"] - 1, true=true["added"], right=true["added"] - 2)
    assert scores["unchanged"] == Score(
        said=true["unchanged"] + 2, true=true["unchanged"], right=true["unchanged"] - 2
    )
    assert scores["changed"] == Score(said=true["changed"] + 1, true=true["changed"], right=true["changed"])
    assert scores["merged"] == Score(said=len(other_half), true=len(other_half), right=len(other_half))
    for name in ("split", "enlarged", "reduced"):
        assert scores[name].recall == 1
        assert scores[name].true > 5
