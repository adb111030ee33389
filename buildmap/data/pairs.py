"""Which rasters belong to which annotations: as the preset says, or by matching file names."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from buildmap.errors import InputError, MissingInput
from buildmap.preset import Source
from buildmap.vector.writing.formats import VECTOR_SUFFIXES as LAYER_SUFFIXES

RASTER_SUFFIXES = frozenset({".tif", ".tiff", ".png", ".vrt", ".jp2", ".jpg", ".jpeg", ".img"})
VECTOR_SUFFIXES = LAYER_SUFFIXES - {".pmtiles", ".sqlite"}
"""Tiles are buildings in pieces, and a database is no one layer."""
_COCO_NAMES = ("annotations.json", "labels.json")
_LAYOUT = (
    "put rasters into images/ and their annotations, under the same names, into labels/, "
    "or COCO annotations of all into annotations.json"
)
_WILD = re.compile(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])")
_STANDS_FOR = {"**/": "((?:[^/]+/)*)", "**": "(.*)", "*": "([^/]*)", "?": "([^/])"}


def list_pairs(root: Path, listed: tuple[Source, ...]) -> tuple[Source, ...]:
    """Give the sources a preset lists, or else those found in `root`, by name.

    Of a listed pattern every raster becomes a source. Found are rasters in `images/` with a mask raster or
    vector layer of the same stem in `labels/`, or with COCO JSON of all in `annotations.json` or
    `labels.json`; their ground is split between training and validation.

    Raises:
        MissingInput: If `root` or its folders are not there.
        InputError: If a raster or its annotations lack a partner; all are named.
    """
    pairs, problems = find_pairs(root, listed)
    if problems:
        raise bad_inputs(root, problems, hint=None if listed else _LAYOUT)
    return pairs


def find_pairs(root: Path, listed: tuple[Source, ...]) -> tuple[tuple[Source, ...], list[str]]:
    """Give the sources as `list_pairs`, and what is wrong with others.

    Raises:
        MissingInput: If `root` or its folders are not there.
        InputError: If `images/` holds no rasters, or it is not clear what its annotations are.
    """
    if not root.is_dir():
        raise MissingInput(f"{root} is not a folder of training data", hint=_LAYOUT)
    if not listed:
        return _find_in_folders(root)
    pairs: list[Source] = []
    problems: list[str] = []
    for source in listed:
        if _is_pattern(root, source.image) or _is_pattern(root, source.annotations):
            _expand(root, source, pairs, problems)
        else:
            pairs.append(source)
    return tuple(pairs), problems


def bad_inputs(root: Path, problems: list[str], *, hint: str | None = None) -> InputError:
    """Make one error of everything that is wrong, so that it can be mended in one go."""
    if len(problems) == 1:
        return InputError(f"{root}: {problems[0]}", hint=hint)
    lines = "".join(f"\n  {problem}" for problem in problems)
    return InputError(f"{root}: {len(problems)} inputs cannot be used:{lines}", hint=hint)


def _find_in_folders(root: Path) -> tuple[tuple[Source, ...], list[str]]:
    images, labels = root / "images", root / "labels"
    coco = [name for name in _COCO_NAMES if (root / name).is_file()]
    absent = [
        folder for folder in (images, labels) if not folder.is_dir() and not (coco and folder == labels)
    ]
    if absent:
        raise MissingInput(f"{absent[0]} does not exist, and the preset lists no [[sources]]", hint=_LAYOUT)
    there = [*coco, *(["labels/"] if labels.is_dir() else [])]
    if len(there) > 1:
        raise InputError(
            f"{root} has {' and '.join(there)}: which are the annotations?",
            hint="keep one of them, or list [[sources]] in the preset",
        )
    rasters = _by_stem(images, RASTER_SUFFIXES)
    if not rasters:
        raise InputError(f"{images} holds no rasters", hint=_LAYOUT)
    if coco:
        return tuple(_split(root, path, root / coco[0]) for found in rasters.values() for path in found), []
    annotations = _by_stem(labels, RASTER_SUFFIXES | VECTOR_SUFFIXES)
    pairs, problems = [], []
    for stem in sorted(rasters.keys() | annotations.keys()):
        found, drawn = rasters.get(stem, []), annotations.get(stem, [])
        if len(found) == len(drawn) == 1:
            pairs.append(_split(root, found[0], drawn[0]))
        elif not found or not drawn:
            alone, lacking = (drawn, "images") if not found else (found, "labels")
            problems.append(f"{alone[0].relative_to(root)} has no partner {lacking}/{stem}.*")
        else:
            names = ", ".join(str(path.relative_to(root)) for path in found + drawn)
            problems.append(f"{stem} is there several times: {names}")
    return tuple(pairs), problems


def _split(root: Path, image: Path, annotations: Path) -> Source:
    return Source(
        image=str(image.relative_to(root)), annotations=str(annotations.relative_to(root)), use="split"
    )


def _by_stem(folder: Path, suffixes: frozenset[str]) -> dict[str, list[Path]]:
    """Give the usable files of a folder; sidecars and hidden files are passed over."""
    found = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            found[path.stem].append(path)
    return dict(found)


def _is_pattern(root: Path, name: str) -> bool:
    return _WILD.search(name) is not None and not is_there(root / name)


def is_there(path: Path) -> bool:
    """Tell whether a file exists; a name that no file system takes is none."""
    try:
        return path.exists()
    except OSError:
        return False


def _expand(root: Path, source: Source, pairs: list[Source], problems: list[str]) -> None:
    """Make sources of a pattern, or say what is wrong with it."""
    rasters = _matching(root, source.image, RASTER_SUFFIXES)
    drawn = _matching(root, source.annotations, RASTER_SUFFIXES | VECTOR_SUFFIXES)
    if not rasters or not drawn:
        empty = [name for name, found in ((source.image, rasters), (source.annotations, drawn)) if not found]
        problems.extend(f"nothing fits {name}" for name in empty)
        return
    if not _is_pattern(root, source.annotations):
        pairs.extend(replace(source, image=image) for image in rasters)
        return
    raster_keys, drawn_keys = _keys(source, rasters, drawn)
    partners = defaultdict(list)
    for key, name in zip(drawn_keys, drawn, strict=True):
        partners[key].append(name)
    for key, image in zip(raster_keys, rasters, strict=True):
        if len(partners[key]) == 1:
            pairs.append(replace(source, image=image, annotations=partners[key][0]))
        elif partners[key]:
            problems.append(f"{image} has several partners: {', '.join(partners[key])}")
        else:
            problems.append(f"{image} has no partner {source.annotations}")


def _matching(root: Path, name: str, suffixes: frozenset[str]) -> list[str]:
    """Give the usable files that fit a pattern, relative to `root` where they are in it, or a plain name."""
    if not _is_pattern(root, name):
        return [name]
    base = Path(Path(name).anchor) if Path(name).is_absolute() else root
    paths = sorted(base.glob(str((base / name).relative_to(base))))
    return [
        (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
        for path in paths
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    ]


def _keys(source: Source, rasters: Sequence[str], drawn: Sequence[str]) -> tuple[list[str], list[str]]:
    """Give what partners have in common: their stems, or what the wildcards stand for if that says more."""
    if len(rasters) == len(drawn) == 1:
        return [""], [""]
    stems, drawn_stems = ([Path(name).stem for name in names] for names in (rasters, drawn))
    distinct = len(set(stems)) == len(stems) and len(set(drawn_stems)) == len(drawn_stems)
    if distinct and set(stems) & set(drawn_stems):
        return stems, drawn_stems
    filled, drawn_filled = _filled(source.image, rasters), _filled(source.annotations, drawn)
    return (filled, drawn_filled) if set(filled) & set(drawn_filled) else (stems, drawn_stems)


def _filled(pattern: str, names: Sequence[str]) -> list[str]:
    parts = (
        _STANDS_FOR.get(part, f"({part.replace('[!', '[^')})") if number % 2 else re.escape(part)
        for number, part in enumerate(_WILD.split(pattern))
    )
    expression = re.compile("".join(parts))
    matches = (expression.fullmatch(name) for name in names)
    return ["\n".join(match.groups()) if match else "" for match in matches]
