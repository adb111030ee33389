"""What QGIS finds in the table of styles."""

from xml.etree import ElementTree

import numpy as np
import pytest

from buildmap.vector.writing.styles import layer_styles

# The columns that QGIS makes when it saves a style into a GeoPackage.
QGIS_COLUMNS = [
    *("f_table_catalog", "f_table_schema", "f_table_name", "f_geometry_column"),
    *("styleName", "styleQML", "styleSLD", "useAsDefault", "description", "owner", "ui", "update_time"),
]


def qml(number: int) -> ElementTree.Element:
    return ElementTree.fromstring(layer_styles("houses", ["method", "confidence"])["styleQML"][number])


def test_the_table_is_the_one_qgis_looks_for() -> None:
    styles = layer_styles("houses", ["method", "confidence"])
    assert list(styles) == QGIS_COLUMNS
    assert {len(values) for values in styles.values()} == {2}
    assert styles["f_table_schema"].tolist() == ["", ""]
    assert styles["f_table_name"].tolist() == ["houses", "houses"]
    assert styles["f_geometry_column"].tolist() == ["geom", "geom"]
    assert styles["styleName"].tolist() == ["outlines by method", "outlines by confidence"]
    assert styles["useAsDefault"].tolist() == [True, False]


def test_a_layer_without_methods_has_no_styles_and_one_without_confidence_has_one() -> None:
    assert {len(values) for values in layer_styles("a", ["confidence"]).values()} == {0}
    assert layer_styles("a", ["method"])["styleName"].tolist() == ["outlines by method"]


@pytest.mark.parametrize(
    ("number", "column", "item"), [(0, "method", "category"), (1, "confidence", "range")]
)
def test_every_class_has_an_outline_of_its_own_and_no_filling(number: int, column: str, item: str) -> None:
    renderer = qml(number).find("renderer-v2")
    assert renderer is not None and renderer.get("attr") == column
    symbols = {symbol.get("name"): symbol for symbol in renderer.iter("symbol")}
    classes = [*renderer.iter(item)]
    assert [each.get("symbol") for each in classes] == [*symbols]
    colours = set()
    for symbol in symbols.values():
        options = {option.get("name"): option.get("value") for option in symbol.iter("Option")}
        assert options["style"] == "no"
        colours.add(options["outline_color"])
    assert len(colours) == len(classes) >= 5


def test_every_method_falls_into_a_class() -> None:
    values = [each.get("value") for each in qml(0).iter("category")]
    assert {"adaptive", "paper", "simplify", "raw"} < {*values}
    assert values[-1] == ""  # all others, as QGIS has it


def test_the_ranges_of_confidence_join_from_none_to_all() -> None:
    edges = [(float(each.attrib["lower"]), float(each.attrib["upper"])) for each in qml(1).iter("range")]
    assert edges[0][0] == 0 and edges[-1][1] == 1
    np.testing.assert_array_equal([upper for _, upper in edges[:-1]], [lower for lower, _ in edges[1:]])
