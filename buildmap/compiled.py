"""Loops over pixels and corners as machine code, kept on disk from one run to the next."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])

_UNCOUNTED: dict[str, Any] = {"_nrt": False}


def compiled(function: F) -> F:
    """Compile a function of numbers and arrays on its first call; it runs beside other threads."""
    return cast("F", njit(cache=_CACHE, nogil=True)(function))


def uncounted(function: F) -> F:
    """Compile a function that only works on the arrays it is given, and does not count references to them.

    Counting costs more than the work itself where a loop reaches arrays through a named tuple. A function
    that makes an array, or assigns a slice, does not compile.
    """
    return cast("F", njit(cache=_CACHE, nogil=True, **_UNCOUNTED)(function))


def inlined(function: F) -> F:
    """Compile a small function into those that call it."""
    return cast("F", njit(cache=_CACHE, inline="always")(function))


def _has_cache() -> bool:
    """Tell whether compiled code has a place on disk: not when root installed it and cron has no HOME."""
    try:
        njit(cache=True)(_has_cache)
    except RuntimeError:
        return False
    return True


_CACHE = _has_cache()
