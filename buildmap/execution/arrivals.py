"""Waiting for the steps of a run, which get done in any order, in their own order."""

from collections.abc import Callable, Generator, Iterator, Sequence

from buildmap.errors import IncompleteError, Stopped
from buildmap.execution.memory import release_unused


class InOrder:
    """The steps of a run, given in order, each once it is done; close it."""

    def __init__(
        self,
        steps: Sequence[int],
        *,
        done: set[int],
        arriving: Generator[int],
        stop: Callable[[], bool],
        name: str,
        hint: str | None = None,
    ) -> None:
        """Begin; nothing is done before it is asked for.

        Args:
            steps: All steps of this run.
            done: Those that are done already.
            arriving: Does the others, and gives each once it is done; closed with the last step.
            stop: Whether the run was asked to end; `arriving` gives no more then.
            name: What the steps are called in messages, in the plural.
            hint: What to do about steps that nobody does.
        """
        self._steps, self._done, self._arriving = steps, done, arriving
        self._stop, self._name, self._hint = stop, name, hint

    def close(self) -> None:
        """Stop doing steps."""
        self._arriving.close()
        release_unused()

    def __iter__(self) -> Iterator[int]:
        """Give the steps in their order, each once it is done; again from the first, if asked again.

        Raises:
            Stopped: If the run was asked to end before that.
            IncompleteError: If somebody else has not done theirs.
        """
        for step in self._steps:
            while step not in self._done:
                self._wait()
            if step == self._steps[-1]:
                self.close()
            yield step

    def _wait(self) -> None:
        for step in self._arriving:
            self._done.add(step)
            return
        missing = [step for step in self._steps if step not in self._done]
        counts = f"{len(self._steps) - len(missing)}/{len(self._steps)}"
        if self._stop():
            raise Stopped(
                f"interrupted after {counts} {self._name}", hint="run the same command again to resume"
            )
        some = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise IncompleteError(
            f"{len(missing)} of {len(self._steps)} {self._name} are missing: {some}", hint=self._hint
        )
