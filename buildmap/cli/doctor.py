"""`buildmap doctor`."""

from typing import TYPE_CHECKING

import typer

from buildmap.cli.options import Json

if TYPE_CHECKING:
    from buildmap.checks.fact import Fact

_WITHOUT_OPTION = frozenset({"BUILDMAP_DEBUG"})
_STATUS_WIDTH = len("warning")


def doctor(ctx: typer.Context, *, json: Json = False) -> None:
    """Check that everything here works.

    One line per fact: the machine, the libraries, both GDALs and all three PROJs, the extras, the temporary
    folder, the built-in model and the variables. Ends with 69 if something has failed without which
    commands cannot work; a warning changes nothing in the exit code.
    """
    from buildmap.cli.console import report
    from buildmap.doctor import doctor as run
    from buildmap.errors import ResourceError

    diagnosis = run(_variables(ctx))
    if json:
        report(diagnosis, json=True)
    else:
        typer.echo("\n".join(_lines(diagnosis.facts)))
    if diagnosis.failed:
        ill = ", ".join(fact.name for fact in diagnosis.facts if fact.status == "failed")
        have = "has" if diagnosis.failed == 1 else "have"
        raise ResourceError(f"{diagnosis.failed} of {len(diagnosis.facts)} checks {have} failed: {ill}")


def _variables(ctx: typer.Context) -> frozenset[str]:
    """Name the environment variables of all options of all commands."""
    root = ctx.find_root().command
    commands = (root, *getattr(root, "commands", {}).values())
    named = {name for command in commands for param in command.params for name in param.envvar or ()}
    return _WITHOUT_OPTION | named


def _lines(facts: "tuple[Fact, ...]") -> list[str]:
    width = max(len(fact.name) for fact in facts)
    lines: list[str] = []
    for fact in facts:
        lines.append(f"{fact.status:<{_STATUS_WIDTH}}  {fact.name:<{width}}  {fact.detail}")
        if fact.hint:
            lines.append(f"{'':<{_STATUS_WIDTH}}  {'':<{width}}  hint: {fact.hint}")
    return lines
