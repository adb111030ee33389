"""How fast windows go: sums over lanes and processes."""

import pytest

from buildmap.inference.meter import Measured, Meter

ONE = Measured(pixels=6_000_000, busy_s=3.0, lane_s=4.0, waiting_s=0.5, seconds=2.0)


def test_figures_of_processes_add_up() -> None:
    both = ONE + Measured(pixels=2_000_000, busy_s=1.0, lane_s=4.0, waiting_s=1.5, seconds=2.0)
    assert both == Measured(pixels=8_000_000, busy_s=4.0, lane_s=8.0, waiting_s=2.0, seconds=4.0)
    assert (both.device_busy, both.read_wait) == (0.5, 0.5)
    assert both.told() == "2.0 Mpx/s, device busy 50%, read-wait 50%"


def test_nothing_measured_divides_by_nothing() -> None:
    assert (Measured().device_busy, Measured().read_wait) == (0.0, 0.0)


def test_a_meter_counts_calls_and_shares_its_time_among_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Meter(began_s=100.0)
    monkeypatch.setattr("buildmap.inference.meter.time.monotonic", lambda: 104.0)
    assert meter.seconds_per_window() == 4.0
    meter.count(2, 500, 1.5)
    meter.count(1, 100, 0.5)
    meter.reading.seconds = 1.0
    assert meter.seconds_per_window() == pytest.approx(4 / 3)
    assert meter.measured(3) == Measured(pixels=600, busy_s=2.0, lane_s=12.0, waiting_s=1.0, seconds=4.0)
