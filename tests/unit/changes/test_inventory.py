import numpy as np
import pytest
import shapely

from buildmap.changes.buildings import Buildings, buildings_of
from buildmap.changes.inventory import carried_columns, drop_removed, know, name_buildings
from buildmap.errors import InputError

HOUSES = np.array([shapely.box(20 * n, 0, 20 * n + 10, 10) for n in range(3)], np.object_)


def buildings(**columns: list[object]) -> Buildings:
    values = {name: np.array(column) for name, column in columns.items()}
    return buildings_of(HOUSES, np.arange(3), values)


def test_a_layer_that_says_nothing_has_believed_buildings_with_ids_of_their_outlines() -> None:
    known = know(buildings(), HOUSES, date="2024")
    assert known.building_id.tolist() == name_buildings(HOUSES).tolist()
    assert known.is_present.all() and known.history.tolist() == ["1"] * 3
    assert known.first_seen.tolist() == known.last_seen.tolist() == ["2024"] * 3


def test_ids_of_any_type_are_kept_as_text_and_gaps_are_named() -> None:
    known = know(buildings(cadastre=[7.0, np.nan, 8.5]), HOUSES, date=None)
    assert known.building_id[[0, 2]].tolist() == ["7", "8.5"]
    assert known.building_id[1] == name_buildings(HOUSES[1:2])[0]
    texts = know(buildings(cadastre=["x", None, ""]), HOUSES, date=None)
    assert texts.building_id.tolist() == ["x", *name_buildings(HOUSES[1:])]


def test_what_an_earlier_run_wrote_is_taken_up() -> None:
    columns = {
        "building_id": ["a", "b", "c"],
        "status": ["unchanged", "appearing", "removed"],
        "history": ["11", "1", "00"],
        "first_seen": ["2020", "2023", None],
        "last_seen": ["2022", "2024", None],
    }
    assert drop_removed(buildings()).row.tolist() == [0, 1, 2]  # of another's layer nothing is gone
    left = drop_removed(buildings(**columns))
    assert left.row.tolist() == [0, 1]
    known = know(left, HOUSES[:2], date="2099")
    assert known.is_present.tolist() == [True, False]
    assert known.history.tolist() == ["11", "1"] and known.building_id.tolist() == ["a", "b"]
    assert (known.first_seen.tolist(), known.last_seen.tolist()) == (["2020", "2023"], ["2022", "2024"])


def test_a_history_of_something_else_is_refused_and_none_begins_with_having_been_seen() -> None:
    columns = {name: ["?"] * 3 for name in ("status", "history", "first_seen", "last_seen")}
    known = know(buildings(**{**columns, "history": [None, "1", "0e"]}), HOUSES, date=None)
    assert known.history.tolist() == ["1", "1", "0e"]
    with pytest.raises(InputError, match="history"):
        know(buildings(**columns), HOUSES, date=None)


def test_equal_outlines_have_equal_names_and_twins_are_two() -> None:
    again = name_buildings(np.array([*HOUSES, HOUSES[0], HOUSES[0]], np.object_))
    assert again[:3].tolist() == name_buildings(HOUSES).tolist()
    assert again[3:].tolist() == [f"{again[0]}-2", f"{again[0]}-3"]
    assert len({*again}) == 5


def test_names_do_not_change_from_version_to_version_nor_with_less_than_half_a_millimetre() -> None:
    expected = ["wdlyikvkblefo", "qo77ehakt5z4c", "65ulwa353z3da"]
    for off in (-4e-4, 0.0, 4e-4):
        near = shapely.transform(HOUSES, lambda corners, off=off: corners + off)
        assert name_buildings(near).tolist() == expected
    moved = name_buildings(shapely.transform(HOUSES, lambda corners: corners + 6e-4))
    assert not {*moved} & {*expected}


def test_only_what_is_needed_is_read() -> None:
    assert carried_columns(("height",), None) == ()
    assert carried_columns(("height", "building_id"), None) == ("building_id",)
    assert carried_columns(("height", "building_id"), "height") == ("height",)
    assert carried_columns(("status", "building_id"), None) == ("building_id",)
    own = ("building_id", "status", "history", "first_seen", "last_seen")
    assert {*carried_columns(own, None)} == {*own}
    with pytest.raises(InputError, match="no column 'nr'"):
        carried_columns(("height",), "nr")
