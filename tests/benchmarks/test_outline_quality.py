"""How near regularized footprints are to true ones that a generator has drawn, beside other ways.

`BUILDMAP_BENCH_OUTLINES=FOLDER pytest -m benchmark tests/benchmarks/test_outline_quality.py -s` reads
`NAME_mask.tif` (or `NAME_prob.tif`) and `NAME_truth.gpkg` (with the columns `kind` and `group`) for every
NAME of `s8k`, `h6k` and `r8k` that is there, and for every other the table alone. Houses in a row, which
have one `group` above 0, are one object. Buildings are matched by their raw outlines, so that all ways
are judged on the same pairs. Lengths are in pixels of 0.3 m. buildingregulariser is in the table where it
can be imported: as it comes, and with the settings that give it the best C-IoU on `s8k`.
"""

import importlib
import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from numpy.typing import NDArray

from buildmap.metrics.outlines import OutlineErrors, c_iou, compare_outlines
from buildmap.vector.fitting.regularize import regularize, simplified
from buildmap.vector.holes import fill_holes
from buildmap.vector.matching import find_overlaps, match
from buildmap.vector.paper.chain import paper_outlines
from buildmap.vector.paper.kinds import thresholds
from buildmap.vector.paper.measures import measure
from buildmap.vector.polygons import to_map
from buildmap.vector.store import PolygonStore
from buildmap.vector.tracing.outlines import OutlineTracer

FOLDER = os.environ.get("BUILDMAP_BENCH_OUTLINES", "")
RIVAL, TUNED_RIVAL = "buildingregulariser", "the same, best tuned"
TUNING = {"simplify_tolerance": 1.2, "parallel_threshold": 2.0}
PIXEL_M = 0.3
MIN_AREA_PX, MIN_HOLE_PX = 10 / PIXEL_M**2, 3 / PIXEL_M**2
SQUARE_KINDS = ("rect", "L", "T", "U", "Z", "court", "hall")
STRIP_PX = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What regularized footprints of one raster must reach."""

    gain: float
    """IoU above that of the raw outlines."""
    c_iou: float
    """Without circles, whose number of corners is a matter of taste."""
    polis_ratio: float
    """PoLiS over that of buildingregulariser."""
    turn_deg: float
    """Median orientation error of buildings with right angles."""


TARGETS = {
    "s8k": Target(gain=0.025, c_iou=0.92, polis_ratio=0.50, turn_deg=0.7),
    "h6k": Target(gain=0.028, c_iou=0.89, polis_ratio=0.60, turn_deg=0.9),
    "r8k": Target(gain=0.030, c_iou=0.87, polis_ratio=0.70, turn_deg=1.2),
}
"""Rougher edges tell less about the direction of a wall, whatever looks at them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Raw outlines and the true buildings they belong to, in pixels."""

    raw: NDArray[np.object_]
    """(n,) along pixel edges."""
    true: NDArray[np.object_]
    """(n,)."""
    kind: NDArray[np.object_]
    """(n,) of the true building."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How one way of drawing does."""

    iou: float
    """Mean."""
    c_iou: float
    """Mean, without circles."""
    vertex_ratio: float
    """Drawn corners for each true one, without circles."""
    exact: float
    """Share of buildings with as many corners as the true one, without circles."""
    polis: float
    """Mean, pixels."""
    turn_deg: float
    """Median orientation error of buildings with right angles."""
    invalid: int
    """Footprints."""


def names() -> list[str]:
    return sorted(
        path.name.removesuffix("_truth.gpkg") for path in Path(FOLDER or "/none").glob("*_truth.gpkg")
    )


def traced(path: Path) -> Iterator[NDArray[np.object_]]:
    with rasterio.open(path) as dataset:
        tracer = OutlineTracer(dataset.width, lowest=1)
        half = 1 if path.name.endswith("_mask.tif") else 128
        for row in range(0, dataset.height, STRIP_PX):
            rows = dataset.read(1, window=((row, min(row + STRIP_PX, dataset.height)), (0, dataset.width)))
            yield tracer.push((rows >= half).astype(np.uint8)).polygons
        yield tracer.finish().polygons


def load(name: str) -> Pairs:
    mask = Path(FOLDER) / f"{name}_mask.tif"
    path = mask if mask.exists() else Path(FOLDER) / f"{name}_prob.tif"
    raw = np.concatenate(list(traced(path)))
    raw = raw[shapely.area(raw) >= MIN_AREA_PX]
    raw = fill_holes(raw, np.full(len(raw), MIN_HOLE_PX))
    with rasterio.open(path) as dataset:
        inverse = ~dataset.transform
    table = pyogrio.raw.read(Path(FOLDER) / f"{name}_truth.gpkg", columns=["kind", "group"])
    kind, group = table[3]
    true = to_map(shapely.from_wkb(table[2]), inverse)
    rows = [shapely.union_all(true[group == number]) for number in np.unique(group[group > 0])]
    true = np.concatenate([true[group == 0], np.array(rows, object)])
    kind = np.concatenate([kind[group == 0], np.full(len(rows), "row", object)])
    whole = shapely.get_type_id(true) == shapely.GeometryType.POLYGON
    true, kind = true[whole], kind[whole]
    matches = match(find_overlaps(PolygonStore.gather([raw]), PolygonStore.gather([true])), iou_min=0.5)
    return Pairs(raw=raw[matches.left], true=true[matches.right], kind=kind[matches.right])


def figures(drawn: NDArray[np.object_], pairs: Pairs) -> Figures:
    errors: OutlineErrors = compare_outlines(drawn, pairs.true, None, sampling_m=2, corner_tolerance_m=3)
    straight, square = pairs.kind != "circle", np.isin(pairs.kind, SQUARE_KINDS)
    corners, true_corners = errors.corners_predicted[straight], errors.corners_true[straight]
    return Figures(
        iou=float(errors.iou.mean()),
        c_iou=float(c_iou(errors.iou[straight], corners, true_corners).mean()),
        vertex_ratio=int(corners.sum()) / int(true_corners.sum()),
        exact=float((corners == true_corners).mean()),
        polis=float(errors.polis_m.mean()),
        turn_deg=float(np.nanmedian(errors.orientation_error_deg[square])),
        invalid=int((~shapely.is_valid(drawn)).sum()),
    )


def by_paper(raw: NDArray[np.object_]) -> NDArray[np.object_]:
    """Take outlines through HR-Mamba's chain, with the thresholds that they give themselves."""
    return paper_outlines(raw, thresholds(measure(raw))).final


def by_buildingregulariser(raw: NDArray[np.object_], tuning: dict[str, float]) -> NDArray[np.object_]:
    """Run it on one core; it works on a table in a projected CRS, and looks at metres."""
    import geopandas  # noqa: PLC0415

    frame = geopandas.GeoDataFrame(
        {"number": np.arange(len(raw))},
        geometry=shapely.transform(raw, lambda corners: corners * [PIXEL_M, -PIXEL_M]),
        crs="EPSG:32633",
    )
    rival = importlib.import_module(RIVAL)
    drawn = rival.regularize_geodataframe(frame, num_cores=1, **tuning)
    by_size = drawn.iloc[np.argsort(drawn.geometry.area.to_numpy())]  # some come back in parts
    drawn = by_size.drop_duplicates("number", keep="last").sort_values("number")
    assert drawn["number"].tolist() == list(range(len(raw)))
    return np.asarray(
        shapely.transform(drawn.geometry.to_numpy(), lambda corners: corners / [PIXEL_M, -PIXEL_M])
    )


def ways() -> dict[str, Callable[[NDArray[np.object_]], NDArray[np.object_]]]:
    chosen: dict[str, Callable[[NDArray[np.object_]], NDArray[np.object_]]] = {
        "raw": lambda raw: raw,
        "Douglas-Peucker 0.9 m": lambda raw: simplified(raw, np.full(len(raw), 0.9 / PIXEL_M)).polygons,
        "paper": by_paper,
        "adaptive": lambda raw: regularize(raw).polygons,
    }
    if importlib.util.find_spec(RIVAL):
        chosen[RIVAL] = partial(by_buildingregulariser, tuning={})
        chosen[TUNED_RIVAL] = partial(by_buildingregulariser, tuning=TUNING)
    return chosen


def show(name: str, way: str, found: Figures, speed: float) -> None:
    print(
        f"{name:5} {way:22} IoU {found.iou:.4f}  C-IoU {found.c_iou:.3f}  corners {found.vertex_ratio:6.3f} "
        f"exact {found.exact:.1%}  PoLiS {found.polis:.3f} px  turn {found.turn_deg:5.2f} deg  "
        f"invalid {found.invalid}  {speed:,.0f}/s"
    )


@pytest.mark.benchmark
@pytest.mark.filterwarnings("default")  # the rival has its own
@pytest.mark.parametrize("name", names())
def test_outlines_come_nearer_to_the_true_ones(name: str) -> None:
    pairs, table = load(name), {}
    for way, draw in ways().items():
        draw(pairs.raw[:8])  # compile
        began = time.process_time()
        drawn = draw(pairs.raw)
        speed = len(drawn) / max(time.process_time() - began, 1e-9)
        table[way] = figures(drawn, pairs)
        show(name, way, table[way], speed)
    ours, raw, target = table["adaptive"], table["raw"], TARGETS.get(name)
    assert ours.invalid == 0
    assert ours.iou > max(found.iou for way, found in table.items() if way != "adaptive")
    assert ours.c_iou > max(found.c_iou for way, found in table.items() if way != "adaptive")
    if target is not None:
        assert ours.iou >= raw.iou + target.gain
        assert ours.c_iou >= target.c_iou
        assert 0.95 <= ours.vertex_ratio <= 1.05
        assert ours.turn_deg <= target.turn_deg
        if rival := table.get(RIVAL):
            assert ours.polis <= target.polis_ratio * rival.polis


@pytest.mark.benchmark
def test_there_are_rasters_to_judge_by() -> None:
    if not FOLDER:
        pytest.skip("BUILDMAP_BENCH_OUTLINES names no folder")
    assert set(TARGETS) <= set(names())
