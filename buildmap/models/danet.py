"""DANet: two kinds of attention on a dilated encoder, added (Fu et al. 2019, figure 2).

Not built: the dilation that differs within the last stage, and the losses on each branch's own logits, which
the paper adds for its best results.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from buildmap.models.blocks.aspp import conv
from buildmap.models.blocks.attention import ChannelAttention, PositionAttention
from buildmap.models.encoders import EncoderUse, build_encoder
from buildmap.models.network import Network, Segmenter
from buildmap.preset import Model

_ENCODER = EncoderUse(default="resnet50", output_strides=(8, 16, 32))
_REDUCTION = 4
"""The attention has so many times fewer channels than the encoder's last features."""
_DROPOUT = 0.1


class DualAttention(nn.Module):
    """The sum of the coarsest features after position attention and after channel attention."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.position = nn.Sequential(
            conv(channels_in, channels, 3), PositionAttention(channels), conv(channels, channels, 3)
        )
        self.channel = nn.Sequential(
            conv(channels_in, channels, 3), ChannelAttention(), conv(channels, channels, 3)
        )
        self.dropout = nn.Dropout2d(_DROPOUT)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Map features, the coarsest (B, channels_in, H, W) last, to (B, channels, H, W)."""
        coarsest = features[-1]
        summed: Tensor = self.dropout(self.position(coarsest) + self.channel(coarsest))
        return summed


def build(model: Model, bands: int, classes: int) -> Network:
    """Put dual attention on a dilated encoder."""
    encoder = build_encoder(model, bands, _ENCODER)
    channels = encoder.out_channels[-1] // _REDUCTION
    return Segmenter(
        encoder=encoder.module,
        decoder=DualAttention(encoder.out_channels[-1], channels),
        head=nn.Conv2d(channels, classes, 1),
        stride=encoder.output_stride,
        reduction=encoder.output_stride,
    )
