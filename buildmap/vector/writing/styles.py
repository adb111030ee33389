"""How QGIS draws footprints when it opens them: the table `layer_styles` of a GeoPackage."""

from collections.abc import Collection, Iterable
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

_METHODS = {
    "adaptive": "27,120,55",
    "circle": "118,42,131",
    "coverage": "33,102,172",
    "paper": "1,133,113",
    "simplify": "230,97,1",
    "raw": "202,0,32",
}
"""Outline by what was done to it, red, green, blue: the closer to red, the less."""
_OTHER = "99,99,99"
_CONFIDENCES = {0.6: "202,0,32", 0.7: "230,97,1", 0.8: "217,164,6", 0.9: "90,174,97", 1.0: "27,120,55"}
"""Outline by the upper end of a range of confidence."""
_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


def layer_styles(layer: str, columns: Collection[str]) -> dict[str, NDArray[np.generic]]:
    """Give the rows of `layer_styles` for a layer; the first is how QGIS shows it at once.

    Args:
        layer: Name of the layer.
        columns: What is known of each footprint.

    Returns:
        (n,) values by column of the table; n is 0 where nothing is known of the method.
    """
    styles = {}
    if "method" in columns:
        styles["outlines by method"] = _by_method()
    if {"method", "confidence"} <= {*columns}:
        styles["outlines by confidence"] = _by_confidence()
    count = len(styles)
    return {
        "f_table_catalog": _texts([""] * count),
        "f_table_schema": _texts([""] * count),
        "f_table_name": _texts([layer] * count),
        "f_geometry_column": _texts(["geom"] * count),
        "styleName": _texts(styles),
        "styleQML": _texts(styles.values()),
        "styleSLD": _texts([""] * count),
        "useAsDefault": np.arange(count) == 0,
        "description": _texts(styles),
        "owner": _texts(["buildmap"] * count),
        "ui": _texts([None] * count),
        "update_time": np.full(count, np.datetime64("NaT", "ms")),
    }


def _by_method() -> str:
    renderer = ElementTree.Element("renderer-v2", type="categorizedSymbol", attr="method", symbollevels="0")
    categories = ElementTree.SubElement(renderer, "categories")
    for number, method in enumerate([*_METHODS, ""]):
        named = {"value": method, "label": method or "other", "type": "string"}
        ElementTree.SubElement(categories, "category", named, symbol=str(number), render="true")
    return _document(renderer, [*_METHODS.values(), _OTHER])


def _by_confidence() -> str:
    renderer = ElementTree.Element(
        "renderer-v2",
        type="graduatedSymbol",
        attr="confidence",
        graduatedMethod="GraduatedColor",
        symbollevels="0",
    )
    ranges = ElementTree.SubElement(renderer, "ranges")
    lower = 0.0
    for number, upper in enumerate(_CONFIDENCES):
        named = {"lower": f"{lower:.2f}", "upper": f"{upper:.2f}", "label": f"{lower:.1f} to {upper:.1f}"}
        ElementTree.SubElement(ranges, "range", named, symbol=str(number), render="true")
        lower = upper
    return _document(renderer, _CONFIDENCES.values())


def _document(renderer: ElementTree.Element, colours: Iterable[str]) -> str:
    """Put symbols to a renderer, one for each colour, and write QML."""
    symbols = ElementTree.SubElement(renderer, "symbols")
    for number, colour in enumerate(colours):
        symbol = ElementTree.SubElement(symbols, "symbol", type="fill", name=str(number), alpha="1")
        fill = ElementTree.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "pass": "0"})
        options = ElementTree.SubElement(fill, "Option", type="Map")
        for name, value in {
            "style": "no",
            "outline_color": f"{colour},255",
            "outline_style": "solid",
            "outline_width": "0.4",
            "outline_width_unit": "MM",
            "joinstyle": "miter",
        }.items():
            ElementTree.SubElement(options, "Option", type="QString", name=name, value=value)
    root = ElementTree.Element("qgis", version="3.22", styleCategories="Symbology")
    root.append(renderer)
    return _DOCTYPE + ElementTree.tostring(root, encoding="unicode")


def _texts(values: Iterable[str | None]) -> NDArray[np.object_]:
    return np.array([*values], np.object_)
