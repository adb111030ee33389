import numpy as np
import pytest
from hypothesis import given, strategies

from buildmap.changes.history import LETTERS, Confirming, agree, extend

words = strategies.text(sorted(LETTERS), max_size=8)
letters = strategies.sampled_from([*sorted(LETTERS), ""])


@given(
    strategies.lists(strategies.tuples(words, letters)), strategies.integers(1, 5), strategies.integers(0, 4)
)
def test_the_last_n_letters_are_kept_and_k_of_them_agree(
    dates: list[tuple[str, str]], needed: int, more: int
) -> None:
    confirming = Confirming(dates=needed, of=needed + more)
    old, new = (np.array([*(pair[side] for pair in dates), None], np.object_)[:-1] for side in (0, 1))
    history = extend(old, new, confirming)
    kept = [list(word + letter)[-(needed + more) :] for word, letter in dates]
    assert history.tolist() == ["".join(one) for one in kept]
    ones = np.full(len(dates), "1", np.object_)
    assert agree(history, ones, confirming).tolist() == [
        sum(letter == "1" for letter in one) >= needed for one in kept
    ]


@pytest.mark.parametrize(("needed", "of"), [(0, 1), (3, 2), (-1, 3)])
def test_dates_that_cannot_agree_are_refused(needed: int, of: int) -> None:
    with pytest.raises(ValueError, match="cannot agree"):
        Confirming(dates=needed, of=of)
