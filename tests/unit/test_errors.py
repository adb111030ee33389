"""Exit codes are a contract with scripts."""

import re

import pytest

from buildmap import errors
from buildmap.errors import BuildmapError, InputError, MissingInput


def _classes() -> dict[str, int]:
    found = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    return {name: cls.exit_code for name, cls in found.items() if issubclass(cls, BuildmapError)}


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    drawn = re.findall(r"^[│ ├└─]*(\w+)\s+(\d+)(?:\s|$)", str(errors.__doc__), flags=re.MULTILINE)
    assert {name: int(code) for name, code in drawn} == _classes()


def test_no_two_kinds_of_error_share_a_code() -> None:
    codes = list(_classes().values())
    assert len(codes) == len(set(codes))


def test_an_error_carries_its_message_and_its_hint() -> None:
    error = MissingInput("a.tif is not there", hint="check the path")
    assert (str(error), error.hint, isinstance(error, InputError)) == (
        "a.tif is not there",
        "check the path",
        True,
    )
    assert BuildmapError("x").hint is None


@pytest.mark.parametrize("code", [0, 2, 130, 141])
def test_codes_of_the_shell_stay_free(code: int) -> None:
    assert code not in _classes().values()
