"""A model file describes itself, the same way forth and back."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildmap.contract import HaloRow, ModelCard, card_from_json, card_to_json
from buildmap.errors import InputError, MismatchError
from buildmap.preset import Data, Model

CARD = ModelCard(
    title="a model",
    model=Model(name="lite", width=8, depth=3),
    data=Data(gsd_min_m=0.3, gsd_max_m=0.6, bands=(3, 2, 1), mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.25)),
    stride=8,
    window_px=256,
    halo_px=32,
    threshold=0.45,
    scale=1,
    classes=("building",),
    license="CC0-1.0",
    training_data="drawn by hand, Ü & 建物",
    fingerprint="0123456789abcdef",
)


@given(
    stride=st.sampled_from([8, 16]),
    core=st.integers(1, 20),
    halo=st.integers(0, 8),
    threshold=st.floats(0, 1),
    title=st.text(),
    table=st.lists(
        st.builds(
            HaloRow,
            window_px=st.integers(1),
            halo_px=st.integers(0),
            cost=st.floats(1, 9),
            u8_changed=st.floats(0, 1),
            flips_per_million=st.floats(0, 1e6),
        ),
        max_size=3,
    ),
)
def test_a_card_survives_the_way_through_json(
    stride: int, core: int, halo: int, threshold: float, title: str, table: list[HaloRow]
) -> None:
    window_px, halo_px = (core + 2 * halo) * stride, halo * stride
    card = replace(
        CARD,
        stride=stride,
        window_px=window_px,
        halo_px=halo_px,
        threshold=threshold,
        title=title,
        halo_table=tuple(table),
    )
    assert card_from_json(card_to_json(card), where="m") == card
    assert card.core_px == core * stride


def test_a_card_from_before_halos_were_measured_has_no_table() -> None:
    table = json.loads(card_to_json(CARD))
    del table["halo_table"]
    assert card_from_json(json.dumps(table), where="m") == CARD
    assert CARD.halo_table == ()


@pytest.mark.parametrize("text", [None, "not json", ""])
def test_a_file_without_a_card_is_no_buildmap_model(text: str | None) -> None:
    with pytest.raises(InputError, match=r"m\.onnx is not a buildmap model"):
        card_from_json(text, where="m.onnx")


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"strid": 8}, "unknown key 'strid'", "did you mean 'stride'?"),
        ({"stride": 7}, "window_px 256 and halo_px 32 are not multiples of the stride 7", None),
        ({"scale": 0}, "scale 0 is not positive", None),
        ({"halo_px": 128}, "halo_px 128 leaves no core in window_px 256", None),
        ({"halo_px": -8}, "halo_px -8 leaves no core", None),
        ({"model": {"name": "qqq"}}, "name is 'qqq', not one of", None),
        ({"threshold": "high"}, "threshold is 'high', not float", None),
    ],
)
def test_a_card_of_another_kind_is_refused(changes: dict[str, Any], message: str, hint: str | None) -> None:
    table = json.loads(card_to_json(CARD)) | changes
    with pytest.raises(MismatchError, match=message) as caught:
        card_from_json(json.dumps(table), where="m")
    assert caught.value.hint == hint


def test_a_card_that_is_no_table_is_refused() -> None:
    with pytest.raises(MismatchError, match="not a table"):
        card_from_json("[1]", where="m")
