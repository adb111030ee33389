"""The paper's method over a whole raster."""

import numpy as np
import pytest
import shapely
from pyproj import CRS

from buildmap.vector.drawing import draw
from buildmap.vector.drawn import Drawn, join
from buildmap.vector.outlining import Outlining
from buildmap.vector.paper.chain import RAW, paper_outlines
from buildmap.vector.paper.kinds import kinds
from buildmap.vector.paper.measures import measure
from buildmap.vector.paper.method import PaperLimits, find_limits, redraw
from buildmap.vector.tracing.outlines import OutlineTracer, join_outlines
from tests.scenes import ORIGIN, UTM

CRS_UTM = CRS.from_user_input(UTM)


@pytest.fixture(scope="module")
def raw() -> Drawn:
    """Houses turned by some degrees, with ragged edges."""
    random = np.random.default_rng(5)
    rows, cols = np.mgrid[:240, :240]
    mask = np.zeros((240, 240), bool)
    for row in range(20, 240, 40):
        for col in range(20, 240, 40):
            angle, half = random.uniform(0, 1.5), random.uniform(5, 14, 2)
            along = (cols - col) * np.cos(angle) + (rows - row) * np.sin(angle)
            across = (rows - row) * np.cos(angle) - (cols - col) * np.sin(angle)
            mask |= (np.abs(along) < half[0]) & (np.abs(across) < half[1])
    edge = mask ^ np.roll(mask, 1, axis=0)
    mask ^= edge & (random.random(mask.shape) < 0.3)
    values = np.where(mask, 254, 0).astype(np.uint8)
    tracer = OutlineTracer(240, lowest=127)
    outlines = join_outlines([tracer.push(values), tracer.finish()])
    settings = Outlining(method="paper", min_area_m2=10)
    drawn = draw(
        outlines,
        lambda *box: np.full((box[3] - box[1], box[2] - box[0]), 255, np.uint8),
        transform=ORIGIN,
        crs=CRS_UTM,
        settings=settings,
    )
    assert len(drawn) > 25 and set(drawn.method) == {"raw"}
    return drawn


def pieces(drawn: Drawn) -> list[Drawn]:
    return [drawn.take(np.arange(start, min(start + 7, len(drawn)))) for start in range(0, len(drawn), 7)]


def redrawn(parts: list[Drawn], limits: PaperLimits) -> Drawn:
    found = [one for part in parts for one, _ in redraw(part, limits)]
    return join(found).in_order()


def test_thresholds_are_the_quantiles_of_all_outlines_whatever_the_batches(raw: Drawn) -> None:
    measures = measure(raw.raw)
    limits = find_limits(pieces(raw), block_px=None)
    assert list(limits.by_block) == [(0, 0)]
    found = limits.by_block[0, 0]
    for name in ("curvature", "ratio", "noise"):
        values = getattr(measures, name)
        assert getattr(found, name) == np.quantile(values, 0.75, method="inverted_cdf")
    assert find_limits([raw], block_px=None) == limits


def test_of_very_many_the_thresholds_are_nearly_exact(raw: Drawn) -> None:
    exact = find_limits([raw], block_px=None).by_block[0, 0]
    nearly = find_limits(pieces(raw), block_px=None, exact_max=10).by_block[0, 0]
    for name in ("curvature", "ratio", "noise"):
        assert getattr(nearly, name) == pytest.approx(getattr(exact, name), rel=0.0021)
    assert nearly != exact


def test_a_block_has_thresholds_of_its_own_outlines(raw: Drawn) -> None:
    limits = find_limits(pieces(raw), block_px=120)
    assert sorted(limits.by_block) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    lower_left = (raw.order[:, 1] >= 120) & (raw.order[:, 2] < 120)
    alone = find_limits([raw.take(lower_left)], block_px=None)
    assert limits.by_block[1, 0] == alone.by_block[0, 0]
    found = redrawn(pieces(raw), limits)
    expected = redrawn([raw.take(lower_left)], alone)
    inside = (found.order[:, 1] >= 120) & (found.order[:, 2] < 120)
    assert shapely.to_wkb(found.polygons[inside]).tolist() == shapely.to_wkb(expected.polygons).tolist()


def test_footprints_are_those_of_the_chain_with_their_verdict(raw: Drawn) -> None:
    limits = find_limits([raw], block_px=None)
    steps = paper_outlines(raw.raw, limits.by_block[0, 0])
    found = redrawn(pieces(raw), limits)
    assert shapely.to_wkb(found.polygons).tolist() == shapely.to_wkb(steps.final).tolist()
    assert found.method.tolist() == np.where(steps.rolled_back == RAW, "raw", "paper").tolist()
    assert {"paper"} <= set(found.method)
    iou = shapely.area(shapely.intersection(found.polygons, raw.raw)) / shapely.area(
        shapely.union(found.polygons, raw.raw)
    )
    assert found.iou_raw == pytest.approx(iou, abs=1e-6)
    first = next(number for number, method in enumerate(found.method) if method == "paper")
    corners = shapely.points(shapely.get_coordinates(raw.raw[first]))
    others = shapely.points(shapely.get_coordinates(found.polygons[first]))
    shift = max(
        shapely.distance(corners, shapely.boundary(found.polygons[first])).max(),
        shapely.distance(others, shapely.boundary(raw.raw[first])).max(),
    )
    assert found.max_shift_m[first] == pytest.approx(shift * 0.5, rel=2e-3)


def test_the_steps_can_be_looked_at(raw: Drawn) -> None:
    limits = find_limits([raw], block_px=None)
    ((_, steps),) = redraw(raw, limits)
    assert (
        set(steps.kind)
        == set(kinds(measure(raw.raw), limits.by_block[0, 0]))
        == {"regular", "complex", "noisy"}
    )
    assert (shapely.get_num_coordinates(steps.simplified) < shapely.get_num_coordinates(raw.raw)).any()


def test_no_outlines_give_no_thresholds() -> None:
    assert find_limits([], block_px=None).by_block == {}
