"""How fast windows go through reading and the network."""

import threading
import time
from dataclasses import dataclass, field

from buildmap.execution.prefetch import Waiting

PATIENCE_S = 10.0
"""How long a run that is asked to end may still take to finish its strip."""


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
