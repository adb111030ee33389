"""Progress nobody listens to costs nothing and says nothing."""

import pytest

from buildmap.execution.progress import Progress, Silent


def test_silence_is_a_progress_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    listener: Progress = Silent()
    listener.start("predict", 2)
    listener.advance()
    listener.advance(5)
    assert capfd.readouterr() == ("", "")
