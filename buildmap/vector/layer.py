"""A layer of a vector file, looked up before it is read, and GDAL's complaints in plain words."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, GeometryError
from pyproj import CRS

from buildmap.errors import InputError
from buildmap.schema import did_you_mean
from buildmap.vector.crs import as_crs
from buildmap.vector.locating import locate
from buildmap.vector.writing.formats import GAPS_LAYER, VALID_LAYER

_POLYGONAL_LAYERS = re.compile("Polygon|Surface|Unknown|GeometryCollection|TIN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A layer that is there, with all that was asked of it."""

    path: Path
    """As the user wrote it."""
    name: str
    """As GDAL has to be told."""
    layer: str
    """Its name in the file."""
    crs: CRS | None
    """Of the file; None where nothing says."""
    target: CRS | None
    """That the polygons shall have; None where nothing says."""
    columns: tuple[str, ...]
    """Names of all attributes."""
    count: int
    """Rows the file says it has; -1 where it does not."""


def find_layer(
    path: Path, *, crs: object | None, layer: str | None = None, columns: Sequence[str] = ()
) -> Source:
    """Look a layer up before it is read.

    Args:
        path: Any vector file GDAL reads.
        crs: What pyproj understands as a CRS, or an object with `to_wkt`; None keeps the file's.
        layer: Needed where the file has several layers with polygons.
        columns: Attributes it has to have.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is no vector file, lacks the layer or a column, or has no CRS while one was asked
            for.
    """
    name = locate(path)
    chosen = layer if layer is not None else _only_layer(path, name)
    with clear_errors(path, name, chosen):
        info = pyogrio.read_info(name, layer=chosen)
    known = tuple(info["fields"].tolist())
    check_columns(path, columns, known)
    own = None if info["crs"] is None else as_crs(info["crs"])
    target = target_crs(path, own, crs)
    return Source(
        path=path,
        name=name,
        layer=chosen,
        crs=own,
        target=target,
        columns=known,
        count=int(info["features"]),
    )


def target_crs(path: Path, own: CRS | None, asked: object | None) -> CRS | None:
    """Give the CRS that the polygons of a file shall have.

    Raises:
        InputError: If one was asked for and the file has none, or it is no CRS.
    """
    target = own if asked is None else as_crs(asked)
    if target is not None and own is None and asked is not None:
        raise InputError(
            f"{path} has no CRS, {target.name} was asked for",
            hint=f"ogr2ogr -a_srs EPSG:CODE with_crs.gpkg '{path}'",
        )
    return target


def check_columns(path: Path, asked: Sequence[str], known: tuple[str, ...]) -> None:
    """Refuse a column that is not there, and name those that are.

    Raises:
        InputError: If one is not there.
    """
    for name in asked:
        if name not in known:
            listed = f"it has {', '.join(known)}" if known else "it has none"
            raise InputError(f"{path} has no column '{name}': {listed}", hint=did_you_mean(name, list(known)))


@contextmanager
def clear_errors(path: Path, source: str, layer: str) -> Iterator[None]:
    """Turn what pyogrio says into what the user can act on."""
    try:
        with _rings_closed():
            yield
    except (DataSourceError, FeatureError, GeometryError) as error:
        raise _unreadable(path, error) from error
    except DataLayerError as error:
        names = ", ".join(layer_kinds(path, source))
        raise InputError(f"{path} has no layer '{layer}'", hint=f"its layers: {names}") from error


@contextmanager
def _rings_closed() -> Iterator[None]:
    """Say nothing of rings that GDAL closes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Non closed ring", RuntimeWarning)
        yield


def layer_kinds(path: Path, source: str) -> dict[str, str | None]:
    """Give the layers of a file and their geometry types."""
    try:
        with _rings_closed():
            listed = pyogrio.list_layers(source)
    except DataSourceError as error:
        raise _unreadable(path, error) from error
    return {str(name): kind for name, kind in listed}


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = str(error).partition("; It might help")[0]  # pyogrio's advice is for its own callers
    return InputError(f"{path} cannot be read as a vector file: {reason}")


def _only_layer(path: Path, source: str) -> str:
    """Choose the layer with polygons where no other could be meant: not what lies beside footprints."""
    layers = layer_kinds(path, source)
    able = [name for name, kind in layers.items() if kind is not None and _POLYGONAL_LAYERS.search(kind)]
    if not able:
        kinds = ", ".join(f"{name}: {kind}" for name, kind in layers.items()) or "no layers"
        raise InputError(f"{path} has no layer with polygons ({kinds})")
    able = [name for name in able if name not in {VALID_LAYER, GAPS_LAYER}] or able
    if len(able) > 1:
        raise InputError(
            f"{path} has {len(able)} layers with polygons", hint=f"choose one of: {', '.join(able)}"
        )
    return able[0]
