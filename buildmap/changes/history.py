"""What several dates say of a building: a change is believed when k of the last n dates that looked say so.

A history has a letter for each of these dates, the latest last: 1 the building stands as known, 0 it is not
there, e it is enlarged, r reduced, f of another form, s split, m merged. Dates that had no data there
leave no letter.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SEEN, UNSEEN, ENLARGED, REDUCED, RESHAPED, SPLIT, MERGED = "10erfsm"
LETTERS = frozenset("10erfsm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirming:
    """How many dates must agree."""

    dates: int = 1
    """k: so many must say the same ..."""
    of: int = 1
    """n: ... of the last so many that looked."""

    def __post_init__(self) -> None:
        if not 1 <= self.dates <= self.of:
            raise ValueError(f"{self.dates} of {self.of} dates cannot agree")


def extend(
    history: NDArray[np.object_], letters: NDArray[np.object_], confirming: Confirming
) -> NDArray[np.object_]:
    """Add what a date says, and forget what is too old to count.

    Args:
        history: (n,) str.
        letters: (n,) str: a letter each; empty where the date did not look.
        confirming: How many dates count.
    """
    together = [f"{old}{new}"[-confirming.of :] for old, new in zip(history, letters, strict=True)]
    return np.array([*together, None], np.object_)[:-1]


def agree(
    history: NDArray[np.object_], letters: NDArray[np.object_], confirming: Confirming
) -> NDArray[np.bool_]:
    """Tell where enough dates say the same.

    Args:
        history: (n,) str, of the dates that count.
        letters: (n,) str: what they should say.
        confirming: How many must.
    """
    counts = [one.count(letter) for one, letter in zip(history, letters, strict=True)]
    return np.array(counts, np.int64) >= confirming.dates
