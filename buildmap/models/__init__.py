"""Networks: images (B, C, H, W) in, logits (B, classes, H, W) out.

Every network has a `stride`: the image sides it takes are multiples of it.
"""

from buildmap.models.lite import Lite
from buildmap.models.unet import UNet
from buildmap.preset import Model

Network = Lite | UNet

MODELS: dict[str, type[Network]] = {
    "lite": Lite,
    "unet": UNet,
}


def build_model(model: Model, bands: int, classes: int) -> Network:
    """Make a network with fresh weights, drawn from torch's generator.

    Args:
        model: Which network, and its size.
        bands: Channels of the image.
        classes: Channels of the logits.

    Raises:
        MismatchError: If the size is not one the network can have.
        ResourceError: If pretrained weights cannot be downloaded.
    """
    return MODELS[model.name](model, bands, classes)
