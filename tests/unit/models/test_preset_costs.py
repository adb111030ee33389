"""Counts against a slow direct one, and every preset's against its own file."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from buildmap.models import build_model
from buildmap.preset import Model, find_preset, preset_paths
from buildmap.training.loop import fresh_network
from tests.counting import count_cost
from tests.models.small_encoders import RESNET, register

register()


@pytest.mark.parametrize("name", ["lite", "unet", "sci-net"])
def test_multiply_adds_are_those_of_the_convolutions(name: str) -> None:
    model = Model(name="lite", width=4) if name == "lite" else Model(name=name, encoder=RESNET)  # type: ignore[arg-type]
    network, counted = build_model(model, 3, 1).eval(), 0

    def add(module: nn.Module, _: object, values: torch.Tensor) -> None:
        nonlocal counted
        assert isinstance(module, nn.Conv2d)
        counted += values.numel() * module.weight[0].numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(add)
    network(torch.zeros(1, 3, 96, 96))
    cost = count_cost(model, bands=3, side_px=96)
    assert cost.multiply_adds == counted
    assert cost.parameters == sum(p.numel() for p in network.parameters())


def test_matrix_products_are_counted_too() -> None:
    def count(side: int) -> int:
        return count_cost(Model(name="danet"), bands=3, side_px=side).multiply_adds

    channels = 512

    def position(side: int) -> int:  # every pixel of 1/8 with every other: likeness, and the mean
        return (side // 8) ** 4 * (channels // 8 + channels)

    # Everything else grows with the number of pixels.
    assert count(128) - position(128) == 4 * (count(64) - position(64))


def test_weights_are_not_fetched_to_count() -> None:
    model = Model(name="unet", encoder=RESNET)
    assert count_cost(replace(model, encoder_weights="imagenet"), bands=3) == count_cost(model, bands=3)


@pytest.mark.parametrize("name", sorted(preset_paths()))
def test_a_preset_says_what_its_network_costs(name: str) -> None:
    preset = find_preset(name)
    cost = count_cost(preset.model, len(preset.data.bands))
    assert preset.parameters == cost.parameters
    counted = None if cost.multiply_adds is None else round(cost.multiply_adds / 1e9, 2)
    assert preset.gmac_512 == counted
    assert (counted is None) == (preset.model.instances is not None)


@pytest.mark.parametrize("name", sorted(preset_paths()))
def test_a_preset_s_sides_are_whole_strides(name: str) -> None:
    preset = find_preset(name)
    with torch.device("meta"):
        network = fresh_network(replace(preset, model=replace(preset.model, encoder_weights=None)))
    windows = [preset.predict.window_px, preset.predict.halo_px]
    chips = [preset.training.chip_px, preset.training.validation_chip_px or preset.training.chip_px]
    sides = windows if network.any_size else windows + chips
    assert not any(side % network.stride for side in sides)
    assert 2 * preset.predict.halo_px < preset.predict.window_px
    assert preset.model.name == "lite" or preset.paper
