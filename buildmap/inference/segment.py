"""A raster through a network: windows in, finished strips out, reading and network and blending at once."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from buildmap.errors import StorageError
from buildmap.execution.prefetch import Waiting, prefetch
from buildmap.execution.progress import Progress
from buildmap.inference.backend import Backend
from buildmap.raster.area import Area
from buildmap.raster.blend import INVALID, Share, StripBuffer, StripPart, enlarge, share
from buildmap.raster.normalize import fill_invalid
from buildmap.raster.reader import Reader
from buildmap.raster.seams import SeamAudit
from buildmap.raster.windows import PlannedWindow, Window, WindowPlan

logger = logging.getLogger(__name__)
_PATIENCE_S = 10.0
"""How long a run that is asked to end may still take to finish its strip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting:
    """How a raster is cut into windows, and how they are joined again.

    Windows, cores and halos are the raster's pixels. Shares and all that is made of them are predicted
    pixels, which a model with a scale makes smaller: `scale` of them lie side by side on one of the raster's.
    """

    plan: WindowPlan
    """All windows, in the raster's pixels."""
    ramp_px: int
    """Width of the ramp between two windows, in the raster's pixels."""
    threshold: float
    """At which the seam audit tells building from none."""
    scale: int = 1
    """Predicted pixels per pixel of the raster, along one axis."""
    skip_errors: bool = False
    """Leave a gap where the raster cannot be read, instead of stopping."""

    @property
    def predicted_width(self) -> int:
        """Columns that are predicted."""
        return self.scale * self.plan.width

    @property
    def predicted_ramp_px(self) -> int:
        """Width of the ramp in predicted pixels."""
        return self.scale * self.ramp_px

    def share(self, planned: PlannedWindow) -> Share:
        """Give what a window adds to the sums, in predicted pixels."""
        return share(
            planned.scaled(self.scale),
            width=self.predicted_width,
            height=self.scale * self.plan.height,
            ramp_px=self.predicted_ramp_px,
        )

    def seen(self, placed: Share) -> tuple[Window, tuple[slice, slice]]:
        """Give the raster's pixels under a share: the window of them, and which they are of those read."""
        over, (rows, cols) = placed.window, placed.cut
        window = Window(
            col_off=over.col_off // self.scale,
            row_off=over.row_off // self.scale,
            width=over.width // self.scale,
            height=over.height // self.scale,
        )
        return window, (self._undone(rows), self._undone(cols))

    def _undone(self, part: slice) -> slice:
        return slice(part.start // self.scale, part.stop // self.scale)


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


@dataclass(slots=True)
class Meter:
    """Measures the stages while they run."""

    windows: int = 0
    """Windows the network has seen."""
    pixels: int = 0
    """Window pixels the network has seen."""
    busy_s: float = 0.0
    """Seconds in the network, summed over lanes."""
    reading: Waiting = field(default_factory=Waiting)
    """How long the network's stage has waited for the reading."""
    began_s: float = field(default_factory=time.monotonic)
    """Clock at the beginning."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, windows: int, pixels: int, seconds: float) -> None:
        """Count one call of the network."""
        with self._lock:
            self.windows += windows
            self.pixels += pixels
            self.busy_s += seconds

    def seconds_per_window(self) -> float:
        """Give the mean pace so far."""
        return (time.monotonic() - self.began_s) / max(self.windows, 1)

    def measured(self, lanes: int) -> "Measured":
        """Give the figures so far."""
        seconds = time.monotonic() - self.began_s
        return Measured(
            pixels=self.pixels,
            busy_s=self.busy_s,
            lane_s=lanes * seconds,
            waiting_s=self.reading.seconds,
            seconds=seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Figures of the network's stage, of one process or of several together."""

    pixels: int = 0
    """Window pixels the network has seen."""
    busy_s: float = 0.0
    """Seconds in the network, summed over lanes."""
    lane_s: float = 0.0
    """Seconds that the lanes had, summed over them."""
    waiting_s: float = 0.0
    """Seconds of waiting for the reading, summed over processes."""
    seconds: float = 0.0
    """Seconds, summed over processes."""

    def __add__(self, other: "Measured") -> "Measured":
        return Measured(
            **{name: getattr(self, name) + getattr(other, name) for name in Measured.__dataclass_fields__}
        )

    @property
    def device_busy(self) -> float:
        """Share of the time in which the network ran."""
        return self.busy_s / self.lane_s if self.lane_s else 0.0

    @property
    def read_wait(self) -> float:
        """Share of the time in which it waited for the reading."""
        return self.waiting_s / self.seconds if self.seconds else 0.0

    def told(self) -> str:
        """Say in a few words how fast one process goes, and what holds it up."""
        pace = self.pixels / max(self.seconds, 1e-9) / 1e6
        return f"{pace:.1f} Mpx/s, device busy {self.device_busy:.0%}, read-wait {self.read_wait:.0%}"


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
        self._reader, self._backend, self._cutting, self._area = reader, backend, cutting, area
        self._readers = readers
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
            if stop() and (batch.ends_strip or self._seconds_left(batch) > _PATIENCE_S):
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

    def needs(self, placed: Share) -> bool:
        """Tell, without reading, whether anything in a window can be valid and is wanted."""
        if self._area is not None and not self._area.touches(placed.window):
            return False
        return self._reader.has_data(self._cutting.seen(placed)[0])

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
            image, lost = None, None
            if self.needs(placed):
                try:
                    image, lost = self._read(planned, placed)
                except StorageError as error:
                    if not self._cutting.skip_errors:
                        raise
                    logger.warning("gap: %s", error)
                    gaps.append(planned.core.scaled(self._cutting.scale))
            images.append(image)
            invalid.append(lost)
        return _Loaded(batch=batch, images=tuple(images), invalid=tuple(invalid), gaps=tuple(gaps))

    def _read(
        self, planned: PlannedWindow, placed: Share
    ) -> tuple[NDArray[np.generic] | None, NDArray[np.bool_] | None]:
        """Read a window, once more if that fails; nothing where nothing in its share is valid."""
        try:
            image = self._reader.read(planned.read)
        except StorageError:
            image = self._reader.read(planned.read)
        valid = image.valid[self._cutting.seen(placed)[1]]
        if not valid.any():
            return None, None
        stride = self._backend.card.stride
        down, across = (-extent % stride for extent in image.valid.shape)
        pixels = fill_invalid(image, self._backend.card.data)
        if down or across:
            pixels = np.pad(pixels, ((0, 0), (0, down), (0, across)), mode="edge")
        return pixels, None if valid.all() else enlarge(~valid, self._cutting.scale)

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


def block_cache_bytes(reader: Reader, cutting: Cutting) -> int:
    """Give the block cache that lets every block be decoded once: one row of windows, and a block more."""
    native, plan = reader.native_grid, cutting.plan
    down = native.height / reader.grid.height
    rows = (plan.core_height_px + 2 * plan.halo_px) * down + 2 * 512
    return int(rows * native.width * len(reader.bands) * reader.dtype.itemsize * 1.1)
