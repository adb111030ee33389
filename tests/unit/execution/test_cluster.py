from buildmap.execution.cluster import _fly
from buildmap.execution.executor import Done


class FlightWithGaps:
    """A cluster whose one worker is away before every second look at it."""

    def __init__(self) -> None:
        self.steps: dict[str, int] = {}
        self.looks = 0

    def room(self) -> int:
        self.looks += 1
        return self.looks % 2

    def submit(self, step: int) -> None:
        self.steps[str(step)] = step

    def land(self) -> tuple[Done[int], bool] | None:
        if not self.steps:
            return None
        _, step = self.steps.popitem()
        return Done(step=step, result=step * step, error=None), False

    def cancel_waiting(self) -> None:
        self.steps.clear()


def test_steps_wait_for_workers_that_are_away_when_nothing_is_under_way() -> None:
    done = _fly(FlightWithGaps(), iter(range(5)), lambda: False)  # type: ignore[arg-type]
    assert [one.result for one in done] == [0, 1, 4, 9, 16]


def test_it_ends_though_no_worker_is_left_when_nothing_is_to_do() -> None:
    assert list(_fly(FlightWithGaps(), iter(()), lambda: False)) == []  # type: ignore[arg-type]


def test_asked_to_stop_it_does_not_wait_for_workers_to_come_back() -> None:
    flight = FlightWithGaps()
    given = [one.step for one in _fly(flight, iter(range(5)), lambda: flight.looks > 0)]  # type: ignore[arg-type]
    assert given == [0]
