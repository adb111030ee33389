"""What every network is, and the shape most of them have."""

from torch import Tensor, nn


class Network(nn.Module):
    """Maps an image (B, bands, H, W) to logits (B, classes, scale * H, scale * W)."""

    stride: int
    """Image sides are multiples of it, and so are moves of the image that merely move the logits."""
    any_size: bool = False
    """Images of other sides are taken too."""
    scale: int = 1
    """Logits per image pixel, along one axis."""


class Segmenter(Network):
    """An encoder's features, finest first, joined by a decoder, made logits by a head, enlarged to the image.

    Logits are enlarged with `align_corners=False`: the other way stretches them by an amount that depends
    on the window's size, so that two windows would disagree about the ground they share.
    """

    def __init__(
        self, *, encoder: nn.Module, decoder: nn.Module, head: nn.Module, stride: int, reduction: int = 1
    ) -> None:
        """Put the parts together.

        Args:
            encoder: Maps an image to a list of features.
            decoder: Maps that list to one feature map.
            head: Maps that to logits, `reduction` times smaller than the image.
            stride: Image sides are multiples of it.
            reduction: Image pixels per logit before these are enlarged.
        """
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.head = head
        self.stride = stride
        self.enlarge = (
            nn.Upsample(scale_factor=reduction, mode="bilinear") if reduction > 1 else nn.Identity()
        )

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (B, bands, H, W) to logits (B, classes, H, W)."""
        logits: Tensor = self.enlarge(self.head(self.decoder(self.encoder(image))))
        return logits
