"""Which network, and its size."""

from dataclasses import dataclass
from typing import Literal

from buildmap.preset.checks import check_positive


@dataclass(frozen=True, kw_only=True, slots=True)
class CannyMedian:
    """A stem that adds edges to the image and takes noise from it: `canny_median` of `hr-mamba`."""

    width: int
    """Channels in which edges are sought."""
    low: float
    """Gradient from which a pixel may continue an edge; a step by one standard deviation has about 3."""
    high: float
    """Gradient from which a pixel begins an edge."""
    sigma: float
    """Standard deviation of the Gaussian before, pixels."""

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise ValueError(f"low {self.low} and high {self.high} are not positive and in order")
        check_positive(self, "width", "sigma")


@dataclass(frozen=True, kw_only=True, slots=True)
class Involution:
    """What stands for the 3 x 3 convolutions of the first stage: `involution` of `hr-mamba`."""

    kernel: int
    """Side of the neighbourhood, pixels, odd."""
    group_channels: int
    """Channels that share a kernel; divides those of the stage's 3 x 3 convolutions, 64 in W48."""
    reduction: int
    """Channels per channel of the hidden layer that makes the kernels; likewise."""

    def __post_init__(self) -> None:
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel} is not odd and positive")
        check_positive(self, "group_channels", "reduction")


@dataclass(frozen=True, kw_only=True, slots=True)
class GlobalBranch:
    """A state space over the features of the third stage: `global_branch` of `hr-mamba`."""

    width: int
    """Channels of the sequence."""
    states: int
    """States of each inner channel."""
    kernel: int
    """Positions that the convolution before the scan sees."""
    expansion: int
    """Inner channels per channel."""

    def __post_init__(self) -> None:
        check_positive(self, "width", "states", "kernel", "expansion")


@dataclass(frozen=True, kw_only=True, slots=True)
class Instances:
    """What a network gives of each building that it finds, and how many it finds: `mask-rcnn` and `fcos`."""

    parts: Literal["mask", "keypoint", "mask+keypoint"] = "mask+keypoint"
    """Its mask, its vertices, or both, where the vertices are sought with the mask at hand."""
    roi_px: int = 28
    """Side of the square of features that is looked at for each building."""
    most: int = 256
    """Buildings in an image of 512 x 512 pixels; a larger one may have as many more as it is larger."""
    nms_iou: float = 0.5
    """Of two boxes with a higher IoU only the better stays."""
    score_min: float = 0.05
    """Lowest confidence of a building."""
    anchor_px: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Sides of the boxes that `mask-rcnn` begins with, one for each level of the pyramid."""
    mask_weight: float = 0.2
    """Weight of the loss of masks."""
    keypoint_weight: float = 1.0
    """Weight of the loss of vertices."""

    def __post_init__(self) -> None:
        check_positive(self, "roi_px", "most")
        for name in ("nms_iou", "score_min"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)} is not within 0..1")
        if not self.anchor_px or min(self.anchor_px) <= 0:
            raise ValueError(f"anchor_px {list(self.anchor_px)} are not positive sides")
        if min(self.mask_weight, self.keypoint_weight) < 0:
            raise ValueError("mask_weight or keypoint_weight is negative")

    @property
    def masks(self) -> bool:
        """Whether masks are given."""
        return self.parts != "keypoint"

    @property
    def keypoints(self) -> bool:
        """Whether vertices are given."""
        return self.parts != "mask"


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """Which network, and its size."""

    name: Literal[
        "lite",
        "unet",
        "unet-aspp",
        "sci-net",
        "pspnet",
        "deeplabv3",
        "deeplabv3plus",
        "manet",
        "segformer",
        "hrnet",
        "hr-mamba",
        "danet",
        "upernet",
        "esrgan",
        "shallow-net",
        "map-guided-deeplabv3",
        "map-guided-shallow-net",
        "enlarged-deeplabv3",
        "enlarged-shallow-net",
        "mask-rcnn",
        "fcos",
    ]
    """Key in `buildmap.models.MODELS`."""
    width: int | None = None
    """Channels at the network's finest level, for networks of our own."""
    depth: int | None = None
    """Times the network halves the image, for networks of our own."""
    stem_stride: int | None = None
    """Input pixels per pixel of the finest level, for networks of our own; absent means 2."""
    encoder: str | None = None
    """A timm encoder, for networks on a library encoder; absent means the network's usual one."""
    encoder_weights: str | None = None
    """'imagenet' downloads them through timm; a file's path loads them; absent starts from random ones."""
    output_stride: int | None = None
    """Image pixels per pixel of the encoder's last stage, 8, 16 or 32; absent means the network's usual."""
    canny_median: CannyMedian | None = None
    """The stem of `hr-mamba`; absent means HRNet's."""
    involution: Involution | None = None
    """The first stage of `hr-mamba`; absent means HRNet's."""
    global_branch: GlobalBranch | None = None
    """The branch beside the third stage of `hr-mamba`; absent means none."""
    instances: Instances | None = None
    """What `mask-rcnn` and `fcos` give of each building, which they need; absent for all others."""
