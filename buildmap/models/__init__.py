"""Networks: images (B, C, H, W) in, logits (B, classes, scale H, scale W) out.

Every network has a `stride`: the image sides it takes are multiples of it.
"""

from dataclasses import fields
from importlib import import_module

from buildmap.errors import MismatchError
from buildmap.models.instance_network import InstanceNetwork
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
    "esrgan": "esrgan",
    "shallow-net": "shallow_net",
    "map-guided-deeplabv3": "map_guided",
    "map-guided-shallow-net": "map_guided",
    "enlarged-deeplabv3": "map_guided",
    "enlarged-shallow-net": "map_guided",
}
"""Every network, and the module beside this one that builds it: the libraries of networks take seconds to
import, and are not wanted for `lite`."""

INSTANCE_MODELS: dict[str, str] = {
    "mask-rcnn": "mask_rcnn",
    "fcos": "fcos",
}
"""Likewise, the networks that find buildings one by one."""

_LIBRARY_SIZES = ("encoder", "encoder_weights", "output_stride")
_SIZES: dict[str, tuple[str, ...]] = {
    "lite": ("width", "depth", "stem_stride"),
    "hr-mamba": (*_LIBRARY_SIZES, "canny_median", "involution", "global_branch"),
    "esrgan": ("width", "depth"),
    "shallow-net": ("width",),
    "map-guided-deeplabv3": ("width", "depth", *_LIBRARY_SIZES),
    "map-guided-shallow-net": ("width", "depth"),
    "enlarged-shallow-net": (),
    "mask-rcnn": ("width", "encoder", "encoder_weights", "instances"),
    "fcos": ("width", "encoder", "encoder_weights", "instances"),
}
"""What may be said of a network's size; of the others, it is that of their encoder."""


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
    if model.name in INSTANCE_MODELS:
        raise MismatchError(
            f"model {model.name} finds buildings one by one, and has no mask of the whole image",
            hint=f"one of {', '.join(MODELS)}",
        )
    _check_sizes(model)
    module = import_module(f"buildmap.models.{MODELS[model.name]}")
    network: Network = module.build(model, bands, classes)
    return network


def build_instances(model: Model, bands: int) -> InstanceNetwork:
    """Make a network that finds buildings one by one, with fresh weights drawn from torch's generator.

    Args:
        model: Which network, its size, and what it gives of each building.
        bands: Channels of the image.

    Raises:
        MismatchError: If it is another kind of network, the size is not one it can have, or weights are of
            another encoder.
        InputError: If a file of pretrained weights cannot be read.
        ResourceError: If pretrained weights cannot be downloaded.
    """
    if model.name not in INSTANCE_MODELS:
        raise MismatchError(
            f"model {model.name} does not find buildings one by one",
            hint=f"{' or '.join(INSTANCE_MODELS)} do",
        )
    if model.instances is None:
        raise MismatchError(
            f"model {model.name} needs to know what to give of each building",
            hint="a table [model.instances] in the preset",
        )
    _check_sizes(model)
    module = import_module(f"buildmap.models.{INSTANCE_MODELS[model.name]}")
    network: InstanceNetwork = module.build(model, bands)
    return network


def _check_sizes(model: Model) -> None:
    """Refuse what the network does not have."""
    sizes = _SIZES.get(model.name, _LIBRARY_SIZES)
    for field in fields(model):
        if field.name not in ("name", *sizes) and getattr(model, field.name) is not None:
            raise MismatchError(
                f"model {model.name} has no {field.name}", hint=f"leave {field.name} out of the preset"
            )
