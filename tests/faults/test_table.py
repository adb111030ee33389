"""The list of faults names tests that are there, and so does what is promised of security."""

import re
from pathlib import Path

import pytest

import tests.faults

TESTS = Path(__file__).parents[1]
ROWS = 28


def table() -> dict[str, list[str]]:
    """Give the tests of each fault."""
    _, _, listed = (tests.faults.__doc__ or "").partition("\n\n")
    rows: dict[str, list[str]] = {}
    for line in listed.splitlines():
        if line.startswith("    "):
            rows[list(rows)[-1]].append(line.strip())
        elif line.strip():
            rows[line] = []
    return rows


def promised() -> list[str]:
    """Give the tests that the page on security names."""
    page = (TESTS.parent / ".github" / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`(?:tests/)?([\w/]+\.py(?:::\w+)?)`", page)
    return [name if "/" in name else f"faults/hostile/{name}" for name in named]


def is_there(name: str) -> bool:
    file, _, test = name.partition("::")
    path = TESTS / file
    return path.is_file() and (not test or f"\ndef {test}(" in path.read_text(encoding="utf-8"))


def test_every_fault_has_tests() -> None:
    assert len(table()) == ROWS
    assert all(table().values())


@pytest.mark.parametrize("name", sorted({name for names in table().values() for name in names}))
def test_every_test_of_a_fault_is_there(name: str) -> None:
    assert is_there(name)


def test_every_promise_names_a_test_that_is_there() -> None:
    assert len(promised()) >= 8
    assert [name for name in promised() if not is_there(name)] == []
    assert not is_there("faults/test_kill.py::test_that_nobody_wrote")
