"""Library encoders by name; nothing is fetched that was not asked for."""

import pytest
import segmentation_models_pytorch as smp

from buildmap.errors import MismatchError, ResourceError
from buildmap.models.unet import UNet
from buildmap.preset import Model


def test_an_unknown_encoder_is_named() -> None:
    with pytest.raises(MismatchError, match="resnet19"):
        UNet(Model(name="unet", encoder="resnet19"), 3, 1)


@pytest.mark.parametrize("encoder", ["hf-hub:someone/something", "local-dir:there", "tu-hf-hub:a/b", ""])
def test_an_encoder_that_would_be_fetched_from_somewhere_is_refused(
    encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    monkeypatch.setattr(smp, "Unet", lambda name, **_: built.append(name))
    if encoder:
        with pytest.raises(MismatchError, match="no encoder"):
            UNet(Model(name="unet", encoder=encoder), 3, 1)
    assert built == []


@pytest.mark.parametrize(
    ("encoder", "asked"),
    [("resnet18", ("resnet18", "imagenet")), ("mobilenetv3_small_050", ("tu-mobilenetv3_small_050", True))],
)
def test_pretrained_weights_that_cannot_be_downloaded_say_so(
    encoder: str, asked: tuple[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for = []

    def offline(name: str, *, encoder_weights: object, **_: object) -> None:
        asked_for.append((name, encoder_weights))
        raise ConnectionError("no route to host")

    monkeypatch.setattr(smp, "Unet", offline)
    with pytest.raises(ResourceError, match="no route to host") as caught:
        UNet(Model(name="unet", encoder=encoder, encoder_weights="imagenet"), 3, 1)
    assert asked_for == [asked]
    assert "encoder_weights" in str(caught.value.hint)
