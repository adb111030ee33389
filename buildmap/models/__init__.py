"""Networks: images (B, C, H, W) in, logits (B, classes, H, W) out.

Every network has a `stride`: the image sides it takes are multiples of it.
"""

from importlib import import_module

from buildmap.errors import MismatchError
from buildmap.models.network import Network
from buildmap.preset import Model

MODELS: dict[str, str] = {
    "lite": "lite",
    "unet": "baselines",
    "unet-aspp": "sci_net",
    "sci-net": "sci_net",
    "pspnet": "baselines",
    "deeplabv3": "baselines",
    "deeplabv3plus": "baselines",
    "manet": "baselines",
    "segformer": "baselines",
    "hrnet": "hrnet",
    "hr-mamba": "hr_mamba",
    "danet": "danet",
    "upernet": "baselines",
}
"""Every network, and the module beside this one that builds it: the libraries of networks take seconds to
import, and are not wanted for `lite`."""

_OWN_SIZES = ("width", "depth", "stem_stride")
_LIBRARY_SIZES = ("encoder", "encoder_weights", "output_stride")
_PARTS = ("canny_median", "involution", "global_branch")


def build_model(model: Model, bands: int, classes: int) -> Network:
    """Make a network with fresh weights, drawn from torch's generator.

    Args:
        model: Which network, and its size.
        bands: Channels of the image.
        classes: Channels of the logits.

    Raises:
        MismatchError: If the size is not one the network can have, or weights are of another encoder.
        InputError: If a file of pretrained weights cannot be read.
        ResourceError: If pretrained weights cannot be downloaded.
    """
    others = _LIBRARY_SIZES if model.name == "lite" else _OWN_SIZES
    for size in others if model.name == "hr-mamba" else (*others, *_PARTS):
        if getattr(model, size) is not None:
            raise MismatchError(f"model {model.name} has no {size}", hint=f"leave {size} out of the preset")
    module = import_module(f"buildmap.models.{MODELS[model.name]}")
    network: Network = module.build(model, bands, classes)
    return network
