"""The audit finds exactly what was planted, whole and once, however the ground is cut."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
import torch
from affine import Affine
from shapely.geometry.base import BaseGeometry
from torch import Tensor, nn

from buildmap.data.sources import TrainingSource, open_sources
from buildmap.errors import InputError
from buildmap.models.instance_network import Detections, InstanceNetwork
from buildmap.preset import Source
from buildmap.training.audit import Audit, AuditOptions, audit, check_auditable, write_audit
from tests.unit.training.ground import PRESET, Bright, Rectangle, polygon_of, write_scene

SHAPE = (150, 210)
CPU = torch.device("cpu")
GRID = [(5 + 38 * row, 4 + 42 * col, 14 + row, 12 + 2 * col) for row in range(4) for col in range(5)]
"""Twenty buildings; some lie across the borders of windows (48 px) and of chips (32 px)."""
LACKING = [GRID[3], GRID[7], GRID[11]]
INVENTED: list[Rectangle] = [(24, 25, 9, 12), (100, 60, 10, 10)]
MAPPED = [one for one in GRID if one not in LACKING] + INVENTED


@contextmanager
def opened(root: Path, *sources: Source) -> Iterator[tuple[TrainingSource, ...]]:
    with ExitStack() as stack:
        found = open_sources(root, replace(PRESET, sources=sources))
        for source in found:
            stack.callback(source.close)
        yield found


def look(
    root: Path, *sources: Source, network: nn.Module | None = None, options: AuditOptions | None = None
) -> Audit:
    with opened(root, *sources) as found:
        return audit(
            network or Bright(), found, PRESET, stride=8, device=CPU, options=options or AuditOptions()
        )


def planted(root: Path, *, as_mask: bool, name: str = "town") -> Source:
    return write_scene(root, name, GRID, MAPPED, shape=SHAPE, as_mask=as_mask)


class OneByOne(InstanceNetwork):
    """Says of each window, which it finds as one building, what `Bright` says of its pixels."""

    stride = 8

    def detect(self, images: Tensor) -> list[Detections]:
        boxes = torch.tensor([[0.0, 0.0, images.shape[3], images.shape[2]]])
        masks = Bright()(images).sigmoid()
        return [
            Detections(boxes=boxes, scores=torch.tensor([0.98]), masks=mask, heatmaps=None) for mask in masks
        ]


def wkt(shapes: list[object]) -> set[str]:
    return {shapely.normalize(shape).wkt for shape in shapes}


@pytest.mark.parametrize("as_mask", [True, False])
def test_what_was_planted_is_found_and_nothing_else(tmp_path: Path, as_mask: bool) -> None:
    found = look(tmp_path, planted(tmp_path, as_mask=as_mask))
    kind = found.suspects.columns["kind"]
    assert (found.missing, found.phantoms, len(kind)) == (3, 2, 5)
    assert wkt(list(found.suspects.polygons[kind == "missing"])) == wkt([polygon_of(b) for b in LACKING])
    assert wkt(list(found.suspects.polygons[kind == "phantom"])) == wkt([polygon_of(b) for b in INVENTED])
    assert found.suspects.columns["rank"].tolist() == [1, 2, 3, 4, 5]
    assert (found.suspects.columns["score"] > 0.95).all()
    flat_m2 = shapely.area(found.suspects.polygons)
    np.testing.assert_allclose(found.suspects.columns["area_m2"], flat_m2, rtol=2e-3)


def test_of_buildings_found_one_by_one_the_same_is_said(tmp_path: Path) -> None:
    source = planted(tmp_path, as_mask=False)
    found, expected = look(tmp_path, source, network=OneByOne()), look(tmp_path, source)
    assert (found.missing, found.phantoms) == (3, 2)
    assert wkt(list(found.suspects.polygons)) == wkt(list(expected.suspects.polygons))
    scores = np.minimum(expected.suspects.columns["score"], 0.98)
    np.testing.assert_allclose(found.suspects.columns["score"], scores, atol=0.01)


@pytest.mark.parametrize("window_px", [32, 64, 512])
def test_the_same_is_found_however_the_ground_is_cut(tmp_path: Path, window_px: int) -> None:
    source = planted(tmp_path, as_mask=True)
    preset = replace(PRESET, predict=replace(PRESET.predict, window_px=window_px, halo_px=8))
    with opened(tmp_path, source) as sources:
        cut = audit(Bright(), sources, preset, stride=8, device=CPU)
        whole = audit(Bright(), sources, PRESET, stride=8, device=CPU)
    assert [p.wkt for p in cut.suspects.polygons] == [p.wkt for p in whole.suspects.polygons]
    for name in ("score", "loss", "mean_probability"):
        np.testing.assert_allclose(cut.suspects.columns[name], whole.suspects.columns[name], rtol=1e-6)
    np.testing.assert_allclose(cut.chips.columns["loss"], whole.chips.columns["loss"], rtol=1e-5)


def test_a_building_across_training_and_validation_ground_comes_out_once(tmp_path: Path) -> None:
    building, invented = (40, 90, 20, 20), (90, 92, 15, 15)
    source = write_scene(tmp_path, "town", [building], [invented, (5, 5, 1, 1)], shape=SHAPE, as_mask=False)
    parts = [
        replace(source, use="train", window_px=(0, 0, 100, 150)),
        replace(source, use="validation", window_px=(100, 0, 110, 150)),
    ]
    found = look(tmp_path, *parts)
    assert wkt(list(found.suspects.polygons)) == wkt([polygon_of(building), polygon_of(invented)])
    assert found.suspects.columns["source"].tolist() == ["town", "town"]


def test_numbers_are_those_of_the_pixels(tmp_path: Path) -> None:
    found = look(tmp_path, planted(tmp_path, as_mask=True))
    columns = found.suspects.columns
    missing = columns["kind"] == "missing"
    sure = 1 / (1 + np.exp(-4.0))  # roofs and ground are so far apart that every logit is 4 or -4
    np.testing.assert_allclose(columns["mean_probability"][missing], sure, atol=0.002)
    np.testing.assert_allclose(columns["mean_probability"][~missing], 1 - sure, atol=0.002)
    np.testing.assert_allclose(columns["score"], sure, atol=0.002)
    np.testing.assert_allclose(columns["loss"], -np.log(1 - sure), atol=0.03)


def test_rows_are_ranked_by_how_sure_the_network_is(tmp_path: Path) -> None:
    class Unsure(nn.Module):
        """Is less sure the further right it looks."""

        def forward(self, image: Tensor) -> Tensor:
            return Bright()(image) * torch.linspace(1, 0.5, image.shape[-1])

    source = planted(tmp_path, as_mask=True)
    preset = replace(PRESET, predict=replace(PRESET.predict, window_px=512, halo_px=0))
    with opened(tmp_path, source) as sources:
        found = audit(Unsure(), sources, preset, stride=8, device=CPU)
    lefts = shapely.bounds(found.suspects.polygons)[:, 0]
    assert len(lefts) == 5 and (np.diff(lefts) > 0).all()
    assert (np.diff(found.suspects.columns["score"]) < 0).all()
    assert (np.diff(found.chips.columns["loss"]) <= 0).all()


def test_only_the_worst_are_kept(tmp_path: Path) -> None:
    source = planted(tmp_path, as_mask=False)
    everything = look(tmp_path, source)
    some = look(tmp_path, source, options=AuditOptions(worst=2))
    assert [p.wkt for p in some.suspects.polygons] == [p.wkt for p in everything.suspects.polygons[:2]]
    assert len(some.chips.polygons) == 2


@pytest.mark.parametrize("as_mask", [True, False])
def test_a_right_map_gives_a_valid_empty_layer(tmp_path: Path, as_mask: bool) -> None:
    source = write_scene(tmp_path, "town", GRID, GRID, shape=SHAPE, as_mask=as_mask)
    write_audit(look(tmp_path, source), tmp_path / "audit.gpkg")
    assert {name for name, _ in pyogrio.list_layers(tmp_path / "audit.gpkg")} == {"suspects", "chips"}
    info = pyogrio.read_info(tmp_path / "audit.gpkg", layer="suspects")
    assert (info["features"], info["crs"]) == (0, "EPSG:32633")
    assert {*info["fields"]} == {"rank", "kind", "score", "mean_probability", "loss", "area_m2", "source"}


def test_outlines_that_are_a_little_off_are_no_mistakes_of_the_map(tmp_path: Path) -> None:
    shifted = [(row + 3, col + 4, rows, cols) for row, col, rows, cols in GRID]  # 1.5 m down, 2 m right
    source = write_scene(tmp_path, "town", GRID, shifted, shape=(160, 220), as_mask=False)
    assert len(look(tmp_path, source).suspects.polygons) == 0
    strict = AuditOptions(tolerance_m=0, min_area_m2=0)
    assert look(tmp_path, source, options=strict).missing == 20


@pytest.mark.parametrize(("lacking_cols", "missing"), [(5, 0), (12, 1)])
def test_a_building_mapped_in_part_is_missing_only_if_much_of_it_is(
    tmp_path: Path, lacking_cols: int, missing: int
) -> None:
    house = (40, 40, 30, 40)
    mapped = (40, 40, 30, 40 - lacking_cols)  # 2.5 m, or 6 m, are not on the map
    source = write_scene(tmp_path, "town", [house], [mapped], shape=SHAPE, as_mask=False)
    found = look(tmp_path, source)
    assert (found.missing, found.phantoms) == (missing, 0)
    expected = [polygon_of((40, 80 - lacking_cols, 30, lacking_cols))] * missing
    assert wkt(list(found.suspects.polygons)) == wkt(expected)


def test_small_places_are_left_out(tmp_path: Path) -> None:
    shed, house = (10, 10, 6, 6), (60, 60, 12, 12)  # 9 m2 and 36 m2
    source = write_scene(tmp_path, "town", [shed, house], [(100, 100, 2, 2)], shape=SHAPE, as_mask=True)
    assert wkt(list(look(tmp_path, source).suspects.polygons)) == wkt([polygon_of(house)])
    every = look(tmp_path, source, options=AuditOptions(min_area_m2=9 * 0.99))
    assert every.missing == 2


def test_rasters_of_several_crs_meet_in_degrees(tmp_path: Path) -> None:
    near = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
    north = planted(tmp_path, as_mask=False)
    other = write_scene(
        tmp_path, "other", GRID, MAPPED, shape=SHAPE, as_mask=True, crs="EPSG:32634", transform=near
    )
    found = look(tmp_path, north, other)
    assert found.crs.to_epsg() == 4326
    assert sorted(found.suspects.columns["source"].tolist()) == ["other"] * 5 + ["town"] * 5
    lon, lat = shapely.get_coordinates(shapely.centroid(found.suspects.polygons)).T
    town = found.suspects.columns["source"] == "town"
    np.testing.assert_allclose(lon[town], 13.73, atol=0.01)  # 100 km west of the meridian at 15 degrees
    np.testing.assert_allclose(lon[~town], 21.0, atol=0.01)
    np.testing.assert_allclose(lat, 45.15, atol=0.01)


def test_a_raster_without_a_crs_is_left_out_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    placed = planted(tmp_path, as_mask=True)
    nowhere = write_scene(tmp_path, "nowhere", GRID, MAPPED, shape=SHAPE, as_mask=True, crs=None)
    found = look(tmp_path, placed, nowhere)
    assert found.left_out == ("nowhere",)
    assert "nowhere" in caplog.text
    assert {*found.suspects.columns["source"]} == {"town"}
    with opened(tmp_path, nowhere) as sources, pytest.raises(InputError, match="no raster has a CRS"):
        check_auditable(sources)


class Drawn:
    """Annotations that know their polygons."""

    def __init__(self, source: TrainingSource, polygons: list[BaseGeometry]) -> None:
        self.polygons = np.array(polygons, np.object_)
        self.draw, self.close = source.annotations.draw, source.annotations.close


def test_footprints_that_touch_are_judged_one_by_one(tmp_path: Path) -> None:
    real, invented = (40, 40, 16, 16), (40, 56, 16, 16)
    source = write_scene(tmp_path, "town", [real], [real, invented], shape=SHAPE, as_mask=False)
    polygons = [polygon_of(real), polygon_of(invented)]
    with opened(tmp_path, source) as sources:
        drawn = [replace(one, annotations=Drawn(one, polygons)) for one in sources]
        found = audit(Bright(), drawn, PRESET, stride=8, device=CPU)
        twice = audit(Bright(), drawn * 2, PRESET, stride=8, device=CPU)
    assert wkt(list(found.suspects.polygons)) == wkt([polygon_of(invented)])
    assert wkt(list(twice.suspects.polygons)) == wkt([polygon_of(invented)])
    assert len(twice.suspects.polygons) == found.phantoms == 1


def test_chips_are_ranked_by_their_loss(tmp_path: Path) -> None:
    found = look(tmp_path, planted(tmp_path, as_mask=True))
    wrong = shapely.union_all([polygon_of(one) for one in LACKING + INVENTED])
    shares = shapely.area(shapely.intersection(found.chips.polygons, wrong)) / shapely.area(
        found.chips.polygons
    )
    right = -np.log(1 / (1 + np.exp(-4.0)))  # a wrong pixel costs the logit more
    np.testing.assert_allclose(found.chips.columns["loss"], right + 4 * shares, atol=1e-4)
    assert found.chips.columns["loss"][0] > 10 * right
    assert len(found.chips.polygons) == 5 * 7
