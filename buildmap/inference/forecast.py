"""What a prediction would take, from measuring two windows of it."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from buildmap.execution.memory import resident_bytes
from buildmap.inference.backend import Backend
from buildmap.inference.cutting import block_cache_bytes
from buildmap.inference.devices import growth_bytes
from buildmap.inference.instance_backend import InstanceBackend
from buildmap.inference.prepare import Work
from buildmap.inference.strips import Predictor, predictor
from buildmap.raster.windows import PlannedWindow

_OVERVIEWS = 4 / 3
_PARTS = 1.2
_OBJECT_BYTES = 2000
"""A building of fifty corners, in its strip and in the layer."""
_STRIP_BYTES = 4
"""Per predicted pixel: sums of the strip in hand and their rows, and rows of the one being written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What would be done, and what it would take."""

    windows: int
    """Windows planned."""
    windows_skipped: int
    """Of these, windows known without reading to hold nothing valid and wanted."""
    seconds: float
    """Wall time, as two windows measured just now let expect; more are skipped where pixels are invalid."""
    memory_mb: int
    """Main memory."""
    disk_mb: int
    """Disk beside the output while it is made, at most."""


def forecast(work: Work, backend: Backend | InstanceBackend, strips: list[int]) -> Forecast:
    """Count the windows of some strips, and predict two of them."""
    plan = work.job.cutting.plan
    maker = predictor(work, backend)
    needed: list[PlannedWindow] = []
    windows = wanted = 0
    for index in strips:
        for row in plan.strip(index):
            some = [planned for planned in row if maker.windows.needs(work.job.cutting.share(planned))]
            windows, wanted = windows + len(row), wanted + len(some)
            needed += some[: max(0, 2 - len(needed))]
    held, paces = resident_bytes(), [0.0]
    grown = growth_bytes(lambda: paces.append(_seconds_per_window(maker, needed))) if needed else 0
    memory = max(held + grown, resident_bytes()) + block_cache_bytes(work.reader, work.job.cutting)
    finer, instances = work.job.cutting.scale**2, work.card.model.instances
    if instances is None:
        memory += _STRIP_BYTES * finer * plan.width * plan.core_height_px * plan.rows_per_strip
        disk = finer * plan.width * plan.height * (_OVERVIEWS + _PARTS)
    else:
        memory += _OBJECT_BYTES * instances.most * plan.columns * plan.rows_per_strip
        disk = _OBJECT_BYTES * instances.most * wanted
    return Forecast(
        windows=windows,
        windows_skipped=windows - wanted,
        seconds=round(paces[-1] * wanted, 1),
        memory_mb=round(memory / 1e6),
        disk_mb=round(disk / 1e6),
    )


def _seconds_per_window(maker: Predictor, windows: list[PlannedWindow]) -> float:
    """Predict windows side by side, as the run does; once for nothing, to warm up."""
    with ThreadPoolExecutor(maker.lanes) as lanes:
        list(lanes.map(maker.predict_one, windows))
        began = time.monotonic()
        list(lanes.map(maker.predict_one, windows))
        return (time.monotonic() - began) / len(windows)
