"""Reading, overlapping and matching two layers of footprints: time and memory, and how both grow.

Two million take some three minutes, most of them to make the files:
`BUILDMAP_BENCH_FOOTPRINTS=2000000 pytest -m benchmark tests/benchmarks/test_matching_scale.py -s`.
"""

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from numpy.typing import NDArray

FOOTPRINTS = int(os.environ.get("BUILDMAP_BENCH_FOOTPRINTS", "250000"))
BESIDE = 125_000
PEAK = """
import json, re, sys, time
from pathlib import Path
def peak_mb():  # and not `ru_maxrss`, which starts with the memory of the parent
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
"""
OURS = """
import numpy as np
from buildmap.vector.matching import find_overlaps, match
from buildmap.vector.reader import read_in_batches
from buildmap.vector.store import PolygonStore
from shapely.geometry import box

one = PolygonStore.gather([np.array([box(0, 0, 1, 1)], dtype=object)])
match(find_overlaps(one, one), iou_min=0.5)  # compile
start_mb, times = peak_mb(), [time.process_time()]
def read(path):
    return PolygonStore.gather(rows.polygons for rows in read_in_batches(Path(path), crs=None))
layers = [read(path) for path in sys.argv[1:]]
times.append(time.process_time())
read_mb = peak_mb()
overlaps = find_overlaps(*layers)
times.append(time.process_time())
matches = match(overlaps, iou_min=0.5)
times.append(time.process_time())
found = {"pairs": len(overlaps.left), "matches": len(matches.iou)}
"""
USUAL = """
import geopandas as gpd
import shapely

start_mb, times = peak_mb(), [time.process_time()]
left, right = (gpd.read_file(path) for path in sys.argv[1:])
times.append(time.process_time())
read_mb = peak_mb()
pairs = gpd.sjoin(left, right, predicate="intersects")
one = pairs.geometry.to_numpy()
other = right.geometry.to_numpy()[pairs["index_right"].to_numpy()]
shared = shapely.area(shapely.intersection(one, other))
pairs["iou"] = shared / (shapely.area(one) + shapely.area(other) - shared)
times.append(time.process_time())
best = pairs[pairs["iou"] >= 0.5].sort_values("iou", ascending=False)
taken, matches = (set(), set()), 0
for row, number in zip(best.index, best["index_right"]):
    if row not in taken[0] and number not in taken[1]:
        taken[0].add(row)
        taken[1].add(number)
        matches += 1
times.append(time.process_time())
found = {"pairs": int((shared > 0).sum()), "matches": matches}
"""
REPORT = """
names = ("read_s", "overlap_s", "match_s")
found |= {name: after - before for name, before, after in zip(names, times, times[1:])}
print(json.dumps(found | {"start_mb": start_mb, "read_mb": read_mb, "peak_mb": peak_mb()}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one process took; seconds are of CPU, which others on the machine do not change."""

    read_s: float
    """Both files."""
    overlap_s: float
    """All shared areas."""
    match_s: float
    """One to one."""
    pairs: int
    """Footprints that share ground."""
    matches: int
    """At intersection over union 0.5."""
    start_mb: float
    """Peak before the files, libraries and compiled code."""
    read_mb: float
    """Peak when both are read."""
    peak_mb: float
    """Peak at the end."""

    @property
    def work_s(self) -> float:
        """All but reading."""
        return self.overlap_s + self.match_s


def town(count: int, seed: int) -> NDArray[np.object_]:
    """Draw houses 20 m apart, half of them L-shaped, each turned its own way."""
    rng = np.random.default_rng(seed)
    side = math.ceil(math.sqrt(count))
    centres = np.column_stack(np.divmod(np.arange(count), side)) * 20.0 + rng.uniform(-2, 2, (count, 2))
    length, depth = rng.uniform(8, 16, count), rng.uniform(6, 11, count)
    notch = np.where(rng.random(count) < 0.5, 0.0, 0.4)
    outline = np.array([[0, 0], [1, 0], [1, 1], [1, 1], [1, 1], [0, 1]], np.float64)
    inwards = np.array([[0, 0], [0, 0], [0, -1], [-1, -1], [-1, 0], [0, 0]], np.float64)
    corners = outline[None] + inwards[None] * notch[:, None, None] - 0.5
    x, y = (corners * np.stack([length, depth], axis=1)[:, None]).transpose(2, 0, 1)
    angle = rng.uniform(0, np.pi, count)[:, None]
    turned = np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], axis=-1)
    moved = turned + centres[:, None] + [400_000, 5_000_000]
    return np.asarray(shapely.simplify(shapely.polygons(moved), 0), dtype=object)


def write_town(folder: Path, count: int) -> list[Path]:
    """Write a town, and the same one surveyed again: each house up to 1 m off, one in twenty missing."""
    rng = np.random.default_rng(7)
    houses = town(count, seed=1)
    kept = rng.random(count) >= 0.05
    corners, owner = shapely.get_coordinates(houses[kept], return_index=True)
    shift = rng.uniform(-0.7, 0.7, (int(kept.sum()), 2))
    again = shapely.set_coordinates(houses[kept], corners + shift[owner])
    paths = [folder / f"{count}_{name}.fgb" for name in ("truth", "prediction")]
    for path, polygons in zip(paths, (houses, again), strict=True):
        pyogrio.raw.write(
            path,
            shapely.to_wkb(polygons),
            [],
            [],
            driver="FlatGeobuf",
            geometry_type="Polygon",
            crs="EPSG:32633",
        )
    return paths


def measured(program: str, paths: list[Path]) -> Run:
    """Run a program in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK + program + REPORT, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
    )
    return Run(**json.loads(done.stdout))


def show(name: str, count: int, run: Run) -> None:
    print(
        f"{name:>12} {count:>9,}: read {run.read_s:6.2f} s, overlaps {run.overlap_s:6.2f} s, "
        f"match {run.match_s:6.3f} s, {run.pairs:,} pairs, {run.matches:,} matches; "
        f"{run.start_mb:.0f} MB at first, {run.read_mb:.0f} MB read, {run.peak_mb:.0f} MB at most"
    )


@pytest.mark.benchmark
def test_matching_grows_hardly_faster_than_the_layers_and_stays_small(tmp_path: Path) -> None:
    runs = {}
    for count in (FOOTPRINTS // 16, FOOTPRINTS // 4, FOOTPRINTS):
        runs[count] = measured(OURS, write_town(tmp_path, count))
        show("buildmap", count, runs[count])
    small, large = runs[FOOTPRINTS // 4], runs[FOOTPRINTS]
    n_log_n = 4 * math.log(FOOTPRINTS) / math.log(FOOTPRINTS // 4)
    print(f"four times the footprints: {large.work_s / small.work_s:.2f} x the time, n log n {n_log_n:.2f}")
    assert large.work_s < 1.5 * n_log_n * small.work_s
    assert large.matches > 0.9 * FOOTPRINTS
    assert (large.peak_mb - large.start_mb) * 2**20 < 1000 * FOOTPRINTS


@pytest.mark.benchmark
def test_matching_takes_a_fraction_of_the_usual_way(tmp_path: Path) -> None:
    paths = write_town(tmp_path, BESIDE)
    ours, usual = measured(OURS, paths), measured(USUAL, paths)
    show("buildmap", BESIDE, ours)
    show("geopandas", BESIDE, usual)
    assert ours.matches == usual.matches
    assert ours.work_s < usual.work_s / 3
    assert ours.peak_mb - ours.start_mb < usual.peak_mb - usual.start_mb
