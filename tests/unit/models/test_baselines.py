"""Networks to compare with: the library's own numbers, but for how features and logits are enlarged."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
import torchvision  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional

from buildmap.models import build_model
from buildmap.models.baselines import BASELINES
from buildmap.models.network import Segmenter
from buildmap.preset import Model
from tests.models.small_encoders import MIT, RESNET, SWIN, register

register()

LIBRARY: dict[str, tuple[str, Callable[..., nn.Module], dict[str, object]]] = {
    "unet": (RESNET, smp.Unet, {"decoder_interpolation": "bilinear"}),
    "manet": (RESNET, smp.MAnet, {"decoder_pab_channels": 64}),
    "pspnet": (RESNET, smp.PSPNet, {"encoder_depth": 5, "psp_out_channels": 512, "upsampling": 32}),
    "deeplabv3": (RESNET, smp.DeepLabV3, {"encoder_output_stride": 8}),
    "deeplabv3plus": (RESNET, smp.DeepLabV3Plus, {"encoder_output_stride": 16}),
    "segformer": (MIT, smp.Segformer, {}),
    "upernet": (SWIN, smp.UPerNet, {}),
}
"""Encoder, the library's network, and what the Sci-Net paper has that is not the library's default."""
FEATURES = {
    ("unet", None): (16, 1),
    ("unet", 16): (16, 1),
    ("manet", None): (16, 1),
    ("pspnet", None): (512, 32),
    ("pspnet", 8): (512, 8),
    ("deeplabv3", None): (256, 8),
    ("deeplabv3", 16): (256, 16),
    ("deeplabv3plus", None): (256, 4),
    ("deeplabv3plus", 8): (256, 4),
    ("segformer", None): (256, 4),
    ("upernet", None): (256, 4),
}
"""Channels of what logits are made of, and image pixels per pixel of it, by name and output stride."""


def make(name: str, output_stride: int | None = None) -> Segmenter:
    torch.manual_seed(0)
    encoder, *_ = LIBRARY[name]
    model = Model(name=name, encoder=encoder, output_stride=output_stride)  # type: ignore[arg-type]
    network = build_model(model, 3, 2).eval()
    assert isinstance(network, Segmenter)
    return network


def library_s(name: str, ours: Segmenter) -> nn.Module:
    """Make the library's network with our encoder and our weights."""
    encoder, make_theirs, options = LIBRARY[name]
    prefixed = encoder if encoder == MIT else f"tu-{encoder}"
    theirs: Any = make_theirs(prefixed, encoder_weights=None, classes=2, **options).eval()
    theirs.encoder = ours.encoder
    decoder = {
        re.sub(r"psp\.pools\.(\d)", r"psp.blocks.\1.pool", key): value
        for key, value in ours.decoder.state_dict().items()
    }
    theirs.decoder.load_state_dict(decoder)
    theirs.segmentation_head[0].load_state_dict(ours.head.state_dict())
    return theirs  # type: ignore[no-any-return]


def test_every_baseline_is_compared_with_the_library_s() -> None:
    assert set(LIBRARY) == set(BASELINES) == {name for name, _ in FEATURES}


@pytest.mark.parametrize("name", LIBRARY)
def test_logits_are_the_library_s_once_it_enlarges_pixel_areas(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = make(name)
    theirs = library_s(name, ours)
    image = torch.rand(2, 3, 128, 192)
    interpolate = functional.interpolate

    def enlarge_areas(
        values: Tensor,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        *_: object,
        **__: object,
    ) -> Tensor:
        return interpolate(values, size=size, scale_factor=scale_factor, mode=mode)

    with torch.inference_mode():
        logits = ours(image)
        monkeypatch.setattr(functional, "interpolate", enlarge_areas)
        expected = theirs(image)
    assert expected.std() > 0
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LIBRARY)
def test_as_much_is_dropped_in_training_as_in_the_library(name: str) -> None:
    ours = make(name)

    def dropped(part: Any) -> list[tuple[type[nn.Module], float]]:
        kinds = nn.Dropout | nn.Dropout2d
        return [(type(module), module.p) for module in part.modules() if isinstance(module, kinds)]

    assert dropped(ours.decoder) == dropped(library_s(name, ours).decoder)


@pytest.mark.parametrize(
    ("name", "encoder_m"), [("unet", 11.18), ("deeplabv3", 23.51), ("segformer", 24.2), ("upernet", 27.52)]
)
def test_an_unnamed_encoder_is_as_large_as_its_paper_says(name: str, encoder_m: float) -> None:
    """ResNet-18 and -50, MiT-B2 (Xie et al. 2021, table 1) and Swin-T (Liu et al. 2021), no classifier."""
    with torch.device("meta"):
        network = build_model(Model(name=name), 3, 1)  # type: ignore[arg-type]
    assert isinstance(network, Segmenter)
    millions = sum(p.numel() for p in network.encoder.parameters()) / 1e6
    assert millions == pytest.approx(encoder_m, abs=0.05)


@pytest.mark.parametrize(("name", "output_stride"), FEATURES)
def test_features_have_the_paper_s_width_and_coarseness(name: str, output_stride: int | None) -> None:
    network = make(name, output_stride)
    channels, reduction = FEATURES[name, output_stride]
    with torch.inference_mode():
        features = network.decoder(network.encoder(torch.zeros(1, 3, 128, 192)))
    assert features.shape == (1, channels, 128 // reduction, 192 // reduction)


def test_deeplabv3_has_torchvision_s_weights_and_rates() -> None:
    """The map-guided networks are torchvision's DeepLabV3 of 50 layers."""
    with torch.device("meta"):
        ours = build_model(Model(name="deeplabv3"), 3, 21)
        theirs = torchvision.models.segmentation.deeplabv3_resnet50(
            weights=None, weights_backbone=None, num_classes=21
        )
    assert isinstance(ours, Segmenter)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())

    def rates(part: nn.Module) -> list[tuple[int, ...]]:
        return [m.dilation for m in part.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]

    assert rates(ours.decoder) == rates(theirs.classifier) == [(12, 12), (24, 24), (36, 36), (1, 1)]


@pytest.mark.parametrize("name", ["unet", "pspnet", "deeplabv3"])
def test_decoders_start_with_weights_that_keep_the_spread_through_rectifiers(name: str) -> None:
    """He et al. (2015), as in the library: a variance of 2 over the values that are summed."""
    drawn = [module.weight for module in make(name).decoder.modules() if isinstance(module, nn.Conv2d)]
    spread = torch.stack([(weight.var() * weight[0].numel() / 2).sqrt() for weight in drawn])
    torch.testing.assert_close(spread, torch.ones(len(drawn)), rtol=0, atol=0.1)


def test_moving_the_image_by_a_stride_moves_the_logits_though_the_whole_is_pooled() -> None:
    network = make("deeplabv3plus", 8)
    image = torch.zeros(1, 3, 672, 672)  # all rates stay inside
    image[..., 328:344, 328:344] = torch.rand(3, 16, 16)
    with torch.inference_mode():
        here, there = network(image), network(image.roll((8, 16), (2, 3)))
    before, after = here[..., 312:360, 312:360], there[..., 320:368, 328:376]
    assert before.std() > 0
    assert (after - before).abs().max() < 1e-5 * (before.max() - before.min())
