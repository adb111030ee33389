"""What has been done of a plan, so that a run can be killed at any moment and go on later.

A folder holds `plan.json`, what the work depends on, and for every finished step its product and a
record `000012.json`, written after the product is on disk. Runs that share the folder, one machine or
many, need no lock among themselves: they do different steps, and a step done twice gives the same bytes.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from buildmap.errors import MismatchError
from buildmap.publish import sync
from buildmap.schema import parse_json

_PLAN = "plan.json"
_RECORD = re.compile(r"\d{6,12}\.json")


class Journal:
    """The finished steps of one plan in one folder."""

    def __init__(self, folder: Path, plan: Mapping[str, str], *, suffix: str) -> None:
        """Open the journal of a plan, or begin it.

        Args:
            folder: Holds nothing else; made if absent.
            plan: All that the products depend on: name to value.
            suffix: Of the products' files.

        Raises:
            MismatchError: If the folder holds the work of another plan, or of one that cannot be read.
        """
        self.folder, self._suffix = folder, suffix
        folder.mkdir(exist_ok=True)
        self._plan = hashlib.sha256(json.dumps(dict(plan)).encode()).hexdigest()[:16]
        path = folder / _PLAN
        old = _read(path)
        if path.exists() and has_records(folder):
            _compare(old, plan, folder)
        if old != dict(plan):
            _write(path, dict(plan))

    def product(self, step: int) -> Path:
        """Name the file of a step's product."""
        return self.folder / f"{step:06}{self._suffix}"

    def done(self) -> set[int]:
        """Give the finished steps."""
        return {
            int(path.stem)
            for path in self.folder.glob("[0-9]*.json")
            if _RECORD.fullmatch(path.name) and self.product(int(path.stem)).exists() and self._is_ours(path)
        }

    def record(self, step: int, facts: Mapping[str, Any]) -> None:
        """Note a step whose product is on disk."""
        sync(self.folder)
        _write(self._path(step), {"plan": self._plan, "facts": dict(facts)})

    def facts(self, step: int) -> dict[str, Any]:
        """Give what was noted of a finished step."""
        facts: dict[str, Any] = (_read(self._path(step)) or {})["facts"]
        return facts

    def forget(self, step: int) -> None:
        """Have a step done again."""
        self._path(step).unlink(missing_ok=True)

    def _is_ours(self, path: Path) -> bool:
        """Tell whether a record is whole and of this plan; after a power cut it may be neither."""
        record = _read(path) or {}
        return record.get("plan") == self._plan and isinstance(record.get("facts"), dict)

    def _path(self, step: int) -> Path:
        return self.folder / f"{step:06}.json"


def has_records(folder: Path) -> bool:
    """Tell whether a journal's folder has finished steps, of whichever plan."""
    return any(folder.glob("[0-9]*.json"))


def missing_bytes(folder: Path, steps: int, *, output_share: float | None = None) -> int | None:
    """Tell about how much more disk a run will take, going by what it has done.

    Args:
        folder: Of its journal, in the folder in which the output is made.
        steps: Of the whole run.
        output_share: Bytes of the output, and of what it takes to make it, for each byte of the products;
            None where the output grows with every step.

    Returns:
        None where nothing is done yet, or all that is known of is there.
    """
    products = [path.stat().st_size for path in folder.glob("[0-9]*") if path.suffix not in {".json", ".tmp"}]
    if not products:
        return None
    beside = sum(path.stat().st_size for path in folder.parent.iterdir() if path.is_file())
    spool, done = sum(products), len(products)
    if output_share is None:
        return (spool + beside) * (steps - done) // done or None
    whole = spool * steps / done * (1 + output_share)
    return max(round(whole - spool - beside), 0) or None


def _read(path: Path) -> dict[str, Any] | None:
    """Read a table; None where there is none, or it is damaged."""
    try:
        table = parse_json(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return table if isinstance(table, dict) else None


def _write(path: Path, table: dict[str, Any]) -> None:
    unique = uuid.uuid4().hex  # shards write the plan at the same time
    aside = path.with_name(f"{path.name}.{unique}.tmp")
    aside.write_text(json.dumps(table), encoding="utf-8")
    sync(aside)
    aside.replace(path)


def _compare(old: dict[str, str] | None, plan: Mapping[str, str], folder: Path) -> None:
    if old == dict(plan):
        return
    if old is None:
        raise MismatchError(
            f"the unfinished run in {folder.parent} has no plan that can be read",
            hint="--restart drops what it has done",
        )
    told = "; ".join(_differences(old, plan))
    raise MismatchError(
        f"the unfinished run in {folder.parent} was another: {told}",
        hint="--restart drops what it has done; the options of that run go on with it",
    )


def _differences(old: Mapping[str, str], plan: Mapping[str, str]) -> Iterator[str]:
    for name in [*plan, *(name for name in old if name not in plan)]:
        was, now = old.get(name, "absent"), plan.get(name, "absent")
        if was != now:
            yield f"{name} was {was}, is {now}"
