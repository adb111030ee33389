"""What goes together in a preset of two phases."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from buildmap.errors import MismatchError, MissingInput
from buildmap.models.checkpoint import save_checkpoint
from buildmap.models.esrgan import Generator
from buildmap.models.map_guided import MapGuided
from buildmap.preset import Maps, Model, Preset, Pretrain, find_preset
from buildmap.preset.maps import MapLayer
from buildmap.training.first_phase import check_pretraining, generator_card, network_of, triplets_of
from buildmap.training.loop import fresh_network
from tests.networks import make_card

LITE = find_preset("lite")
MAPS = Maps(layers=(MapLayer(path="map.gpkg"),))
GUIDED = replace(
    LITE,
    model=Model(name="map-guided-shallow-net", width=2, depth=1),
    maps=MAPS,
    pretrain=Pretrain(iterations=0),
    training=replace(LITE.training, test_share=0.1),
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"maps": None}, r"has no \[maps\]"),
        ({"pretrain": None}, r"has no \[pretrain\]"),
        ({"model": Model(name="enlarged-shallow-net")}, "enlarged-shallow-net has no generator"),
        ({"model": LITE.model}, "lite has no generator"),
    ],
)
def test_maps_and_somebody_to_draw_them_go_together(changes: dict[str, Any], said: str) -> None:
    preset: Preset = replace(GUIDED, **changes)
    with pytest.raises(MismatchError, match=said):
        check_pretraining(preset, fresh_network(preset))


@pytest.mark.parametrize("preset", [GUIDED, LITE, replace(GUIDED, maps=None, pretrain=None)])
def test_what_goes_together_passes(preset: Preset) -> None:
    check_pretraining(preset, fresh_network(preset))


def test_pictures_are_drawn_only_for_the_first_phase() -> None:
    network = fresh_network(GUIDED)
    first, second = triplets_of(GUIDED, network, pictures=True), triplets_of(GUIDED, network)
    assert (first.scale, first.maps, first.style, first.test_share) == (4, MAPS.layers, MAPS.style, 0.1)
    assert (second.scale, second.maps, second.test_share) == (4, (), 0.1)
    assert triplets_of(LITE, fresh_network(LITE), pictures=True).maps == ()


def test_the_joint_model_has_what_its_generator_has_learned(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"generator\.safetensors does not exist"):
        network_of(GUIDED, tmp_path)
    torch.manual_seed(5)
    learned = Generator(3, width=2, depth=1)
    card = generator_card(GUIDED, make_card(stride=1, scale=4))
    assert (card.model, card.scale, card.classes) == (
        Model(name="esrgan", width=2, depth=1),
        4,
        ("red", "green", "blue"),
    )
    save_checkpoint(tmp_path / "generator.safetensors", learned.state_dict(), card)
    network = network_of(GUIDED, tmp_path)
    assert isinstance(network, MapGuided)
    fresh = fresh_network(GUIDED).state_dict()
    for name, tensor in network.state_dict().items():
        expected = learned.state_dict()[name.removeprefix("front.")] if "front." in name else fresh[name]
        assert torch.equal(tensor, expected), name
    assert not torch.equal(fresh["front.first.weight"], learned.first.weight)
