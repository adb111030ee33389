"""A raster through a network: windows in, finished strips out, reading and network and blending at once."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from buildmap.errors import StorageError
from buildmap.execution.prefetch import prefetch
from buildmap.execution.progress import Progress
from buildmap.inference.backend import Backend
from buildmap.inference.cutting import Cutting
from buildmap.inference.meter import PATIENCE_S, Meter
from buildmap.inference.window_reader import SeenWindow, WindowReader
from buildmap.raster.area import Area
from buildmap.raster.blend import INVALID, Share, StripBuffer, StripPart, enlarge
from buildmap.raster.reader import Reader
from buildmap.raster.seams import SeamAudit
from buildmap.raster.windows import PlannedWindow, Window

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StripResult:
    """One strip, predicted."""

    part: StripPart
    """Its rows."""
    seams: SeamAudit
    """Of the seams inside it."""
    windows: int
    """Windows in it."""
    skipped: int
    """Of these, windows the network never saw: nothing in them was valid, or wanted."""
    gaps: tuple[Window, ...]
    """Cores of windows that could not be read, in predicted pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Windows side by side that go through the network together."""

    strip: int
    column: int
    planned: tuple[PlannedWindow, ...]
    shares: tuple[Share, ...]
    ends_row: bool
    ends_strip: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """A batch, read."""

    batch: _Batch
    images: tuple[NDArray[np.generic] | None, ...]
    """(bands, rows, cols) each; None where the network has nothing to see."""
    invalid: tuple[NDArray[np.bool_] | None, ...]
    """(rows, cols) of the share each, in predicted pixels; None where all is valid."""
    gaps: tuple[Window, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Predicted:
    """A batch, predicted: (rows, cols) summands each, None where there is no data."""

    batch: _Batch
    summands: tuple[NDArray[np.uint16] | None, ...]
    gaps: tuple[Window, ...]


class Segmenter:
    """Predicts strips of one raster with one backend."""

    def __init__(
        self,
        reader: Reader,
        backend: Backend,
        cutting: Cutting,
        *,
        area: Area | None = None,
        readers: int = 2,
    ) -> None:
        """Set up; nothing is read.

        Args:
            reader: The raster, at the GSD the network works at.
            backend: The network.
            cutting: Of the reader's grid.
            area: Where predictions are wanted, on the predicted grid; everywhere when None.
            readers: Threads that read.
        """
        self._backend, self._cutting, self._area, self._readers = backend, cutting, area, readers
        self.windows = WindowReader(reader, backend.card, cutting, area)
        self.lanes = backend.lanes
        self.meter = Meter()

    def strips(
        self, indices: Iterable[int], progress: Progress, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, StripResult]]:
        """Predict strips one after the other, without a pause between them.

        Args:
            indices: Numbers of the strips.
            progress: Hears of every window.
            stop: Once it says True, the strip in hand is finished if that takes seconds, and no other.

        Yields:
            The strip's number and what it became, in the order asked for.

        Raises:
            StorageError: If the raster cannot be read.
            ResourceError: If a window does not fit into memory.
        """
        lanes, size = self.lanes, self._backend.batch
        batches = (batch for index in indices for batch in self._batches(index, size))
        loaded = prefetch(
            self._load,
            batches,
            workers=self._readers,
            ahead=self._readers + lanes + 1,
            key=lambda batch: batch.column,
            waiting=self.meter.reading,
        )
        buffer, skipped, windows, gaps = self._buffer(), 0, 0, list[Window]()
        for made in prefetch(self._predict, loaded, workers=lanes, ahead=lanes + 1):
            batch = made.batch
            for placed, summands in zip(batch.shares, made.summands, strict=True):
                buffer.add(placed, summands)
                skipped += summands is None
            windows += len(batch.shares)
            gaps += made.gaps
            progress.note(self.meter.measured(lanes).told())
            progress.advance(len(batch.shares))
            if batch.ends_row:
                buffer.end_row(self._outside(batch.shares[0].window))
            if batch.ends_strip:
                yield (
                    batch.strip,
                    StripResult(
                        part=buffer.part(),
                        seams=buffer.seams,
                        windows=windows,
                        skipped=skipped - len(gaps),
                        gaps=tuple(gaps),
                    ),
                )
                buffer, skipped, windows, gaps = self._buffer(), 0, 0, []
            if stop() and (batch.ends_strip or self._seconds_left(batch) > PATIENCE_S):
                return

    def predict_one(self, planned: PlannedWindow) -> None:
        """Read and predict a single window, to see what that takes."""
        placed = self._cutting.share(planned)
        self._predict(
            self._load(
                _Batch(
                    strip=0, column=0, planned=(planned,), shares=(placed,), ends_row=False, ends_strip=False
                )
            )
        )

    def _seconds_left(self, batch: _Batch) -> float:
        """Guess how long the rest of a strip takes."""
        plan, core = self._cutting.plan, batch.planned[-1].core
        first, stop = plan.span(batch.strip)
        below = (stop - core.row_off - core.height) * plan.width
        beside = core.height * (plan.width - core.col_off - core.width)
        share = (below + beside) / ((stop - first) * plan.width)
        return share * plan.windows(batch.strip) * self.meter.seconds_per_window()

    def _buffer(self) -> StripBuffer:
        cutting = self._cutting
        return StripBuffer(
            width=cutting.predicted_width, ramp_px=cutting.predicted_ramp_px, threshold=cutting.threshold
        )

    def _outside(self, window: Window) -> NDArray[np.bool_] | None:
        if self._area is None:
            return None
        width = self._cutting.predicted_width
        return self._area.outside(
            Window(col_off=0, row_off=window.row_off, width=width, height=window.height)
        )

    def _batches(self, index: int, size: int) -> Iterator[_Batch]:
        """Cut a strip into batches of windows of one shape, the same whatever else is predicted."""
        rows = self._cutting.plan.strip(index)
        for row in rows:
            shares = [self._cutting.share(planned) for planned in row]
            columns = groupby(range(len(row)), key=lambda col: _shape(row[col], shares[col]))
            groups = [list(group) for _, group in columns]
            for group in groups:
                for first in range(0, len(group), size):
                    chosen = group[first : first + size]
                    ends_row = chosen[-1] == len(row) - 1
                    yield _Batch(
                        strip=index,
                        column=chosen[0] // size,
                        planned=tuple(row[col] for col in chosen),
                        shares=tuple(shares[col] for col in chosen),
                        ends_row=ends_row,
                        ends_strip=ends_row and row is rows[-1],
                    )

    def _load(self, batch: _Batch) -> _Loaded:
        images: list[NDArray[np.generic] | None] = []
        invalid: list[NDArray[np.bool_] | None] = []
        gaps = []
        for planned, placed in zip(batch.planned, batch.shares, strict=True):
            seen = None
            if self.windows.needs(placed):
                try:
                    seen = self.windows.read(planned, placed)
                except StorageError as error:
                    if not self._cutting.skip_errors:
                        raise
                    logger.warning("gap: %s", error)
                    gaps.append(planned.core.scaled(self._cutting.scale))
            images.append(None if seen is None else seen.image)
            invalid.append(None if seen is None else self._invalid(seen, placed))
        return _Loaded(batch=batch, images=tuple(images), invalid=tuple(invalid), gaps=tuple(gaps))

    def _invalid(self, seen: SeenWindow, placed: Share) -> NDArray[np.bool_] | None:
        valid = seen.valid[self._cutting.seen(placed)[1]]
        return None if valid.all() else enlarge(~valid, self._cutting.scale)

    def _predict(self, loaded: _Loaded) -> _Predicted:
        batch = loaded.batch
        seen = [index for index, image in enumerate(loaded.images) if image is not None]
        summands: list[NDArray[np.uint16] | None] = [None] * len(loaded.images)
        if seen:
            images = np.stack([image for image in loaded.images if image is not None])
            placed = batch.shares[0]
            began = time.monotonic()
            made = self._backend.contributions(images, placed.cut, placed.down[:, None] * placed.across)
            seconds = time.monotonic() - began
            self.meter.count(len(images), images.shape[0] * images.shape[2] * images.shape[3], seconds)
            for index, one in zip(seen, made, strict=True):
                lost = loaded.invalid[index]
                if lost is not None:
                    np.copyto(one, np.uint16(INVALID), where=lost)
                summands[index] = one
        return _Predicted(batch=batch, summands=tuple(summands), gaps=loaded.gaps)


def _shape(planned: PlannedWindow, placed: Share) -> tuple[object, ...]:
    """Tell apart windows that cannot go through the network, or be weighed, together."""
    read = planned.read
    rows, cols = placed.cut
    edges = rows.start, rows.stop, cols.start, cols.stop
    return read.height, read.width, *edges, placed.down.tobytes(), placed.across.tobytes()
