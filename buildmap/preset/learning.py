"""How weights are learned: losses, chips and steps."""

from dataclasses import dataclass
from typing import Literal

from buildmap.preset.checks import check_positive


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """Weights of the summed losses, and what shapes them; an absent weight is 0."""

    bce: float = 0.0
    """Binary cross-entropy."""
    wce: float = 0.0
    """Cross-entropy in which each class counts by the other's prior, so that both weigh the same."""
    dice: float = 0.0
    """1 - Dice coefficient over the batch."""
    nr_dice: float = 0.0
    """Noise-robust Dice."""
    ell: float = 0.0
    """Exponential logarithmic loss."""
    wdice: float = 0.0
    """Class-wise Dice losses, each weighted by the other class's prior: the rare class counts most."""
    lace: float = 0.0
    """Logit-adjusted cross-entropy."""
    boundary_alignment: float = 0.0
    """1 - F1 of the predicted boundaries."""
    boundary_distance: float = 0.0
    """Absolute errors, each divided by its distance to the true boundary."""
    normalized: bool = False
    """Divide each loss by what it is where nothing is known, p = 0.5 everywhere: weights then compare like
    with like."""
    building_prior: float = 0.1
    """Prior probability of building, the background's is the rest: for `lace`, `wce` and `wdice`."""
    temperature: float = 1.0
    """Of the logit adjustment."""
    noise_exponent: float = 1.5
    """Of `nr_dice`, 1 (like the absolute error) to 2 (like Dice)."""
    boundary_px: int = 3
    """Side of the square whose maximum finds a boundary, pixels, odd."""
    tolerance_px: int = 5
    """Side of the square by which a boundary is widened, pixels, odd."""

    def __post_init__(self) -> None:
        weights = (
            self.bce,
            self.wce,
            self.dice,
            self.nr_dice,
            self.ell,
            self.wdice,
            self.lace,
            self.boundary_alignment,
            self.boundary_distance,
        )
        if min(weights) < 0 or not any(weights):
            raise ValueError("loss weights are negative, or all zero")
        if not 0 < self.building_prior < 1:
            raise ValueError(f"building_prior {self.building_prior} is not within 0..1")
        if not 1 <= self.noise_exponent <= 2:
            raise ValueError(f"noise_exponent {self.noise_exponent} is not within 1..2")
        for name in ("boundary_px", "tolerance_px"):
            if getattr(self, name) < 1 or getattr(self, name) % 2 == 0:
                raise ValueError(f"{name} {getattr(self, name)} is not odd and positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class Augment:
    """Random changes to a training chip."""

    flip: float
    """Probability of a mirror left-right, and of one up-down."""
    half_turn: float
    """Probability of a rotation by 180 degrees."""
    quarter_turns: bool
    """Rotate by a random multiple of 90 degrees."""
    gsd: Literal["native", "random"]
    """Chips are read at the source's working GSD, or at one drawn log-uniformly from it to `gsd_max_m`."""
    gsd_jitter: float
    """Widens both ends of the range that the GSD is drawn from, as a share."""
    brightness: float
    """Largest shift of all bands, as a share of the full range."""
    contrast: float
    """Largest relative change of contrast."""
    color: float
    """Largest relative change of a single band's gain."""

    def __post_init__(self) -> None:
        for name in ("flip", "half_turn"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)} is not within 0..1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """Where training chips are laid; what is left of the shares lies anywhere on valid ground."""

    building_share: float = 0.0
    """Share of chips laid around a building, 0..1."""
    hard_share: float = 0.0
    """Share of chips laid where the loss has been high so far, 0..1."""
    source_balance: float = 0.0
    """Sources are drawn by the power 1 - `source_balance` of their ground: 0 by its size, 1 all alike."""

    def __post_init__(self) -> None:
        if min(self.building_share, self.hard_share) < 0 or self.building_share + self.hard_share > 1:
            raise ValueError(
                f"building_share {self.building_share} and hard_share {self.hard_share} are not shares of 1"
            )
        if not 0 <= self.source_balance <= 1:
            raise ValueError(f"source_balance {self.source_balance} is not within 0..1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """How the weights are learned."""

    chip_px: int
    """Side of a training chip in pixels."""
    batch_size: int
    """Chips per step, on all devices together."""
    steps_per_epoch: int
    """Optimizer steps between two validations."""
    epochs: int
    """Number of validations; the learning rate reaches its end after the last."""
    learning_rate: float
    """The optimizer's step at the start."""
    validation_share: float
    """Share of each source's blocks of ground kept for validation where a source does not say."""
    seed: int
    """Seed of weights, chips and augmentation."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """What makes the steps."""
    momentum: float = 0.0
    """Of `sgd`."""
    weight_decay: float = 0.0
    """Pull of the weights towards zero, per step."""
    schedule: Literal["polynomial", "steps", "cosine", "constant"] = "polynomial"
    """How the learning rate falls: to zero by a polynomial or a half cosine, in steps, or not at all."""
    power: float = 0.9
    """Exponent of the polynomial decay."""
    decay_epochs: int = 30
    """Epochs between two falls of `steps`."""
    decay_factor: float = 0.5
    """What the learning rate is multiplied by at each fall of `steps`."""
    warmup_steps: int = 0
    """First steps, in which the learning rate rises linearly to what the schedule says."""
    accumulate: int = 1
    """Parts a batch is cut into, their gradients summed: the memory of one part, the step of them all."""
    clip_norm: float | None = None
    """Largest norm of all gradients together; absent means any."""
    ema_decay: float | None = None
    """Share kept at each step by a running mean of the weights, which is then validated and saved."""
    metric: Literal["iou", "f1", "balanced_accuracy", "loss"] = "iou"
    """Chooses the epoch whose weights are kept, on the validation ground."""
    patience_epochs: int | None = None
    """Stop after so many epochs without a better `metric`; absent means never."""
    part_attached: bool = False
    """Draw ground, one pixel on either side, where two footprints touch, so that a network learns to part
    attached houses; of mask rasters, which do not know them apart, nothing changes."""
    drop_annotations: float = 0.0
    """Share of whole buildings that are taken out of the training annotations, by `seed`, 0..1."""
    test_share: float = 0.0
    """Share of each source's blocks of ground that is neither learned from nor validated on, where a source
    does not say."""
    validation_chip_px: int | None = None
    """Side of a validation chip in pixels; absent means `chip_px`."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of convolutions; on CPUs bfloat16 is twice as fast where the CPU has it, and float16 is not offered."""

    def __post_init__(self) -> None:
        check_positive(
            self,
            "chip_px",
            "batch_size",
            "steps_per_epoch",
            "epochs",
            "learning_rate",
            "decay_epochs",
            "decay_factor",
            "accumulate",
            "clip_norm",
            "patience_epochs",
            "validation_chip_px",
        )
        for name in ("validation_share", "test_share", "drop_annotations", "momentum", "ema_decay"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name} {value} is not within 0..1")
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Pretrain:
    """How a generator learns to draw maps, against a discriminator, before it joins a segmenter."""

    iterations: int
    """Steps of each of the two, on chips as `[training]` has them; 0 leaves the generator as it is."""
    learning_rate: float = 1e-4
    """Of Adam, for both networks."""
    betas: tuple[float, ...] = (0.9, 0.99)
    """Of Adam, likewise."""
    ema_decay: float = 0.999
    """Share kept at each step by the running mean of the generator's weights, which is what is used."""
    l1: float = 1.0
    """Weight of the absolute errors."""
    perceptual: float = 1.0
    """Weight of the differences of a VGG-19's features."""
    adversarial: float = 0.1
    """Weight of what the discriminator says."""
    perceptual_weights: str | None = None
    """Of the VGG-19: 'vgg19' downloads torchvision's, a file's path loads them; absent needs
    `perceptual` 0."""
    discriminator_width: int = 64
    """Channels of the discriminator at full resolution."""
    keep_steps: int = 1000
    """Steps after which the state is kept, for a later run to go on from."""
    generator: str | None = None
    """A generator's model file to begin with; absent begins with fresh weights."""

    def __post_init__(self) -> None:
        check_positive(self, "learning_rate", "discriminator_width", "keep_steps")
        if self.iterations < 0:
            raise ValueError(f"iterations {self.iterations} is negative")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in (*self.betas, self.ema_decay)):
            raise ValueError(f"betas {list(self.betas)} or ema_decay {self.ema_decay} is not within 0..1")
        weights = self.l1, self.perceptual, self.adversarial
        if min(weights) < 0 or not any(weights):
            raise ValueError("loss weights are negative, or all zero")
        if self.iterations and self.perceptual and self.perceptual_weights is None:
            raise ValueError("perceptual needs perceptual_weights, or a weight of 0")


LOSSES: dict[str, Loss] = {
    "ce": Loss(bce=1),
    "dice": Loss(dice=1),
    "nr-dice": Loss(nr_dice=1),
    "ce+dice": Loss(bce=1, dice=1),
    "ell": Loss(ell=1),
    "wdice": Loss(wdice=1),
    "bd+dice": Loss(boundary_alignment=1, dice=1),
    "bd+wdice": Loss(boundary_alignment=1, wdice=1),
    "lace": Loss(lace=1),
    "lace+wdice": Loss(lace=1, wdice=1),
    "bd+lace+wdice": Loss(boundary_alignment=1, lace=1, wdice=1),
}
"""The eleven losses of Kang et al. (2022), Table I, by name."""
