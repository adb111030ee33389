"""Which rasters belong to which annotations: as the preset says, or by matching file names."""

from collections import defaultdict
from pathlib import Path

from buildmap.errors import InputError, MissingInput
from buildmap.preset import Source

RASTER_SUFFIXES = frozenset({".tif", ".tiff", ".png", ".vrt", ".jp2", ".jpg", ".jpeg", ".img"})
VECTOR_SUFFIXES = frozenset({".gpkg", ".geojson", ".json", ".geojsonl", ".fgb", ".shp", ".gml", ".kml"})
_LAYOUT = "put rasters into images/ and their annotations, under the same names, into labels/"


def list_pairs(root: Path, listed: tuple[Source, ...]) -> tuple[Source, ...]:
    """Give the sources a preset lists, or else those found in `root`, by name.

    Found are rasters in `images/` and a mask raster or vector layer of the same stem in `labels/`;
    their ground is split between training and validation.

    Raises:
        MissingInput: If `root` or its folders are not there.
        InputError: If a raster or its annotations lack a partner; all are named.
    """
    if not root.is_dir():
        raise MissingInput(f"{root} is not a folder of training data", hint=_LAYOUT)
    return listed or _find_pairs(root)


def _find_pairs(root: Path) -> tuple[Source, ...]:
    images, labels = root / "images", root / "labels"
    for folder in (images, labels):
        if not folder.is_dir():
            raise MissingInput(f"{folder} does not exist, and the preset lists no [[sources]]", hint=_LAYOUT)
    rasters = _by_stem(images, RASTER_SUFFIXES)
    annotations = _by_stem(labels, RASTER_SUFFIXES | VECTOR_SUFFIXES)
    if not rasters:
        raise InputError(f"{images} holds no rasters", hint=_LAYOUT)
    problems = []
    for stem in sorted(rasters.keys() | annotations.keys()):
        found, drawn = rasters.get(stem, []), annotations.get(stem, [])
        if len(found) == len(drawn) == 1:
            continue
        if not found or not drawn:
            there, lacking = (drawn, "images") if not found else (found, "labels")
            problems.append(f"{there[0].relative_to(root)} has no partner {lacking}/{stem}.*")
        else:
            names = ", ".join(str(path.relative_to(root)) for path in found + drawn)
            problems.append(f"{stem} is there several times: {names}")
    if problems:
        raise bad_inputs(root, problems, hint=_LAYOUT)
    return tuple(
        Source(
            image=str(rasters[stem][0].relative_to(root)),
            annotations=str(annotations[stem][0].relative_to(root)),
            use="split",
        )
        for stem in sorted(rasters)
    )


def bad_inputs(root: Path, problems: list[str], *, hint: str | None = None) -> InputError:
    """Make one error of everything that is wrong, so that it can be mended in one go."""
    if len(problems) == 1:
        return InputError(f"{root}: {problems[0]}", hint=hint)
    lines = "".join(f"\n  {problem}" for problem in problems)
    return InputError(f"{root}: {len(problems)} inputs cannot be used:{lines}", hint=hint)


def _by_stem(folder: Path, suffixes: frozenset[str]) -> dict[str, list[Path]]:
    """Give the usable files of a folder; sidecars and hidden files are passed over."""
    found = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            found[path.stem].append(path)
    return dict(found)
