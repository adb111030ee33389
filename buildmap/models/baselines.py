"""The networks that Sci-Net and HR-Mamba are compared with, on decoders of segmentation_models_pytorch.

U-Net (Ronneberger et al. 2015), PSPNet (Zhao et al. 2017), DeepLabV3 (Chen et al. 2017), DeepLabV3+ (Chen et
al. 2018), MANet (Fan et al. 2020), SegFormer (Xie et al. 2021) and UPerNet (Xiao et al. 2018).

Two things differ from the library, neither of which has weights: nothing is enlarged with
`align_corners=True`, for the reason that `Segmenter` gives, and pooling to a grid is done so that ONNX
can do it for images of any size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segmentation_models_pytorch.base.initialization import initialize_decoder
from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3Decoder, DeepLabV3PlusDecoder
from segmentation_models_pytorch.decoders.manet.decoder import MAnetDecoder
from segmentation_models_pytorch.decoders.pspnet.decoder import PSPDecoder
from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from torch import nn

from buildmap.models.blocks.pooling import PyramidPooling, make_exportable
from buildmap.models.encoders import EncoderUse, build_encoder
from buildmap.models.network import Network, Segmenter
from buildmap.preset import Model

REGNET = "regnety_016"
"""The encoder of all networks in the Sci-Net paper."""
U_CHANNELS = (256, 128, 64, 32, 16)
"""Of U-shaped decoders, coarsest first (Sci-Net, section 5.2)."""
_PYRAMID_CHANNELS = 512
_PYRAMID_DROPOUT = 0.2
_CHANNELS = 256
_DEEPLAB_RATES = (12, 24, 36)
_DEEPLAB_DROPOUT = 0.5
_ATTENTION_CHANNELS = 64
"""Of MANet's position attention (Sci-Net, section 5.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """One network: a decoder on an encoder."""

    encoder: EncoderUse
    """Which, and how."""
    decoder: Callable[[Sequence[int], int], nn.Module]
    """Makes the decoder for an encoder of so many channels and such an output stride."""
    channels: int
    """Channels of the decoder's features."""
    kernel: int
    """Side of the convolution that makes logits of them."""
    reduction: int | None
    """Image pixels per pixel of the decoder's features; absent means the encoder's output stride."""


def unet_decoder(channels: Sequence[int], stride: int) -> nn.Module:  # noqa: ARG001 one signature for all
    """Make the decoder that Sci-Net and its ablations share: it doubles what the next skip is larger by."""
    decoder: nn.Module = UnetDecoder(channels, U_CHANNELS, interpolation_mode="bilinear")
    return decoder


def _manet_decoder(channels: Sequence[int], stride: int) -> nn.Module:  # noqa: ARG001
    decoder: nn.Module = MAnetDecoder(channels, U_CHANNELS, pab_channels=_ATTENTION_CHANNELS)
    return decoder


def _pspnet_decoder(channels: Sequence[int], stride: int) -> nn.Module:  # noqa: ARG001
    made = PSPDecoder(channels, out_channels=_PYRAMID_CHANNELS, dropout=_PYRAMID_DROPOUT)
    made.psp = PyramidPooling(block.pool for block in made.psp.blocks)
    decoder: nn.Module = made
    return decoder


def _deeplabv3_decoder(channels: Sequence[int], stride: int) -> nn.Module:  # noqa: ARG001
    decoder: nn.Module = DeepLabV3Decoder(
        channels[-1],
        _CHANNELS,
        _DEEPLAB_RATES,
        aspp_separable=False,
        aspp_dropout=_DEEPLAB_DROPOUT,
    )
    return decoder


def _deeplabv3plus_decoder(channels: Sequence[int], stride: int) -> nn.Module:
    made = DeepLabV3PlusDecoder(
        encoder_channels=channels,
        encoder_depth=5,
        out_channels=_CHANNELS,
        atrous_rates=_DEEPLAB_RATES,
        output_stride=stride,
        aspp_separable=True,
        aspp_dropout=_DEEPLAB_DROPOUT,
    )
    made.up.align_corners = False
    decoder: nn.Module = made
    return decoder


def _segformer_decoder(channels: Sequence[int], stride: int) -> nn.Module:  # noqa: ARG001
    decoder: nn.Module = SegformerDecoder(list(channels), segmentation_channels=_CHANNELS)
    return decoder


def _upernet_decoder(channels: Sequence[int], stride: int) -> nn.Module:  # noqa: ARG001
    decoder: nn.Module = UPerNetDecoder(channels, decoder_channels=_CHANNELS)
    return decoder


BASELINES = {
    "unet": Baseline(
        encoder=EncoderUse(default="resnet18", output_strides=(32, 16, 8)),
        decoder=unet_decoder,
        channels=U_CHANNELS[-1],
        kernel=3,
        reduction=1,
    ),
    "manet": Baseline(
        encoder=EncoderUse(default=REGNET),
        decoder=_manet_decoder,
        channels=U_CHANNELS[-1],
        kernel=3,
        reduction=1,
    ),
    "pspnet": Baseline(
        encoder=EncoderUse(default=REGNET, output_strides=(32, 16, 8)),
        decoder=_pspnet_decoder,
        channels=_PYRAMID_CHANNELS,
        kernel=3,
        reduction=None,
    ),
    "deeplabv3": Baseline(
        encoder=EncoderUse(default="resnet50", output_strides=(8, 16)),
        decoder=_deeplabv3_decoder,
        channels=_CHANNELS,
        kernel=1,
        reduction=None,
    ),
    "deeplabv3plus": Baseline(
        encoder=EncoderUse(default=REGNET, output_strides=(16, 8)),
        decoder=_deeplabv3plus_decoder,
        channels=_CHANNELS,
        kernel=1,
        reduction=4,
    ),
    "segformer": Baseline(
        encoder=EncoderUse(default="mit_b2"),
        decoder=_segformer_decoder,
        channels=_CHANNELS,
        kernel=1,
        reduction=4,
    ),
    "upernet": Baseline(
        encoder=EncoderUse(default="swin_tiny_patch4_window7_224"),
        decoder=_upernet_decoder,
        channels=_CHANNELS,
        kernel=1,
        reduction=4,
    ),
}


def build(model: Model, bands: int, classes: int) -> Network:
    """Put the decoder that the model is named after on its encoder."""
    baseline = BASELINES[model.name]
    encoder = build_encoder(model, bands, baseline.encoder)
    decoder = baseline.decoder(encoder.out_channels, encoder.output_stride)
    initialize_decoder(decoder)
    make_exportable(decoder)
    return Segmenter(
        encoder=encoder.module,
        decoder=decoder,
        head=nn.Conv2d(baseline.channels, classes, baseline.kernel, padding=baseline.kernel // 2),
        stride=encoder.output_stride,
        reduction=baseline.reduction or encoder.output_stride,
    )
