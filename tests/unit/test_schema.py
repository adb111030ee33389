"""Tables become dataclasses, and every mistake is named with its place."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildmap.errors import MismatchError
from buildmap.schema import build, changed, did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """Part of a table."""

    pitch_deg: float
    """Degrees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """A table of every kind of field."""

    name: str
    """Text."""
    kind: Literal["shed", "villa"]
    """Choice."""
    corners: tuple[int, ...]
    """Numbers."""
    roof: Roof
    """Table."""
    height_m: float | None = None
    """Optional."""
    sheds: tuple[Roof, ...] = ()
    """Tables."""
    porch: Roof | None = None
    """Table, or none."""

    def __post_init__(self) -> None:
        if self.height_m is not None and self.height_m < 0:
            raise ValueError(f"height_m {self.height_m} is below 0")


def _table(**changes: Any) -> dict[str, Any]:
    table = {"name": "a", "kind": "shed", "corners": [4, 5], "roof": {"pitch_deg": 30}, **changes}
    return {key: value for key, value in table.items() if value is not ...}


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"nmae": "b"}, "h: unknown key 'nmae'", "did you mean 'name'?"),
        ({"zzz": 1}, "h: unknown key 'zzz'", None),
        ({"name": ...}, "h: missing name", None),
        ({"name": 3}, "h: name is 3, not str", None),
        ({"kind": "vila"}, "h: kind is 'vila', not one of shed, villa", "did you mean 'villa'?"),
        ({"corners": ["x"]}, "h: corners is 'x', not int", None),
        ({"corners": 4}, "h: corners is 4, not ", None),
        ({"corners": [True]}, "h: corners is True, not int", None),
        ({"roof": {"pitch_deg": "steep"}}, "h: roof: pitch_deg is 'steep', not float", None),
        ({"roof": {}}, "h: roof: missing pitch_deg", None),
        ({"roof": 3}, "h: roof is 3, not Roof", None),
        ({"height_m": -1}, "h: height_m -1.0 is below 0", None),
        ({"sheds": [{"pich_deg": 1}]}, "h: sheds: unknown key 'pich_deg'", "did you mean 'pitch_deg'?"),
    ],
)
def test_a_mistake_is_named_with_its_place(changes: dict[str, Any], message: str, hint: str | None) -> None:
    with pytest.raises(MismatchError) as caught:
        build(House, _table(**changes), where="h")
    assert str(caught.value).startswith(message)
    assert caught.value.hint == hint


def test_absent_fields_take_their_defaults_and_whole_numbers_become_floats() -> None:
    house = build(House, _table(height_m=3), where="h")
    assert (house.height_m, house.sheds, house.corners) == (3.0, (), (4, 5))
    assert isinstance(house.roof.pitch_deg, float)
    assert build(House, _table(height_m=None), where="h").height_m is None


houses = st.builds(
    House,
    name=st.text(),
    kind=st.sampled_from(["shed", "villa"]),
    corners=st.lists(st.integers()).map(tuple),
    roof=st.builds(Roof, pitch_deg=st.floats(-1e300, 1e300)),
    height_m=st.none() | st.floats(0, 1e6),
    sheds=st.lists(st.builds(Roof, pitch_deg=st.floats(-1e300, 1e300)), max_size=2).map(tuple),
    porch=st.none() | st.builds(Roof, pitch_deg=st.floats(-1e300, 1e300)),
)


@given(houses)
def test_what_a_dataclass_becomes_builds_it_again(house: House) -> None:
    assert build(House, asdict(house), where="h") == house


@given(st.text(), st.lists(st.text()))
def test_a_suggestion_is_one_of_the_choices(word: str, choices: list[str]) -> None:
    suggestion = did_you_mean(word, choices)
    assert suggestion is None or suggestion in {f"did you mean '{choice}'?" for choice in choices}


@dataclass(frozen=True, slots=True, kw_only=True)
class Street:
    """A table within a table within a table."""

    first: House
    """A table."""
    number: int
    """Whole number."""


HOUSE = build(House, {"name": "a", "kind": "shed", "corners": [4], "roof": {"pitch_deg": 10}}, where="h")


def test_a_changed_copy_differs_at_the_named_place_only() -> None:
    old = Street(first=HOUSE, number=1)
    new = changed(old, "first.roof.pitch_deg", 30, where="--set")
    assert asdict(new) == asdict(old) | {"first": asdict(HOUSE) | {"roof": {"pitch_deg": 30.0}}}
    assert changed(old, "number", 2, where="--set") == Street(first=HOUSE, number=2)


def test_a_table_that_may_be_absent_is_taken_out_and_put_in_whole() -> None:
    with_porch = changed(HOUSE, "porch", {"pitch_deg": 5}, where="--set")
    assert asdict(with_porch) == asdict(HOUSE) | {"porch": {"pitch_deg": 5.0}}
    assert changed(with_porch, "porch", None, where="--set") == HOUSE
    assert changed(with_porch, "porch.pitch_deg", 6, where="--set").porch == Roof(pitch_deg=6.0)


@pytest.mark.parametrize(
    ("path", "value", "message", "hint"),
    [
        ("first.rooof.pitch_deg", 1, "unknown key 'rooof'", "did you mean 'roof'?"),
        ("first.roof", 1, "'roof' is a table", None),
        ("first.roof", None, "roof is None, not Roof", None),
        ("first.roof", {"pich_deg": 1}, "roof: unknown key 'pich_deg'", "did you mean 'pitch_deg'?"),
        ("first.porch.pitch_deg", 1, "'porch' has no parts", None),
        ("number.first", 1, "'number' has no parts", None),
        ("first.roof.pitch_deg", "steep", "pitch_deg is 'steep', not float", None),
    ],
)
def test_a_wrong_place_or_value_is_named(path: str, value: object, message: str, hint: str | None) -> None:
    with pytest.raises(MismatchError, match=message) as caught:
        changed(Street(first=HOUSE, number=1), path, value, where="--set")
    assert caught.value.hint == hint
