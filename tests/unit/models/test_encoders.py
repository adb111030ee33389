"""Library encoders by name: what is refused, and that nothing is fetched that was not asked for."""

import huggingface_hub
import pytest
import torch

from buildmap.errors import MismatchError, ResourceError
from buildmap.models import build_model, encoders
from buildmap.models.encoders import EncoderUse, build_encoder, build_high_resolution_encoder
from buildmap.preset import Model
from tests.models.small_encoders import RESNET, SWIN, register

register()

USE = EncoderUse(default=RESNET, output_strides=(32, 16))


@pytest.mark.parametrize("name", ["unet", "hrnet", "danet", "sci-net"])
def test_an_unknown_encoder_is_named(name: str) -> None:
    with pytest.raises(MismatchError, match=f"model {name} has no encoder 'resnet19'"):
        build_model(Model(name=name, encoder="resnet19"), 3, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("encoder", ["hf-hub:someone/something", "local-dir:there", "tu-hf-hub:a/b", ""])
def test_an_encoder_that_would_be_fetched_from_somewhere_is_refused(
    encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(encoders, "get_encoder", lambda name, *_, **__: made.append(name))
    monkeypatch.setattr(encoders.timm, "create_model", lambda name, **_: made.append(name))
    for build in (build_encoder, build_high_resolution_encoder):
        with pytest.raises(MismatchError, match="no encoder"):
            build(Model(name="unet", encoder=encoder), 3, USE)
    assert made == []


def test_an_encoder_of_another_kind_is_refused_by_networks_that_need_theirs() -> None:
    with pytest.raises(MismatchError, match=f"model hrnet cannot have encoder '{RESNET}'"):
        build_model(Model(name="hrnet", encoder=RESNET), 3, 1)
    with pytest.raises(MismatchError, match="encoder 'mit_b0' cannot have output_stride 8"):
        build_model(Model(name="danet", encoder="mit_b0"), 3, 1)


@pytest.mark.parametrize(
    ("name", "stride", "hint"),
    [
        ("manet", 16, "32"),
        ("deeplabv3", 32, "8 or 16"),
        ("sci-net", 4, "16 or 8 or 32"),
        ("unet", 0, "32 or"),
    ],
)
def test_output_strides_a_network_cannot_have_are_refused_with_those_it_can(
    name: str, stride: int, hint: str
) -> None:
    with pytest.raises(MismatchError, match=f"model {name} cannot have output_stride {stride}") as caught:
        build_model(Model(name=name, output_stride=stride), 3, 1)  # type: ignore[arg-type]
    assert str(caught.value.hint).startswith(hint)


@pytest.mark.parametrize("stride", [16, 32])
def test_the_last_features_are_as_coarse_as_the_output_stride(stride: int) -> None:
    encoder = build_encoder(Model(name="unet", output_stride=stride), 4, USE)
    features = encoder.module(torch.zeros(1, 4, 96, 64))
    assert tuple(one.shape[1] for one in features) == encoder.out_channels
    assert encoder.output_stride == stride
    assert features[-1].shape[2:] == (96 // stride, 64 // stride)
    assert features[-2].shape[2:] == (96 // 16, 64 // 16)


def test_an_hrnet_keeps_a_quarter_of_the_resolution() -> None:
    encoder = build_high_resolution_encoder(
        Model(name="hrnet", encoder="hrnet_w18_small"), 3, EncoderUse(default="hrnet_w48")
    )
    features = encoder.module(torch.zeros(1, 3, 64, 96))
    assert encoder.out_channels == (16, 32, 64, 128)
    assert [tuple(one.shape[1:]) for one in features] == [
        (16 * 2**level, 16 >> level, 24 >> level) for level in range(4)
    ]


@pytest.mark.parametrize(("moved", "alike"), [(224, True), (32, False)])
def test_a_swin_s_attention_windows_repeat_every_224_pixels(moved: int, alike: bool) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(Model(name="upernet", encoder=SWIN), 3, USE).module.eval()
    image = torch.rand(1, 3, 6 * 224, 4 * 224)
    with torch.inference_mode():
        here, there = encoder(image)[-1], encoder(image.roll(moved, 2))[-1]
    inside = slice(21, 28)  # what it sees is away from the edges
    again = there.roll(-moved // 32, 2)
    assert torch.allclose(here[:, :, inside], again[:, :, inside], atol=1e-4) == alike


@pytest.mark.parametrize("encoder", ["resnet18", "mit_b0"])
def test_pretrained_weights_that_cannot_be_downloaded_say_so(
    encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise huggingface_hub.errors.OfflineModeIsEnabled("no route to host")

    monkeypatch.setattr("timm.models._hub.hf_hub_download", offline)
    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", offline)
    with pytest.raises(ResourceError, match=f"imagenet weights of encoder {encoder}: .*no route") as caught:
        build_model(Model(name="unet", encoder=encoder, encoder_weights="imagenet"), 3, 1)
    assert "encoder_weights" in str(caught.value.hint)


def test_an_encoder_that_has_no_pretrained_weights_says_so() -> None:
    with pytest.raises(MismatchError, match="No pretrained weights exist"):
        build_model(Model(name="unet", encoder="densenet264d", encoder_weights="imagenet"), 3, 1)


def test_downloaded_weights_end_up_in_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    whole = encoders.timm.create_model(RESNET)
    create = encoders.timm.create_model

    def downloaded(name: str, *, pretrained: bool = False, **options: object) -> torch.nn.Module:
        return whole if pretrained else create(name, **options)  # type: ignore[no-any-return]

    monkeypatch.setattr(encoders.timm, "create_model", downloaded)
    encoder = build_encoder(Model(name="unet", encoder_weights="imagenet"), 3, USE).module.eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(encoder(image)[-1], whole.eval().forward_features(image))
