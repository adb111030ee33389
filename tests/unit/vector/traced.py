"""Pixel-edge outlines of small masks, and masks of buildings at any angle."""

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy.ndimage import gaussian_filter
from shapely.affinity import rotate

from buildmap.vector.tracing.outlines import OutlineTracer


def traced(mask: NDArray[np.uint8]) -> NDArray[np.object_]:
    """Trace the 4-connected buildings of a 0/1 mask."""
    tracer = OutlineTracer(mask.shape[1], lowest=1)
    parts = [tracer.push(np.ascontiguousarray(mask)).polygons, tracer.finish().polygons]
    return np.concatenate(parts)


def traced_shape(shape: shapely.Polygon, size: int = 120) -> NDArray[np.object_]:
    """Trace one shape, in pixels, drawn into a mask."""
    return traced(rasterize([shape], out_shape=(size, size), dtype=np.uint8))


def turned_l(angle_deg: float) -> shapely.Polygon:
    """Build an L of 60 by 40 pixels, turned about the middle of a mask of 120."""
    corners = [(30, 40), (90, 40), (90, 60), (55, 60), (55, 80), (30, 80)]
    return rotate(shapely.Polygon(corners), angle_deg, origin=(60, 60))


def rough_mask(rng: np.random.Generator, size: int = 60, share: float = 0.45) -> NDArray[np.uint8]:
    """Draw a mask of blobs with holes and pinches."""
    noise = gaussian_filter(rng.normal(size=(size, size)), 1.5)
    return (noise < np.quantile(noise, share)).astype(np.uint8)
