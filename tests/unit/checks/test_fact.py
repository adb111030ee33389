"""A check that breaks off is a fact like any other: it has failed, and says why in one line."""

import pytest

from buildmap.checks.fact import Fact, examine, failed, ok, warning
from buildmap.errors import InputError


def _raiser(error: BaseException) -> Fact:
    raise error


def test_a_check_s_facts_are_handed_on_one_or_several() -> None:
    one, other = ok("cores", "8"), warning("memory", "1 GB", "buy some")
    assert examine("x", lambda: one) == (one,)
    assert examine("x", lambda: (one, other)) == (one, other)
    assert (one.status, other.status, failed("x", "y").status) == ("ok", "warning", "failed")
    assert (one.hint, other.hint) == (None, "buy some")


def test_an_error_of_ours_brings_its_own_hint() -> None:
    (fact,) = examine("model", lambda: _raiser(InputError("no model", hint="take one")))
    assert fact == failed("model", "no model", "take one")


@pytest.mark.parametrize(
    "error", [ImportError("libgdal.so:\n  not found"), AttributeError("x"), KeyError("x"), RuntimeError("x")]
)
def test_a_library_that_breaks_is_a_failed_fact_in_one_line(error: Exception) -> None:
    (fact,) = examine("GDAL", lambda: _raiser(error))
    assert (fact.name, fact.status) == ("GDAL", "failed")
    assert fact.detail == f"{type(error).__name__}: {' '.join(str(error).split())}"
    assert "\n" not in fact.detail
    assert fact.hint is not None and "reinstall" in fact.hint


def test_an_interrupt_is_no_finding() -> None:
    with pytest.raises(KeyboardInterrupt):
        examine("x", lambda: _raiser(KeyboardInterrupt()))
