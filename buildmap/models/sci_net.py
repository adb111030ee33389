"""Sci-Net: a U-Net that looks at its coarsest features with dilated convolutions (figure 3).

The encoder's last stage is dilated instead of strided, so that those features keep 1/16 of the image's
resolution, and the first decoder block enlarges nothing. The paper's ablation puts a plain ASPP in the
place of the dense one (table 2); without either it is `unet` with `output_stride` 16.
"""

from collections.abc import Sequence

from segmentation_models_pytorch.base.initialization import initialize_decoder
from torch import Tensor, nn

from buildmap.models.baselines import REGNET, U_CHANNELS, unet_decoder
from buildmap.models.blocks.aspp import ASPP, DenseASPP
from buildmap.models.encoders import EncoderUse, build_encoder
from buildmap.models.network import Network, Segmenter
from buildmap.preset import Model

_ENCODER = EncoderUse(default=REGNET, output_strides=(16, 8, 32))
_DENSE_RATES = (3, 6, 12, 18)
_DENSE_BOTTLENECK = 512
_DENSE_GROWTH = 256
_ASPP_RATES = (8, 12, 18)
_ASPP_CHANNELS = 256


class ContextDecoder(nn.Module):
    """A decoder that sees the coarsest features through a context module."""

    def __init__(self, *, context: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.context = context
        self.decoder = decoder

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Map features (B, C_i, H_i, W_i), finest first, to (B, D, H_0, W_0)."""
        *skips, coarsest = features
        decoded: Tensor = self.decoder([*skips, self.context(coarsest)])
        return decoded


def build(model: Model, bands: int, classes: int) -> Network:
    """Put a U-Net's decoder on an encoder, and between them the context of `sci-net` or `unet-aspp`."""
    encoder = build_encoder(model, bands, _ENCODER)
    *skips, coarsest = encoder.out_channels
    context: nn.Module
    if model.name == "sci-net":
        context = DenseASPP(coarsest, bottleneck=_DENSE_BOTTLENECK, growth=_DENSE_GROWTH, rates=_DENSE_RATES)
        channels = coarsest + _DENSE_GROWTH * len(_DENSE_RATES)
    else:
        context = ASPP(coarsest, _ASPP_CHANNELS, _ASPP_RATES)
        channels = _ASPP_CHANNELS
    decoder = ContextDecoder(context=context, decoder=unet_decoder([*skips, channels], encoder.output_stride))
    initialize_decoder(decoder)
    return Segmenter(
        encoder=encoder.module,
        decoder=decoder,
        head=nn.Conv2d(U_CHANNELS[-1], classes, 3, padding=1),
        stride=encoder.output_stride,
    )
