"""A raster through a network that finds buildings one by one: windows in, strips of objects out."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from buildmap.errors import StorageError
from buildmap.execution.prefetch import prefetch
from buildmap.execution.progress import Progress
from buildmap.inference.cutting import Cutting
from buildmap.inference.finding import Finding, FoundStrip
from buildmap.inference.instance_backend import Found, InstanceBackend
from buildmap.inference.meter import PATIENCE_S, Meter
from buildmap.inference.object_files import pack
from buildmap.inference.objects import Seen, objects_in
from buildmap.inference.window_reader import SeenWindow, WindowReader
from buildmap.raster.area import Area
from buildmap.raster.reader import Reader
from buildmap.raster.windows import PlannedWindow
from buildmap.vector.instance_rules import Candidates, gather, no_candidates

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A window of a strip."""

    strip: int
    column: int
    planned: PlannedWindow
    left: int
    """Windows of the strip that follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """A window, read."""

    step: _Step
    seen: SeenWindow | None = None
    """None where the network has nothing to see."""
    is_gap: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """A window, and what belongs to it."""

    step: _Step
    objects: Candidates | None
    """None where the network saw nothing."""
    is_gap: bool


class Detector:
    """Finds the buildings of strips of one raster with one backend."""

    def __init__(
        self,
        reader: Reader,
        backend: InstanceBackend,
        cutting: Cutting,
        finding: Finding,
        *,
        area: Area | None = None,
        readers: int = 2,
    ) -> None:
        """Set up; nothing is read.

        Args:
            reader: The raster, at the GSD the network works at.
            backend: The network.
            cutting: Of the reader's grid, without ramps.
            finding: How to read what the network finds.
            area: Where buildings are wanted; everywhere when None.
            readers: Threads that read.
        """
        self._backend, self._cutting, self._finding, self._readers = backend, cutting, finding, readers
        self.windows = WindowReader(reader, backend.card, cutting, area)
        self.lanes = backend.lanes
        self.meter = Meter()

    def strips(
        self, indices: Iterable[int], progress: Progress, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, FoundStrip]]:
        """Predict strips one after the other, without a pause between them.

        Reading, network and drawing run beside each other.

        Args:
            indices: Numbers of the strips.
            progress: Hears of every window.
            stop: Once it says True, the strip in hand is finished if that takes seconds, and no other.

        Yields:
            The strip's number and what was found in it, in the order asked for.

        Raises:
            StorageError: If the raster cannot be read.
            ResourceError: If a window does not fit into memory.
        """
        lanes = self.lanes
        steps = (step for index in indices for step in self._steps(index))
        loaded = prefetch(
            self._load,
            steps,
            workers=self._readers,
            ahead=self._readers + lanes + 1,
            key=lambda step: step.column,
            waiting=self.meter.reading,
        )
        found = prefetch(self._find, loaded, workers=lanes, ahead=lanes + 1)
        windows = list[_Drawn]()
        for drawn in prefetch(self._draw, found, workers=lanes, ahead=lanes + 1):
            windows.append(drawn)
            progress.note(self.meter.measured(lanes).told())
            progress.advance()
            left = drawn.step.left
            if not left:
                yield drawn.step.strip, _gathered(windows)
                windows = []
            if stop() and (not left or left * self.meter.seconds_per_window() > PATIENCE_S):
                return

    def predict_one(self, planned: PlannedWindow) -> None:
        """Read and predict a single window, to see what that takes."""
        self._draw(self._find(self._load(_Step(strip=0, column=0, planned=planned, left=0))))

    def _steps(self, index: int) -> Iterator[_Step]:
        left = self._cutting.plan.windows(index)
        for row in self._cutting.plan.strip(index):
            for column, planned in enumerate(row):
                left -= 1
                yield _Step(strip=index, column=column, planned=planned, left=left)

    def _load(self, step: _Step) -> _Loaded:
        placed = self._cutting.share(step.planned)
        if not self.windows.needs(placed):
            return _Loaded(step=step)
        try:
            return _Loaded(step=step, seen=self.windows.read(step.planned, placed))
        except StorageError as error:
            if not self._cutting.skip_errors:
                raise
            logger.warning("gap: %s", error)
            return _Loaded(step=step, is_gap=True)

    def _find(self, loaded: _Loaded) -> tuple[_Loaded, Found | None]:
        if loaded.seen is None:
            return loaded, None
        image, began = loaded.seen.image, time.monotonic()
        found = self._backend.detect(image)
        self.meter.count(1, image.shape[1] * image.shape[2], time.monotonic() - began)
        return loaded, found

    def _draw(self, seen: tuple[_Loaded, Found | None]) -> _Drawn:
        loaded, found = seen
        if found is None or loaded.seen is None:
            return _Drawn(step=loaded.step, objects=None, is_gap=loaded.is_gap)
        plan = self._cutting.plan
        window = Seen(
            planned=loaded.step.planned, valid=loaded.seen.valid, raster_px=(plan.width, plan.height)
        )
        return _Drawn(step=loaded.step, objects=objects_in(found, window, self._finding), is_gap=False)


def _gathered(windows: list[_Drawn]) -> FoundStrip:
    gaps = tuple(drawn.step.planned.core for drawn in windows if drawn.is_gap)
    seen = [drawn.objects for drawn in windows if drawn.objects is not None]
    return FoundStrip(
        packed=pack(gather(no_candidates(), *seen)),
        windows=len(windows),
        skipped=len(windows) - len(seen) - len(gaps),
        gaps=gaps,
    )
