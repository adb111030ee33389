"""A stand-in for what draws footprints, for other processes to import: exact outlines, and all it sees."""

import numpy as np
import shapely
from affine import Affine
from pyproj import CRS
from rasterio import features
from scipy.ndimage import binary_dilation

from buildmap.polygonize.job import Crop
from buildmap.vector.drawn import Drawn
from buildmap.vector.outlining import Outlining
from buildmap.vector.tracing.outlines import Outlines


def sketch(outlines: Outlines, crop: Crop, *, transform: Affine, crs: CRS, settings: Outlining) -> Drawn:
    """Give exact outlines; how certain an edge is, is the mean of the values in and around the component."""
    assert crs.is_projected and settings.threshold == 0.5
    polygons, count = outlines.polygons, len(outlines)
    first = shapely.get_coordinates(shapely.get_point(shapely.get_exterior_ring(polygons), 0))[:, ::-1]
    last_row = shapely.bounds(polygons).reshape(-1, 4)[:, 3] - 1
    return Drawn(
        polygons=shapely.transform(polygons, lambda corners: corners + 0.25),
        raw=polygons,
        order=np.column_stack([last_row, first, first]).astype(np.int64),
        confidence=outlines.total / outlines.pixels,
        edge_certainty=np.array([_mean_around(polygon, crop) for polygon in polygons], np.float64),
        method=np.full(count, "raw"),
        iou_raw=np.ones(count),
        pixel_m=np.full(len(outlines), abs(transform.a)),
        max_shift_m=outlines.peak * abs(transform.a),
    )


def _mean_around(polygon: shapely.Polygon, crop: Crop) -> float:
    left, top, right, bottom = (int(bound) for bound in polygon.bounds)
    values = crop(left - 1, top - 1, right + 1, bottom + 1)
    place = Affine.translation(left - 1, top - 1)
    inside = features.rasterize([polygon], out_shape=values.shape, transform=place)
    return float(values[binary_dilation(inside, np.ones((3, 3)))].mean())
