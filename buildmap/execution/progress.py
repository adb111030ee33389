"""How long work reports on itself; silent unless someone listens."""

from typing import Protocol


class Progress(Protocol):
    """Listens to one task at a time."""

    def start(self, task: str, total: int) -> None:
        """Begin a task of `total` steps; a running one ends."""

    def advance(self, steps: int = 1) -> None:
        """Report finished steps."""


class Silent:
    """Hears nothing."""

    def start(self, task: str, total: int) -> None:
        """Ignore it."""

    def advance(self, steps: int = 1) -> None:
        """Ignore it."""
