"""How long work reports on itself; silent unless someone listens."""

from typing import Protocol


class Progress(Protocol):
    """Listens to one task at a time."""

    def start(self, task: str, total: int) -> None:
        """Begin a task of `total` steps; a running one ends."""

    def advance(self, steps: int = 1) -> None:
        """Report finished steps."""

    def note(self, text: str) -> None:
        """Say a few words more, shown beside the steps from now on."""


class Silent:
    """Hears nothing."""

    def start(self, task: str, total: int) -> None:
        """Ignore it."""

    def advance(self, steps: int = 1) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""
