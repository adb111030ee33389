"""One definition per flag: the same word never means two things."""

from collections import defaultdict

from typer.main import get_command

from buildmap.cli.app import app


def test_a_flag_reads_the_same_in_every_command() -> None:
    kinds: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for command in get_command(app).commands.values():  # type: ignore[attr-defined]
        for param in command.params:
            for flag in param.opts if param.param_type_name == "option" else ():
                kinds[flag].add((param.type.name, param.nargs))
    assert kinds["--json"] == {("boolean", 1)}
    assert {flag: kind for flag, kind in kinds.items() if len(kind) > 1} == {}


def test_every_option_is_explained() -> None:
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        assert command.help, name
        for param in command.params:
            assert getattr(param, "help", None), f"{name} {param.name}"
