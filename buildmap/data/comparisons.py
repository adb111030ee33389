"""What is compared with what: two files, the files of two folders by their stems, or a table of pairs."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from buildmap.data.pairs import RASTER_SUFFIXES, VECTOR_SUFFIXES, bad_inputs, is_there
from buildmap.errors import InputError, MissingInput
from buildmap.schema import did_you_mean

_FILES = ("prediction", "truth", "image", "other")
_COLUMNS = "columns: prediction,truth[,image][,other][,...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A prediction, its truth, and what goes with them."""

    prediction: Path
    """Raster or layer."""
    truth: Path
    """Raster or layer."""
    image: Path | None = None
    """Raster of the same ground, to draw on."""
    other: Path | None = None
    """Another prediction of the same ground."""
    columns: dict[str, str] = field(default_factory=dict)
    """What else a table says of the pair."""


def find_comparisons(
    prediction: Path, truth: Path, *, image: Path | None = None, other: Path | None = None
) -> tuple[Comparison, ...]:
    """Pair files, or the files of folders by their stems.

    Raises:
        MissingInput: If one is not there, or files lack a partner; all are named.
        InputError: If only some are folders, or a stem is there twice.
    """
    paths = {"prediction": prediction, "truth": truth, "image": image, "other": other}
    given = {name: path for name, path in paths.items() if path is not None}
    for path in given.values():
        if not is_there(path) and not str(path).startswith("/vsi"):
            raise MissingInput(f"{path} does not exist")
    folders = {name for name, path in given.items() if _is_folder(path)}
    if not folders:
        return (Comparison(prediction=prediction, truth=truth, image=image, other=other),)
    if folders != given.keys():
        folder, file = (next(given[n] for n in given if (n in folders) == is_one) for is_one in (True, False))
        raise InputError(f"{folder} is a folder, {file} is a file", hint="compare files, or folders")
    stems = {name: _by_stem(path) for name, path in given.items()}
    wanted = stems["prediction"].keys() | stems["truth"].keys()
    problems = [
        f"{stem} is only in {', '.join(str(given[name]) for name in given if stem in stems[name])}"
        for stem in sorted(wanted)
        if any(stem not in stems[name] for name in given)
    ]
    if problems:
        raise MissingInput(str(bad_inputs(truth, problems)), hint="every file needs a partner of its stem")
    if not wanted:
        raise MissingInput(f"{prediction} holds no rasters or layers")
    return tuple(_placed({name: stems[name][stem] for name in given}, {}) for stem in sorted(wanted))


def read_comparisons(table: Path) -> tuple[Comparison, ...]:
    """Read pairs from a CSV file with the columns `prediction` and `truth`, and maybe `image` and `other`.

    Relative paths start in the folder of the table; other columns can be grouped by.

    Raises:
        MissingInput: If the table, or a file in it, is not there; all such files are named.
        InputError: If it is no CSV file, lacks a column, or has no rows.
    """
    if not table.is_file():
        what = "is a folder, not a table of pairs" if table.is_dir() else "does not exist"
        raise MissingInput(f"{table} {what}")
    try:
        with table.open(encoding="utf-8-sig", newline="") as text:
            lines = list(csv.DictReader(text, strict=True, skipinitialspace=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{table} is no CSV file: {error}", hint=_COLUMNS) from error
    names = [name for name in (lines[0] if lines else {}) if name]
    if not lines or (lacking := [name for name in _FILES[:2] if name not in names]):
        what = f"lacks the column {lacking[0]}" if lines else "has no rows"
        guess = did_you_mean(lacking[0], list(filter(str.isidentifier, names))) if lines else None
        raise InputError(f"{table} {what}", hint=guess or _COLUMNS)
    pairs = tuple(_comparison(line, table.parent) for line in lines)
    _check_files(table, pairs)
    return pairs


def _comparison(line: dict[str, str], folder: Path) -> Comparison:
    files = {name: Path(line[name]) for name in _FILES if line.get(name)}
    placed = {name: path if str(path).startswith("/vsi") else folder / path for name, path in files.items()}
    columns = {name: value or "" for name, value in line.items() if name and name not in _FILES}
    blank = {name: folder for name in _FILES[:2] if name not in placed}  # no file: `_check_files` tells
    return _placed(placed | blank, columns)


def _placed(files: dict[str, Path], columns: dict[str, str]) -> Comparison:
    return Comparison(
        prediction=files["prediction"],
        truth=files["truth"],
        image=files.get("image"),
        other=files.get("other"),
        columns=columns,
    )


def _check_files(table: Path, pairs: Sequence[Comparison]) -> None:
    problems = [
        f"row {number}: no {name}" if path == table.parent else f"row {number}: {path} does not exist"
        for number, pair in enumerate(pairs, 1)
        for name in _FILES
        if (path := getattr(pair, name)) is not None
        and (path == table.parent or not (is_there(path) or str(path).startswith("/vsi")))
    ]
    if problems:
        raise MissingInput(str(bad_inputs(table, problems)))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and path.suffix.lower() != ".gdb"


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in RASTER_SUFFIXES | VECTOR_SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise InputError(
                f"{folder} has two files named {path.stem}: {found[path.stem].name}, {path.name}",
                hint="keep one of them there, or name the pairs in a table: --pairs CSV",
            )
        found[path.stem] = path
    return found
