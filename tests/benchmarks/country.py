"""A synthetic country on two dates: millions of footprints, and what became of each.

    python -m tests.benchmarks.country FOLDER --count 5000000 --seed 0

writes `before.gpkg`, `after.gpkg` (layer `footprints`, EPSG:32633) and `truth.npz`. Towns stand in quarters
of lots, each turned its own way: detached houses, attached pairs, and estates of like houses in a row; farms
are scattered between them. AFTER is shifted, its corners are drawn again by another hand, and both dates
have false buildings on lots of their own, which look like any other.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray

STATUSES = ("unchanged", "added", "removed", "changed")
KINDS = ("", "enlarged", "reduced", "split", "merged")
CRS = "EPSG:32633"
LAYER = "footprints"

REMOVED = ADDED = 0.01
ENLARGED = REDUCED = 0.005
SPLIT = MERGED = 0.003
NOISE = 0.03
WING = 0.4
JITTER_M = 0.2
SHIFT_M = (1.6, -1.2)
WAVE_M = 50_000.0

_ORIGIN = np.array([300_000.0, 5_200_000.0])
_QUARTER_M = 140.0
_HALF_M = 48.0
"""Half a side of the square of lots in a quarter, which may be turned any way."""
_SLOTS = 12
"""Pairs of lots in a quarter of a town: four rows of three."""
_LOT_M = (16.0, 24.0)
_FARM_LOT_M = 48.0
_PER_QUARTER = 2.6
_TOWN_SHARE = 0.08
_ATTACHED, _BUILT, _L_SHAPED, _ESTATES = 0.3, 0.9, 0.35, 0.2
_AT_A_TIME = 100_000

Shapes = NDArray[np.float64]
"""(n, 6) left, front, width, depth, and the width and depth of the notch in the far right corner."""


class Truth(NamedTuple):
    """What became of each building; one that was split or merged has a row for each of its parts."""

    status: NDArray[np.int8]
    """(n,) index of `STATUSES`."""
    kind: NDArray[np.int8]
    """(n,) index of `KINDS`."""
    row_before: NDArray[np.int32]
    """(n,) row in BEFORE, or -1."""
    row_after: NDArray[np.int32]
    """(n,) row in AFTER, or -1."""
    noise: NDArray[np.bool_]
    """(n,) whether it never stood there."""


class Role(NamedTuple):
    """One of the things that can become of a building."""

    status: str
    kind: str = ""
    noise: bool = False


ROLES = (
    Role("unchanged"),
    Role("removed"),
    Role("added"),
    Role("changed", "enlarged"),
    Role("changed", "reduced"),
    Role("removed", noise=True),
    Role("added", noise=True),
    Role("changed", "split"),
    Role("changed", "merged"),
)
_ENLARGED, _REDUCED, _SPLIT, _MERGED = 3, 4, 7, 8
_ONLY_BEFORE, _ONLY_AFTER = (1, 5), (2, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where towns stand, and how often what happens."""

    towns: NDArray[np.bool_]
    """(s, s) quarters of towns, rows to the north."""
    farm_share: float
    """Of the lots for farms that have one."""
    lone: NDArray[np.float64]
    """(7,) how often a house of its own has each of the first roles."""
    attached: NDArray[np.float64]
    """(3,) how often a pair stays, is split, is merged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What becomes of the buildings of some quarters; a pair that is one building has two rows."""

    quarter: NDArray[np.int64]
    """(n,)"""
    before: Shapes
    after: Shapes
    role: NDArray[np.int64]
    """(n,) index of `ROLES`."""
    owner_before: NDArray[np.int64]
    """(n,) the row whose building it is on the first date: its own, the other one's, or -1."""
    owner_after: NDArray[np.int64]
    """(n,) the same on the second date."""


def make_country(folder: Path, count: int, *, seed: int = 0, varying: bool = False) -> Truth:
    """Write a country of about so many footprints per date; its shift is one unless it is varying."""
    plan = plan_country(count, np.random.default_rng(seed))
    written, parts = [0, 0], []
    for number, (quarters, angles, rows) in enumerate(_batches(plan, seed)):
        rng = np.random.default_rng([seed, 1, number])
        places = []
        for date, (shapes, owner) in enumerate(
            ((rows.before, rows.owner_before), (rows.after, rows.owner_after))
        ):
            built = rng.permutation(np.flatnonzero(owner == np.arange(len(owner))))
            corners = _draw(shapes[built], quarters[rows.quarter[built]], angles[rows.quarter[built]])
            if date:
                jitter = rng.normal(0, JITTER_M, corners.shape).clip(-3 * JITTER_M, 3 * JITTER_M)
                corners += shift_at(corners, varying=varying) + jitter
            polygons = _polygons(corners, shapes[built, 4] > 0)
            _write(folder / ("before.gpkg", "after.gpkg")[date], polygons, append=number > 0)
            place = np.full(len(owner) + 1, -1, np.int32)
            place[built] = written[date] + np.arange(len(built))
            places.append(place[owner])
            written[date] += len(built)
        parts.append(_truth(rows.role, *places))
    truth = Truth(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    np.savez_compressed(folder / "truth.npz", **truth._asdict())
    return truth


def read_truth(path: Path) -> Truth:
    """Read what `make_country` wrote."""
    with np.load(path) as arrays:
        return Truth(*(arrays[name] for name in Truth._fields))


def shift_at(xy: NDArray[np.float64], *, varying: bool) -> NDArray[np.float64]:
    """Give how far AFTER lies off BEFORE at points (..., 2), in metres."""
    if not varying:
        return np.broadcast_to(np.array(SHIFT_M), xy.shape)
    phase = 2 * np.pi * (xy - _ORIGIN) / WAVE_M
    return 2 * np.stack([np.cos(phase[..., 0]), np.sin(phase[..., 1])], axis=-1) / np.sqrt(2)


def plan_country(count: int, rng: np.random.Generator) -> Plan:
    """Lay out a country so that about so many buildings stand on each date."""
    side = int(np.ceil(np.sqrt(count / _PER_QUARTER)))
    towns = _towns(side, rng)
    pairs = towns.sum() * _SLOTS * _ATTACHED
    # a house that stands on one date only counts half
    lone = count - 2 * pairs + (SPLIT + ADDED + NOISE) * count
    farms = lone - towns.sum() * _SLOTS * (1 - _ATTACHED) * 2 * _BUILT
    shares = np.array([REMOVED, ADDED, ENLARGED, REDUCED, NOISE, NOISE]) * count / lone
    torn = np.array([SPLIT, MERGED]) * count / pairs
    return Plan(
        towns=towns,
        farm_share=farms / (4 * (~towns).sum()),
        lone=np.append(1 - shares.sum(), shares),
        attached=np.append(1 - torn.sum(), torn),
    )


def _towns(side: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    towns = np.zeros((side, side), np.bool_)
    enough, built = _TOWN_SHARE * side**2, 0
    while built < enough:
        row, col = rng.integers(0, side, 2)
        radius = int(np.clip(rng.lognormal(np.log(4), 0.7), 1, max(side // 8, 1)))
        rows, cols = (slice(max(at - radius, 0), at + radius + 1) for at in (row, col))
        patch = towns[rows, cols]
        y, x = np.indices(patch.shape)
        disc = (y + rows.start - row) ** 2 + (x + cols.start - col) ** 2 <= radius**2
        built += int((disc & ~patch).sum())
        patch |= disc
    return towns


def _batches(plan: Plan, seed: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], Rows]]:
    """Build the country some rows of quarters at a time: centres (q, 2), angles (q,), and buildings."""
    side = len(plan.towns)
    step = max(int(_AT_A_TIME / (_PER_QUARTER * side)), 1)
    for number, first in enumerate(range(0, side, step)):
        rng = np.random.default_rng([seed, 0, number])
        towns = plan.towns[first : first + step]
        row, col = np.indices(towns.shape)
        centres = _ORIGIN + (np.stack([col, row + first], axis=-1).reshape(-1, 2) + 0.5) * _QUARTER_M
        flat = towns.ravel()
        lone, attached = _town(np.flatnonzero(flat), plan, rng)
        farms = _farms(np.flatnonzero(~flat), plan, rng)
        yield centres, rng.uniform(0, np.pi, len(flat)), _joined([lone, attached, farms])


def _town(quarters: NDArray[np.int64], plan: Plan, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Build up quarters of a town: houses of their own, and attached pairs."""
    quarter = np.repeat(quarters, _SLOTS)
    slot = np.tile(np.arange(_SLOTS), len(quarters))
    corner = np.stack([slot % 3 * 2 * _LOT_M[0], slot // 3 * _LOT_M[1]], axis=1) - _HALF_M
    estate = np.repeat(rng.random(len(quarters)) < _ESTATES, _SLOTS)
    together = ~estate & (rng.random(len(quarter)) < _ATTACHED / (1 - _ESTATES))
    lots = np.repeat(np.flatnonzero(~together), 2)
    right = np.tile([0.0, _LOT_M[0]], len(lots) // 2)
    shapes = _houses(len(lots), rng, width=(6, 13), depth=(7, 11), lot=_LOT_M)
    model = _houses(len(quarters), rng, width=(6, 13), depth=(7, 11), lot=_LOT_M)
    like = estate[lots]
    shapes[like] = np.repeat(model, _SLOTS, axis=0)[lots[like]]
    shapes[:, 0] += corner[lots, 0] + right
    shapes[:, 1] += corner[lots, 1]
    built = rng.random(len(lots)) < _BUILT
    return (
        _lone(quarter[lots[built]], shapes[built], plan, rng),
        _attached(quarter[together], corner[together], plan, rng),
    )


def _farms(quarters: NDArray[np.int64], plan: Plan, rng: np.random.Generator) -> Rows:
    quarter = np.repeat(quarters, 4)
    lot = np.tile(np.arange(4), len(quarters))
    built = rng.random(len(lot)) < plan.farm_share
    quarter, lot = quarter[built], lot[built]
    shapes = _houses(len(lot), rng, width=(10, 22), depth=(10, 18), lot=(_FARM_LOT_M, _FARM_LOT_M))
    shapes[:, 0] += lot % 2 * _FARM_LOT_M - _HALF_M
    shapes[:, 1] += lot // 2 * _FARM_LOT_M - _HALF_M
    return _lone(quarter, shapes, plan, rng)


def _houses(
    count: int,
    rng: np.random.Generator,
    *,
    width: tuple[float, float],
    depth: tuple[float, float],
    lot: tuple[float, float],
) -> Shapes:
    """Draw houses somewhere on their lots, with room behind them for a wing; some are L-shaped."""
    shapes = np.zeros((count, 6))
    shapes[:, 2], shapes[:, 3] = rng.uniform(*width, count), rng.uniform(*depth, count)
    shapes[:, 0] = rng.uniform(1, lot[0] - 1 - shapes[:, 2])
    shapes[:, 1] = rng.uniform(1, lot[1] - 1 - shapes[:, 3] * _deeper())
    notch = (rng.random(count) < _L_SHAPED) & (shapes[:, 2:4].min(axis=1) > 8)
    shapes[:, 4:] = shapes[:, 2:4] * rng.uniform(0.3, 0.5, (count, 2)) * notch[:, None]
    return shapes


def _deeper() -> float:
    """Give how much deeper a house is with its wing, which has 0.6 of its width."""
    return 1 + WING / 0.6


def _winged(shapes: Shapes) -> Shapes:
    """Add a wing to rectangles."""
    winged = shapes.copy()
    winged[:, 3] *= _deeper()
    winged[:, 4] = 0.4 * shapes[:, 2]
    winged[:, 5] = winged[:, 3] - shapes[:, 3]
    return winged


def _lone(quarter: NDArray[np.int64], shapes: Shapes, plan: Plan, rng: np.random.Generator) -> Rows:
    role = rng.choice(len(plan.lone), len(quarter), p=plan.lone)
    shapes[np.isin(role, (_ENLARGED, _REDUCED)), 4:] = 0
    before, after, own = shapes.copy(), shapes.copy(), np.arange(len(quarter))
    after[role == _ENLARGED] = _winged(shapes[role == _ENLARGED])
    before[role == _REDUCED] = _winged(shapes[role == _REDUCED])
    return Rows(
        quarter=quarter,
        before=before,
        after=after,
        role=role,
        owner_before=np.where(np.isin(role, _ONLY_AFTER), -1, own),
        owner_after=np.where(np.isin(role, _ONLY_BEFORE), -1, own),
    )


def _attached(
    quarter: NDArray[np.int64], corner: NDArray[np.float64], plan: Plan, rng: np.random.Generator
) -> Rows:
    """Build pairs that share a wall on the border of their lots; the right one may be less deep."""
    count = len(quarter)
    widths, depth = rng.uniform(6, 11, (2, count)), rng.uniform(10, 13, count)
    less = 3.0 * (rng.random(count) < 0.5)
    middle, front = corner[:, 0] + _LOT_M[0], corner[:, 1] + rng.uniform(1, 8, count)
    nothing = np.zeros(count)
    left = np.stack([middle - widths[0], front, widths[0], depth, nothing, nothing], axis=1)
    right = np.stack([middle, front, widths[1], depth - less, nothing, nothing], axis=1)
    notch = np.where(less > 0, widths[1], 0)
    whole = np.stack([left[:, 0], front, widths.sum(axis=0), depth, notch, less], axis=1)
    role = np.array([0, _SPLIT, _MERGED])[rng.choice(3, count, p=plan.attached)]
    both, own = np.concatenate([left, right]), np.arange(2 * count)
    role, whole = np.tile(role, 2), np.tile(whole, (2, 1))
    return Rows(
        quarter=np.tile(quarter, 2),
        before=np.where((role == _SPLIT)[:, None], whole, both),
        after=np.where((role == _MERGED)[:, None], whole, both),
        role=role,
        owner_before=np.where(role == _SPLIT, own % max(count, 1), own),
        owner_after=np.where(role == _MERGED, own % max(count, 1), own),
    )


def _joined(parts: list[Rows]) -> Rows:
    first = np.repeat(np.cumsum([0, *(len(part.role) for part in parts[:-1])]), [len(p.role) for p in parts])
    arrays = {one.name: np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(Rows)}
    for name in ("owner_before", "owner_after"):
        arrays[name] = np.where(arrays[name] < 0, -1, arrays[name] + first)
    return Rows(**arrays)


def _draw(shapes: Shapes, centres: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the six corners of each shape, (n, 6, 2); three of a rectangle's are one."""
    x0, y0, width, depth, notch_width, notch_depth = shapes.T
    x1, y1 = x0 + width, y0 + depth
    x = np.stack([x0, x1, x1, x1 - notch_width, x1 - notch_width, x0], axis=1)
    y = np.stack([y0, y0, y1 - notch_depth, y1 - notch_depth, y1, y1], axis=1)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    return np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1) + centres[:, None]


def _polygons(corners: NDArray[np.float64], notched: NDArray[np.bool_]) -> NDArray[np.object_]:
    closed = np.concatenate([corners, corners[:, :1]], axis=1)
    kept = np.ones(closed.shape[:2], np.bool_)
    kept[:, 3:5] = notched[:, None]
    ends = np.append(0, np.cumsum(kept.sum(axis=1)))
    number = np.arange(len(corners) + 1)
    made = shapely.from_ragged_array(shapely.GeometryType.POLYGON, closed[kept], (ends, number))
    return np.asarray(made, dtype=object)


def _truth(role: NDArray[np.int64], row_before: NDArray[np.int32], row_after: NDArray[np.int32]) -> Truth:
    status, kind, noise = zip(
        *((STATUSES.index(one.status), KINDS.index(one.kind), one.noise) for one in ROLES), strict=True
    )
    return Truth(
        status=np.array(status, np.int8)[role],
        kind=np.array(kind, np.int8)[role],
        row_before=row_before,
        row_after=row_after,
        noise=np.array(noise)[role],
    )


def _write(path: Path, polygons: NDArray[np.object_], *, append: bool) -> None:
    pyogrio.raw.write(
        path,
        shapely.to_wkb(polygons),
        [],
        [],
        layer=LAYER,
        driver="GPKG",
        geometry_type="Polygon",
        crs=CRS,
        append=append,
        layer_options=None if append else {"SPATIAL_INDEX": "NO"},
    )


def main() -> None:
    """Write a country and say what is in it."""
    parser = argparse.ArgumentParser(description=make_country.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=5_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--varying", action="store_true", help="a shift that turns with a wave of 50 km")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    truth = make_country(given.folder, given.count, seed=given.seed, varying=given.varying)
    print(f"{truth.row_before.max() + 1:,} before, {truth.row_after.max() + 1:,} after")
    for status, kind in sorted(set(zip(truth.status.tolist(), truth.kind.tolist(), strict=True))):
        meant = (truth.status == status) & (truth.kind == kind)
        noise = truth.noise[meant].sum()
        print(f"{STATUSES[status]:>10} {KINDS[kind]:<9} {meant.sum():>10,} rows, {noise:,} noise")


if __name__ == "__main__":
    main()
