"""The house style that no linter checks: sizes, names, who may print, and a test for every module."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path("buildmap")
MODULES = sorted(PACKAGE.rglob("*.py"))
EMPTY_NAMES = {"utils", "helpers", "common", "misc", "core", "base", "manager", "engine"}


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_modules_and_functions_stay_small(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= 500, "split the module"
    for function in _functions(path):
        assert function.end_lineno is not None
        lines = function.end_lineno - function.lineno + 1
        assert lines <= 80, f"{path}:{function.lineno} {function.name}: split the function"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_errors_are_caught_by_name_unless_they_are_raised_on(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler) and not _raises_on(node):
            caught = ast.unparse(node.type) if node.type else "everything"
            assert caught not in {"Exception", "BaseException", "everything"}, f"{path}:{node.lineno}"


def _raises_on(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[1] != "cli"], ids=str)
def test_only_the_command_line_prints(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"print", "sys.stdout.write", "sys.stderr.write"}, f"{path}:{node.lineno}"


def test_a_file_name_says_what_is_in_it() -> None:
    assert [path for path in MODULES if path.stem in EMPTY_NAMES] == []


def _has_test(module: Path) -> bool:
    """Look in the folder of `tests/unit` that mirrors the package, and everywhere outside `tests/unit`."""
    name = f"test_{module.name}"
    unit = Path("tests/unit")
    elsewhere = (test for test in Path("tests").rglob(name) if unit not in test.parents)
    return (unit / module.relative_to(PACKAGE).parent / name).is_file() or any(elsewhere)


def test_every_module_has_its_test() -> None:
    modules = [path for path in MODULES if path.stem not in {"__init__", "__main__"}]
    assert [path for path in modules if not _has_test(path)] == []
