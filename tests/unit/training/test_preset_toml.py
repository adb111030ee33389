"""A preset survives being written."""

import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildmap.preset import LOSSES, Maps, Preset, Pretrain, Sampling, Source, find_preset, preset_paths
from buildmap.preset.maps import MapLayer
from buildmap.schema import build
from buildmap.training.preset_toml import to_toml


def back(preset: Preset) -> Preset:
    return build(Preset, tomllib.loads(to_toml(preset)), where="text")


@pytest.mark.parametrize("name", preset_paths())
def test_shipped_presets_read_back_as_they_were(name: str) -> None:
    assert back(find_preset(name)) == find_preset(name)


@given(text=st.text(st.characters(exclude_categories=["Cs"])), rate=st.floats(1e-12, 1e6))
def test_any_text_and_any_rate_read_back(text: str, rate: float) -> None:
    lite = find_preset("lite")
    preset = replace(
        lite,
        title=text,
        training=replace(lite.training, learning_rate=rate, clip_norm=0.5),
        loss=LOSSES["bd+lace+wdice"],
        sampling=Sampling(building_share=0.25),
        maps=Maps(layers=(MapLayer(path=text), MapLayer(path="b.gpkg", layer="b", shows="building"))),
        pretrain=Pretrain(iterations=3, perceptual=0.0, betas=(0.5, rate % 1)),
        sources=(Source(image=text, annotations="x.json", use="split", window_px=(1, 2, 3, 4)),),
    )
    assert back(preset) == preset
