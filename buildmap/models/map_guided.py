"""Map-guided cross-training: a generator draws a map of the image, and a segmenter finds buildings on it.

Figure 1. The generator has learned to draw maps before; in the joint phase both learn from buildings alone,
the gradient flows through the segmenter into the generator, and the map becomes whatever helps. The
references of table I are the same segmenters on the image itself, enlarged by interpolation.

DeepLabV3 is torchvision's, which is the one of its paper (Chen et al. 2017) for ResNet-50 and -101: output
stride 8, rates 12, 24, 36. Map-guided cross-training does not say whose it took; it names ResNet-50 and
-101, the two that torchvision has.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor, nn

from buildmap.errors import MismatchError
from buildmap.models import esrgan, shallow_net
from buildmap.models.network import Network
from buildmap.preset import Model

_SCALE = 4
_COLOURS = 3
_SHOWN = 3
"""Differing tensors named in a message."""


class MapGuided(Network):
    """A segmenter on what a front makes of the image, which is four times as large."""

    scale = _SCALE

    def __init__(self, *, front: nn.Module, segmenter: Network) -> None:
        """Put the two in a row.

        Args:
            front: Maps an image (B, bands, H, W) of any size to a picture (B, colours, 4 H, 4 W).
            segmenter: Maps that to logits of the same size.
        """
        super().__init__()
        self.front = front
        self.segmenter = segmenter
        self.stride = segmenter.stride // math.gcd(segmenter.stride, _SCALE)

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (B, bands, H, W) to logits (B, classes, 4 H, 4 W)."""
        logits: Tensor = self.segmenter(self.front(image))
        return logits


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A row of table I."""

    generator: bool
    """Whether the segmenter sees the generator's picture; else the enlarged image."""
    segmenter: Callable[[Model, int, int], Network]
    """Makes the segmenter of a model for so many bands and classes."""


def _deeplabv3(model: Model, bands: int, classes: int) -> Network:
    from buildmap.models import baselines

    return baselines.build(replace(model, name="deeplabv3"), bands, classes)


def _shallow_net(model: Model, bands: int, classes: int) -> Network:  # noqa: ARG001 one signature for all
    return shallow_net.ShallowNet(bands, classes)


PAIRS = {
    "map-guided-deeplabv3": Pair(generator=True, segmenter=_deeplabv3),
    "map-guided-shallow-net": Pair(generator=True, segmenter=_shallow_net),
    "enlarged-deeplabv3": Pair(generator=False, segmenter=_deeplabv3),
    "enlarged-shallow-net": Pair(generator=False, segmenter=_shallow_net),
}


def build(model: Model, bands: int, classes: int) -> MapGuided:
    """Make the pair that the model is named after.

    Width and depth are the generator's; encoder, its weights and output stride the segmenter's.

    Raises:
        MismatchError: If one of the two cannot be of this size, or weights are of another encoder.
        InputError: If a file of pretrained weights cannot be read.
        ResourceError: If pretrained weights cannot be downloaded.
    """
    pair = PAIRS[model.name]
    if pair.generator:
        front: nn.Module = esrgan.build(model, bands, _COLOURS)
        return MapGuided(front=front, segmenter=pair.segmenter(model, _COLOURS, classes))
    front = nn.Upsample(scale_factor=_SCALE, mode="bilinear")
    return MapGuided(front=front, segmenter=pair.segmenter(model, bands, classes))


def adopt_generator(network: MapGuided, generator: nn.Module) -> None:
    """Give the joint model the weights of a generator that has learned to draw maps.

    Raises:
        MismatchError: If it is not of the size that the joint model has.
    """
    found, expected = generator.state_dict(), network.front.state_dict()
    if not expected:
        raise MismatchError("a model that enlarges the image has no place for a generator's weights")
    wrong = [
        name
        for name in sorted(found.keys() | expected.keys())
        if name not in found or name not in expected or found[name].shape != expected[name].shape
    ]
    if wrong:
        more = f", and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise MismatchError(
            f"the generator is not of the joint model's size: {', '.join(wrong[:_SHOWN])}{more} differ",
            hint="the same bands, width and depth in both presets",
        )
    network.front.load_state_dict(found)
