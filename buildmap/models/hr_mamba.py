"""HR-Mamba: HRNetV2 with an edge-aware stem, involutions and a global branch (Su et al. 2025, figure 2a).

    image > stem > stage 1 > stage 2 > stage 3 > stage 4 > joined > fused > mixed > logits
                                          `------ joined > global branch ----^

Each of the three parts may be left out; without all of them it is HRNetV2. The paper's text has the
branch read the features of stage 3 and meet the trunk in the head, at a quarter of the image's sides, and
gives it 256 channels there; HRNet-W48 has 48 + 96 + 192 = 336. These are the first 336 of the head's 720,
so both meet channel by channel, and the branch is as wide as they are.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from buildmap.errors import MismatchError
from buildmap.models.blocks.canny_median import OUT_CHANNELS, CannyMedianStem
from buildmap.models.blocks.global_branch import Fusion, GlobalBranch
from buildmap.models.blocks.involution import Involution
from buildmap.models.encoders import EncoderUse, build_high_resolution_encoder
from buildmap.models.hrnet import JoinedResolutions, join
from buildmap.models.network import Network
from buildmap.preset import Model

_ENCODER = EncoderUse(default="hrnet_w48")
_FINEST = 4
"""Image pixels per pixel of the finest features."""


class HRMamba(Network):
    """HRNetV2 with some or all of HR-Mamba's parts; takes images of any size (as ONNX, of whole strides)."""

    def __init__(
        self, trunk: "Trunk", *, classes: int, stem: nn.Module | None, branch: nn.Module | None
    ) -> None:
        """Put the parts together.

        Args:
            trunk: HRNet's four stages.
            classes: Channels of the logits.
            stem: Maps an image to the trunk's input.
            branch: Maps the joined features of stage 3 to as many channels.
        """
        super().__init__()
        channels = sum(trunk.channels)
        self.stem = stem or nn.Identity()
        self.trunk = trunk
        self.branch = branch
        self.fusion = Fusion() if branch else None
        self.decoder = JoinedResolutions(channels)
        self.head = nn.Conv2d(channels, classes, 1)
        self.stride = trunk.stride
        self.any_size = True

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (B, bands, H, W) of any size to logits (B, classes, H, W)."""
        rows, cols = image.shape[2:]
        whole = image
        if not torch.compiler.is_exporting():  # reasoning about remainders would take minutes
            whole = pad(image, (0, -cols % self.stride, 0, -rows % self.stride), mode="replicate")
        third, fourth = self.trunk(self.stem(whole))
        logits = self.head(self.decoder.mix(self._fused(join(third), join(fourth))))
        enlarged = interpolate(logits, scale_factor=float(_FINEST), mode="bilinear")
        return enlarged[..., :rows, :cols]

    def _fused(self, third: Tensor, fourth: Tensor) -> Tensor:
        if self.branch is None or self.fusion is None:
            return fourth
        shared = third.shape[1]
        mixed = self.fusion(fourth[:, :shared], self.branch(third))
        return torch.cat([mixed, fourth[:, shared:]], dim=1)


class Trunk(nn.Module):
    """timm's HRNet, which gives the features of its last two stages where timm gives the last one's."""

    def __init__(self, encoder: Any, *, channels: tuple[int, ...], stride: int) -> None:
        """Take the parts of one of timm's HRNets; `channels` are those of stage 4, finest first."""
        super().__init__()
        self.channels, self.stride = channels, stride
        self.reduce = nn.Sequential(
            encoder.conv1, encoder.bn1, encoder.act1, encoder.conv2, encoder.bn2, encoder.act2
        )
        self.stage1 = encoder.layer1
        self.transitions = nn.ModuleList([encoder.transition1, encoder.transition2, encoder.transition3])
        self.stages = nn.ModuleList([encoder.stage2, encoder.stage3, encoder.stage4])

    def forward(self, image: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Give the features of stage 3 and of stage 4, finest first."""
        features = [self.stage1(self.reduce(image))]
        before = features
        for transition, stage in zip(self.transitions, self.stages, strict=True):
            before, features = features, stage(_entering(transition, features))
        return before, features


def _entering(transition: Any, features: Sequence[Tensor]) -> list[Tensor]:
    """Give a stage's inputs: the features there are, and of the coarsest one coarser still."""
    inputs = []
    for level, layer in enumerate(transition):
        kept = isinstance(layer, nn.Identity)
        inputs.append(features[level] if kept else layer(features[-1]))
    return inputs


def build(model: Model, bands: int, classes: int) -> Network:
    """Make the trunk, and the parts that the preset has.

    Raises:
        MismatchError: If the encoder is not one of timm's HRNets, or its channels cannot be shared out.
    """
    entering = OUT_CHANNELS if model.canny_median else bands
    encoder = build_high_resolution_encoder(model, entering, _ENCODER)
    if not hasattr(encoder.module, "transition1"):
        raise MismatchError(f"encoder '{model.encoder}' is not an HRNet", hint="hrnet_w48, hrnet_w18_small")
    trunk = Trunk(encoder.module, channels=encoder.out_channels, stride=encoder.output_stride)
    if model.involution:
        _involve(trunk.stage1, asdict(model.involution))
    stem = CannyMedianStem(bands, **asdict(model.canny_median)) if model.canny_median else None
    branch = None
    if model.global_branch:
        branch = GlobalBranch(sum(encoder.out_channels[:3]), **asdict(model.global_branch))
    return HRMamba(trunk, classes=classes, stem=stem, branch=branch)


def _involve(stage: Any, sizes: dict[str, int]) -> None:
    """Replace the 3 x 3 convolution of every bottleneck (figure 4c)."""
    for bottleneck in stage:
        try:
            bottleneck.conv2 = Involution(bottleneck.conv2.in_channels, **sizes)
        except ValueError as error:
            raise MismatchError(f"model hr-mamba cannot have this involution: {error}") from error
