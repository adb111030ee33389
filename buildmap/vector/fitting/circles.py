"""Round outlines: the circle that fits samples best, and the ring drawn for it. Compiled loops."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled

_SAGITTA = 0.1
_FLAT = 1e-9


class Circle(NamedTuple):
    """A circle and how well it fits."""

    x: float
    """Of the centre."""
    y: float
    """Of the centre."""
    radius: float
    """0 where the samples lie on a line."""
    residual: float
    """Sum of the squares of the distances of the samples from it."""


@compiled
def fit_circle(samples: NDArray[np.float64]) -> Circle:
    """Fit a circle by least squares of the squared radii (Kasa, IEEE Trans. Instrum. Meas. 1976).

    Args:
        samples: (n, 2), n at least 3.
    """
    count = len(samples)
    x, y = samples[:, 0].mean(), samples[:, 1].mean()
    uu, uv, vv, cubes_u, cubes_v = 0.0, 0.0, 0.0, 0.0, 0.0
    for number in range(count):
        u, v = samples[number, 0] - x, samples[number, 1] - y
        square = u * u + v * v
        uu += u * u
        uv += u * v
        vv += v * v
        cubes_u += u * square
        cubes_v += v * square
    determinant = uu * vv - uv * uv
    if determinant <= _FLAT * (uu + vv) ** 2:
        return Circle(x, y, 0.0, uu + vv)
    centre_u = (cubes_u * vv - cubes_v * uv) / (2 * determinant)
    centre_v = (cubes_v * uu - cubes_u * uv) / (2 * determinant)
    radius = math.sqrt(centre_u**2 + centre_v**2 + (uu + vv) / count)
    rest = 0.0
    for number in range(count):
        u, v = samples[number, 0] - x - centre_u, samples[number, 1] - y - centre_v
        rest += (math.sqrt(u * u + v * v) - radius) ** 2
    return Circle(x + centre_u, y + centre_v, radius, rest)


@compiled
def draw_circle(circle: Circle, turn: float) -> NDArray[np.float64]:
    """Draw a ring of the area of a circle, whose sides are at most a tenth of a pixel off.

    Args:
        circle: Of a radius above 0.
        turn: 1 to go from x towards y, -1 the other way.

    Returns:
        (c, 2) not closed; c is a multiple of 4 from 16 to 64.
    """
    half = math.acos(max(1 - _SAGITTA / circle.radius, 0.0))
    count = min(max(4 * math.ceil(math.pi / half / 4), 16), 64)
    step = 2 * math.pi / count
    radius = circle.radius * math.sqrt(step / math.sin(step))
    ring = np.empty((count, 2))
    for number in range(count):
        ring[number, 0] = circle.x + radius * math.cos(number * step)
        ring[number, 1] = circle.y + turn * radius * math.sin(number * step)
    return ring
