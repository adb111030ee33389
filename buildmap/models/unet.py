"""The field's usual baseline: a U-Net decoder on a library encoder (Ronneberger et al. 2015, figure 1)."""

import re

import segmentation_models_pytorch as smp
from segmentation_models_pytorch.encoders import encoders
from torch import Tensor, nn

from buildmap.errors import MismatchError, ResourceError
from buildmap.preset import Model


class UNet(nn.Module):
    """segmentation_models_pytorch's U-Net on one of its encoders, or on any of timm's."""

    stride: int
    """Image sides are multiples of it."""

    def __init__(self, model: Model, bands: int, classes: int) -> None:
        super().__init__()
        encoder = model.encoder or "resnet18"
        # A name with a scheme ('hf-hub:') would make timm fetch code settings from a stranger.
        if not re.fullmatch(r"[\w.+-]+", encoder):
            raise MismatchError(
                f"model unet has no encoder '{encoder}'", hint="a timm name, such as resnet18"
            )
        name: str = encoder
        weights: str | bool | None = model.encoder_weights
        if encoder not in encoders:
            name, weights = f"tu-{encoder}", weights == "imagenet" or weights
        try:
            self.net = smp.Unet(name, encoder_weights=weights, in_channels=bands, classes=classes)
        except OSError as error:
            raise ResourceError(
                f"cannot download the {model.encoder_weights} weights of encoder {encoder}: {error}",
                hint="go online once, or leave encoder_weights out of the preset",
            ) from error
        except (RuntimeError, KeyError, ValueError) as error:
            raise MismatchError(f"model unet cannot have encoder '{encoder}': {error}") from error
        self.stride = int(self.net.encoder.output_stride)

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (B, bands, H, W) to logits (B, classes, H, W)."""
        logits: Tensor = self.net(image)
        return logits
