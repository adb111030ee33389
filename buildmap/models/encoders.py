"""Library encoders by name: an image in, features at falling resolutions out, pretrained where asked.

What timm has comes from timm; the few it lacks, such as SegFormer's, from segmentation_models_pytorch.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from segmentation_models_pytorch.encoders import encoders, get_encoder
from torch import Tensor, nn

from buildmap.errors import MismatchError, ResourceError
from buildmap.models.encoder_weights import load_encoder, read_weights
from buildmap.preset import Model

_USUAL_STRIDE = 32
"""Image pixels per pixel of an encoder's last features, unless it is dilated."""
_CANNOT = (RuntimeError, LookupError, ValueError, TypeError, AssertionError, AttributeError)
"""What the libraries raise for a name or an argument that they do not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderUse:
    """What a network makes of its encoder."""

    default: str
    """Its name, where the preset gives none."""
    output_strides: tuple[int, ...] = (32,)
    """Image pixels per pixel of the last features, as the network can have them; the usual one first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """An encoder and what decoders must know of it."""

    module: nn.Module
    """Maps an image (B, bands, H, W) to a list of features, finest first."""
    out_channels: tuple[int, ...]
    """Channels of each."""
    output_stride: int
    """Image pixels per pixel of the last: image sides are multiples of it."""


def build_encoder(model: Model, bands: int, use: EncoderUse) -> Encoder:
    """Make an encoder as segmentation_models_pytorch's decoders want it.

    Returns:
        An encoder of six features, the first the image itself and each half as fine as the one before, as far
        as the output stride allows.

    Raises:
        MismatchError: If there is no such encoder, or not with that output stride, or its weights differ.
        InputError: If the file with its weights cannot be read.
        ResourceError: If its weights cannot be downloaded.
    """
    name, stride = _chosen(model, use)
    options: dict[str, Any] = {}
    if name.startswith("swin"):
        # Images of any size, and attention windows that are shifted in the last stage too.
        options = {"strict_img_size": False, "always_partition": True}
    try:
        if timm.is_model(name):
            encoder = get_encoder(f"tu-{name}", bands, weights=None, output_stride=stride, **options)
        elif stride != _USUAL_STRIDE:
            raise MismatchError(
                f"encoder '{name}' cannot have output_stride {stride}", hint="one of timm's can"
            )
        else:
            # Not on the meta device: SegFormer's reads its drop path rates from a tensor.
            with torch.device("cpu"):
                encoder = get_encoder(name, bands, weights=None, output_stride=stride)
            encoder.to(torch.get_default_device())
    except _CANNOT as error:
        raise _cannot(model, name, error) from error
    _load(getattr(encoder, "model", encoder), model, name)
    return Encoder(module=encoder, out_channels=tuple(encoder.out_channels), output_stride=stride)


def build_high_resolution_encoder(model: Model, bands: int, use: EncoderUse) -> Encoder:
    """Make one of timm's HRNets, which keep a quarter of the image's resolution to the end.

    Returns:
        An encoder of four features, at 1/4, 1/8, 1/16 and 1/32.

    Raises:
        MismatchError: If there is no such encoder, or its weights differ.
        InputError: If the file with its weights cannot be read.
        ResourceError: If its weights cannot be downloaded.
    """
    name, stride = _chosen(model, use)
    try:
        encoder: Any = timm.create_model(
            name, in_chans=bands, features_only=True, feature_location="", out_indices=(1, 2, 3, 4)
        )
    except _CANNOT as error:
        raise _cannot(model, name, error) from error
    _load(encoder, model, name)
    return Encoder(module=encoder, out_channels=tuple(encoder.feature_info.channels()), output_stride=stride)


def _chosen(model: Model, use: EncoderUse) -> tuple[str, int]:
    """Give the encoder's name and output stride, checked."""
    name = use.default if model.encoder is None else model.encoder
    # A name with a scheme ('hf-hub:') would make timm fetch code settings from a stranger.
    if not re.fullmatch(r"[\w.+-]+", name) or not (timm.is_model(name) or name in encoders):
        raise MismatchError(
            f"model {model.name} has no encoder '{name}'", hint=f"a timm name, such as {use.default}"
        )
    stride = use.output_strides[0] if model.output_stride is None else model.output_stride
    if stride not in use.output_strides:
        raise MismatchError(
            f"model {model.name} cannot have output_stride {stride}",
            hint=" or ".join(str(possible) for possible in use.output_strides),
        )
    return name, stride


def _cannot(model: Model, name: str, error: Exception) -> MismatchError:
    return MismatchError(f"model {model.name} cannot have encoder '{name}': {error}")


def _load(encoder: nn.Module, model: Model, name: str) -> None:
    """Give the encoder its pretrained weights, where the preset asks for some."""
    if model.encoder_weights is None:
        return
    if model.encoder_weights == "imagenet":
        weights = _download(model, name)
        ignored = list(weights)
    else:
        weights = read_weights(Path(model.encoder_weights))
        ignored = _names_of_whole(name)
    load_encoder(encoder, weights, ignored=ignored, where=model.encoder_weights)


def _download(model: Model, name: str) -> dict[str, Tensor]:
    try:
        whole = (
            timm.create_model(name, pretrained=True)
            if timm.is_model(name)
            else get_encoder(name, weights=model.encoder_weights)
        )
    except OSError as error:
        raise ResourceError(
            f"cannot download the {model.encoder_weights} weights of encoder {name}: {error}",
            hint="go online once, or name a file in encoder_weights, or --set model.encoder_weights=",
        ) from error
    except _CANNOT as error:
        raise _cannot(model, name, error) from error
    return dict(whole.state_dict())


def _names_of_whole(name: str) -> list[str]:
    """Name all tensors of the classifier that the encoder is a part of."""
    if not timm.is_model(name):
        return []
    with torch.device("meta"):
        return list(timm.create_model(name).state_dict())
