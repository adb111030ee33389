"""What Sci-Net says of its networks, sections 4.3, 4.4 and 5.2 and tables 1 and 2: held against ours."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from buildmap.models import build_model
from buildmap.models.blocks.aspp import ASPP, DenseASPP
from buildmap.preset import Model, find_preset
from tests.counting import count_cost

TABLES = {
    "pspnet": (12.0, 8.7),
    "deeplabv3plus": (12.0, 13.5),
    "manet": (35.5, 25.0),
    "hrnet-w32": (29.5, 45.0),
    "sci-net": (24.2, 33.1),
    "sci-net-unet": (14.5, 23.2),
    "sci-net-unet-aspp": (21.0, 28.5),
}
"""Millions of parameters, thousand millions of 'FLOPs', to one decimal."""
EXACT_M = {
    "pspnet": 12.02,
    "deeplabv3plus": 11.96,
    "manet": 35.56,
    "sci-net": 24.18,
    "sci-net-unet": 14.49,
}
"""The same parameters from building the library's networks, where it has them."""


@pytest.mark.parametrize("name", TABLES)
def test_parameters_and_multiply_adds_are_the_paper_s(name: str) -> None:
    preset = find_preset(name)
    cost = count_cost(preset.model, bands=3)
    parameters, work = TABLES[name]
    # The paper's parameters are cut in one place and rounded in another, and 35.56 is called 35.5.
    assert cost.multiply_adds / 1e9 == pytest.approx(work, abs=0.051)
    # Of 21.0 M parameters with ASPP 1.0 M, which have no multiply-adds, are nowhere described.
    undescribed = 1.04 if name == "sci-net-unet-aspp" else 0
    assert cost.parameters / 1e6 + undescribed == pytest.approx(parameters, abs=0.061)
    assert round(cost.parameters / 1e6, 2) == EXACT_M.get(name, round(cost.parameters / 1e6, 2))


def test_the_ablations_differ_by_their_context_alone() -> None:
    cost = {name: count_cost(Model(name=name), bands=3) for name in ("unet-aspp", "sci-net")}  # type: ignore[arg-type]
    plain = count_cost(find_preset("sci-net-unet").model, bands=3)

    def conv(channels_in: int, channels_out: int, kernel: int) -> int:
        return channels_in * channels_out * kernel**2 + 2 * channels_out  # and its normalization

    dense = sum(conv(888 + 256 * i, 512, 1) + conv(512, 256, 3) for i in range(4))
    wider = 4 * 256 * 256 * 9  # the first decoder block sees 1024 channels more
    assert cost["sci-net"].parameters - plain.parameters == dense + wider

    aspp = 2 * conv(888, 256, 1) + 3 * conv(888, 256, 3) + conv(5 * 256, 256, 1)
    narrower = (888 - 256) * 256 * 9
    assert cost["unet-aspp"].parameters - plain.parameters == aspp - narrower
    assert cost["unet-aspp"].parameters == 19_955_239  # the paper says 21.0 M


def test_normalizations_make_up_what_other_counts_are_larger_by() -> None:
    """Three operations a value reproduce 33.26, 28.71 and 23.34 thousand millions."""
    counted = {"sci-net": 33.26, "sci-net-unet-aspp": 28.71, "sci-net-unet": 23.34}
    for name, expected in counted.items():
        model = find_preset(name).model
        normalized = 0

        def add(_: nn.Module, __: object, values: torch.Tensor) -> None:
            nonlocal normalized
            normalized += values.numel()

        with torch.device("meta"):
            bare = Model(name=model.name, encoder=model.encoder, output_stride=model.output_stride)
            network = build_model(bare, 3, 1).eval()
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.register_forward_hook(add)
            network(torch.zeros(1, 3, 512, 512))
        total = count_cost(model, bands=3).multiply_adds + 3 * normalized
        assert total / 1e9 == pytest.approx(expected, abs=0.006)


def test_the_last_stage_is_dilated_and_not_strided() -> None:
    """Section 4.4 (c) and (d): the output stride is 16, so the first decoder block enlarges nothing."""
    network = build_model(Model(name="sci-net"), 3, 1).eval()
    with torch.inference_mode():
        features = network.encoder(torch.zeros(1, 3, 64, 96))  # type: ignore[operator]
    assert [tuple(one.shape[1:]) for one in features[1:]] == [
        (32, 32, 48), (48, 16, 24), (120, 8, 12), (336, 4, 6), (888, 4, 6)
    ]  # fmt: skip


def reach(context: nn.Module, channels: int) -> int:
    """Measure how many pixels along a line can change the middle one."""
    side = 101
    for parameter in context.parameters():
        nn.init.ones_(parameter)
    features = torch.ones(1, channels, side, side, requires_grad=True)
    context.eval()(features)[0, -1, side // 2, side // 2].backward()
    assert features.grad is not None
    cols = features.grad[0, 0, side // 2].nonzero()
    return int(cols.max() - cols.min()) + 1


def test_a_dense_aspp_sees_79_pixels_and_a_plain_one_37() -> None:
    """Sections 4.2 and 4.3."""
    assert reach(DenseASPP(1, bottleneck=1, growth=1, rates=(3, 6, 12, 18)), 1) == 79
    plain = ASPP(1, 1, (8, 12, 18))
    assert max(reach(scale, 1) for scale in plain.scales) == 37


def test_the_output_of_the_dense_aspp_is_the_features_and_256_channels_a_rate() -> None:
    """Section 4.4 (b): 888 and 4 x 256."""
    context = DenseASPP(888, bottleneck=8, growth=256, rates=(3, 6, 12, 18)).eval()
    features = torch.randn(1, 888, 4, 4)
    with torch.inference_mode():
        seen = context(features)
    assert seen.shape == (1, 888 + 1024, 4, 4)
    assert torch.equal(seen[:, :888], features)


@pytest.mark.parametrize(("name", "rates"), [("sci-net", [3, 6, 12, 18]), ("unet-aspp", [8, 12, 18])])
def test_the_rates_are_the_paper_s(name: str, rates: list[int]) -> None:
    """Sections 4.2 and 4.4 (b)."""
    with torch.device("meta"):
        network = build_model(Model(name=name), 3, 1)  # type: ignore[arg-type]
    context = network.decoder.context
    assert isinstance(context, nn.Module)
    convolutions = [module for module in context.modules() if isinstance(module, nn.Conv2d)]
    assert [one.dilation[0] for one in convolutions if one.kernel_size == (3, 3)] == rates


def test_decoder_blocks_are_enlarged_bilinearly_and_the_same_in_all_ablations() -> None:
    """Section 4.4."""
    for name in ("sci-net", "sci-net-unet", "sci-net-unet-aspp"):
        bare = replace(find_preset(name).model, encoder_weights=None)
        with torch.device("meta"):
            network = build_model(bare, 3, 1)
        blocks = [m for m in network.modules() if type(m).__name__ == "UnetDecoderBlock"]
        assert [block.interpolation_mode for block in blocks] == ["bilinear"] * 5


def test_it_is_trained_as_the_paper_says() -> None:
    """Section 5.3."""
    preset = find_preset("sci-net")
    assert (preset.loss.bce, preset.loss.dice) == (0.5, 0.5)
    training = preset.training
    assert (training.optimizer, training.learning_rate) == ("adam", 1e-4)
    assert (training.schedule, training.power, training.epochs) == ("polynomial", 0.9, 50)
    assert (training.batch_size, training.chip_px, training.validation_chip_px) == (12, 512, 1024)
    assert (preset.augment.flip, preset.augment.half_turn, preset.augment.gsd) == (0.8, 0.8, "native")
    assert (preset.data.gsd_min_m, preset.data.gsd_max_m) == (0.02, 0.2)
