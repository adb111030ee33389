"""What a check gives: a fact about the environment, and whether it is well."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from buildmap.errors import BuildmapError

Status = Literal["ok", "warning", "failed"]

_ILLS = (
    ArithmeticError,
    AttributeError,
    BuildmapError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What a library raises that is missing, broken, or of another version than those around it."""

_REINSTALL = "a library is broken or does not fit: pip install --force-reinstall buildmap"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One line of a diagnosis."""

    name: str
    """What it is about."""
    status: Status
    """'warning' where some will miss it, 'failed' where commands cannot work so."""
    detail: str
    """What was found."""
    hint: str | None = None
    """What to do about it."""


def ok(name: str, detail: str) -> Fact:
    """Give a fact that is well."""
    return Fact(name=name, status="ok", detail=detail)


def warning(name: str, detail: str, hint: str | None = None) -> Fact:
    """Give a fact that some will stumble over."""
    return Fact(name=name, status="warning", detail=detail, hint=hint)


def failed(name: str, detail: str, hint: str | None = None) -> Fact:
    """Give a fact because of which commands cannot work."""
    return Fact(name=name, status="failed", detail=detail, hint=hint)


def examine(name: str, check: Callable[[], Fact | tuple[Fact, ...]]) -> tuple[Fact, ...]:
    """Make a check; one that breaks off has failed, with what it said.

    Args:
        name: Of the fact, where the check cannot give it.
        check: Gives one fact or several.
    """
    try:
        found = check()
    except BuildmapError as error:
        return (failed(name, _in_one_line(error), error.hint),)
    except _ILLS as error:
        return (failed(name, f"{type(error).__name__}: {_in_one_line(error)}", _REINSTALL),)
    return (found,) if isinstance(found, Fact) else found


def _in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
