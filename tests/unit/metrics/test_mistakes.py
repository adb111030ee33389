"""Layers of the buildings a map got wrong."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

from buildmap.errors import InputError
from buildmap.metrics.mistakes import KINDS, Mistakes
from buildmap.metrics.objects import Comparison, Objects, compare
from buildmap.vector.store import PolygonStore
from buildmap.vector.writing.layers import Layer, write_layers
from tests.scenes import UTM

CRS = rasterio.CRS.from_string(UTM)


def objects(boxes: list[tuple[float, ...]], counted: list[bool] | None = None, area: float = 1.0) -> Objects:
    polygons = np.array([shapely.box(400_000 + a, b, 400_000 + c, d) for a, b, c, d in boxes], object)
    return Objects(
        store=PolygonStore.gather(iter([polygons])),
        confidence=None,
        area_m2=area * shapely.area(polygons),
        rows=np.zeros(len(boxes), np.int64),
        cols=np.zeros(len(boxes), np.int64),
        counted=np.array([True] * len(boxes) if counted is None else counted, bool),
    )


def one_of_each() -> Comparison:
    """Predict one right, one merged, two pieces of a third and one of nothing; miss one."""
    predicted = [(0, 0, 10, 10), (20, 0, 40, 10), (50, 0, 54, 10), (55, 0, 60, 10), (90, 0, 99, 9)]
    true = [(0, 0, 10, 10), (20, 0, 29, 10), (31, 0, 40, 10), (50, 0, 60, 10), (70, 0, 80, 10)]
    return compare(objects(predicted, area=2), objects(true, area=3))


def bounds(layer: Layer) -> list[list[float]]:
    return sorted((shapely.bounds(layer.polygons) - [400_000, 0, 400_000, 0]).tolist())


def collected(*comparisons: Comparison, crs: rasterio.CRS = CRS) -> dict[str, Layer]:
    mistakes = Mistakes()
    for number, comparison in enumerate(comparisons):
        mistakes.add(comparison, crs, prediction=f"{number}.tif")
    return mistakes.layers()


def test_each_mistake_is_in_its_layer() -> None:
    layers = collected(one_of_each())
    assert tuple(layers) == KINDS == ("false", "missed", "merged", "split")
    assert bounds(layers["false"]) == [[20, 0, 40, 10], [50, 0, 54, 10], [90, 0, 99, 9]]
    assert bounds(layers["missed"]) == [[20, 0, 29, 10], [31, 0, 40, 10], [70, 0, 80, 10]]
    assert bounds(layers["merged"]) == [[20, 0, 40, 10]]
    assert bounds(layers["split"]) == [[50, 0, 60, 10]]


def test_each_mistake_knows_its_area_and_its_prediction() -> None:
    layers = collected(one_of_each(), one_of_each())
    for kind, times in {"false": 2, "missed": 3, "merged": 2, "split": 3}.items():
        layer = layers[kind]
        assert layer.columns["area_m2"] == pytest.approx(times * shapely.area(layer.polygons))
        half = len(layer.polygons) // 2
        assert layer.columns["prediction"].tolist() == ["0.tif"] * half + ["1.tif"] * half


def test_what_does_not_count_is_no_mistake() -> None:
    predicted, true = (
        objects([(0, 0, 9, 9), (20, 0, 29, 9)], [True, False]),
        objects([(50, 0, 60, 10)], [False]),
    )
    layers = collected(compare(predicted, true))
    assert bounds(layers["false"]) == [[0, 0, 9, 9]]
    assert bounds(layers["missed"]) == []


def test_all_pairs_are_in_the_crs_of_the_first() -> None:
    comparison = one_of_each()
    degrees = rasterio.CRS.from_epsg(4326)

    def moved(side: Objects) -> Objects:
        series = gpd.GeoSeries(side.store.take(slice(0, len(side.store))), crs=UTM).to_crs(4326)
        polygons = np.array(list(series), object)
        return Objects(
            store=PolygonStore.gather(iter([polygons])),
            confidence=None,
            area_m2=side.area_m2,
            rows=side.rows,
            cols=side.cols,
            counted=side.counted,
        )

    mistakes = Mistakes()
    mistakes.add(comparison, CRS, prediction="a")
    mistakes.add(compare(moved(comparison.predicted), moved(comparison.true)), degrees, prediction="b")
    assert mistakes.crs == CRS
    for layer in mistakes.layers().values():
        half = len(layer.polygons) // 2
        first, second = (shapely.bounds(part) for part in (layer.polygons[:half], layer.polygons[half:]))
        assert half > 0
        assert second == pytest.approx(first, abs=1e-5)


def test_without_mistakes_the_layers_are_there_and_empty(tmp_path: Path) -> None:
    right = objects([(0, 0, 10, 10)])
    layers = collected(compare(right, right))
    assert {len(layer.polygons) for layer in layers.values()} == {0}
    write_layers(tmp_path / "e.gpkg", layers, crs=CRS)
    for kind in KINDS:
        read = gpd.read_file(tmp_path / "e.gpkg", layer=kind)
        assert (len(read), set(read.columns)) == (0, {"area_m2", "prediction", "geometry"})


def test_polygons_without_a_crs_are_refused() -> None:
    mistakes = Mistakes()
    with pytest.raises(InputError, match=r"a\.tif has no CRS") as refused:
        mistakes.add(one_of_each(), None, prediction="a.tif")
    assert refused.value.hint == "leave out --errors"
    assert mistakes.crs is None
