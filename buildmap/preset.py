"""A preset: everything that fixes how a model is built, trained and used, in one TOML file.

The dataclasses are the schema and their field docstrings the documentation. Nothing is
inherited or implied, so reading one file tells you everything.
"""

import tomllib
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from buildmap.errors import MismatchError
from buildmap.schema import build, changed, did_you_mean


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """What the model sees."""

    gsd_min_m: float
    """Finest ground sample distance the model works at, metres; finer rasters are averaged to it."""
    gsd_max_m: float
    """Coarsest ground sample distance, metres; coarser rasters are interpolated to it."""
    bands: tuple[int, ...]
    """1-based band numbers, in the order the model expects."""
    mean: tuple[float, ...]
    """Per band, subtracted after values are scaled to 0..1."""
    std: tuple[float, ...]
    """Per band, divided by."""
    dtype: Literal["uint8", "uint16", "int16", "float32"] = "uint8"
    """Type of the rasters the model learned from: integers are scaled by their full range."""

    def __post_init__(self) -> None:
        if not 0 < self.gsd_min_m <= self.gsd_max_m:
            raise ValueError(f"gsd_min_m {self.gsd_min_m} is not in 0..gsd_max_m {self.gsd_max_m}")
        if not len(self.bands) == len(self.mean) == len(self.std) > 0:
            raise ValueError("bands, mean and std differ in length")


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
        _check_positive(self, "width", "sigma")


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
        _check_positive(self, "group_channels", "reduction")


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
        _check_positive(self, "width", "states", "kernel", "expansion")


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """Weights of the summed losses, and what shapes them; an absent weight is 0."""

    bce: float = 0.0
    """Binary cross-entropy."""
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
    """Prior probability of building, the background's is the rest: for `lace` and `wdice`."""
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

    def __post_init__(self) -> None:
        if min(self.building_share, self.hard_share) < 0 or self.building_share + self.hard_share > 1:
            raise ValueError(
                f"building_share {self.building_share} and hard_share {self.hard_share} are not shares of 1"
            )


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
    drop_annotations: float = 0.0
    """Share of whole buildings that are taken out of the training annotations, by `seed`, 0..1."""
    validation_chip_px: int | None = None
    """Side of a validation chip in pixels; absent means `chip_px`."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of convolutions; on CPUs bfloat16 is twice as fast where the CPU has it, and float16 is not offered."""

    def __post_init__(self) -> None:
        _check_positive(
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
        for name in ("validation_share", "drop_annotations", "momentum", "ema_decay"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name} {value} is not within 0..1")
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Predict:
    """How rasters are cut for this model; written into the model file."""

    window_px: int
    """Side of the square the network sees: core and halo."""
    halo_px: int
    """Context on every side of the core; a multiple of the network's stride."""
    threshold: float
    """Probability from which a pixel is a building."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One raster with annotations, in paths relative to the data folder."""

    image: str
    """Raster file, or a pattern such as 'train/*.tif'."""
    annotations: str
    """Vector layer of footprints, mask raster (non-zero = building) on the same ground, or COCO JSON; a
    pattern where `image` is one, matched by file name."""
    use: Literal["train", "validation", "split"]
    """What its ground is for; 'split' shares blocks of ground between both by `validation_share`."""
    window_px: tuple[int, ...] | None = None
    """Part of the raster that is annotated: col_off, row_off, width, height; absent means all."""
    bands: tuple[int, ...] | None = None
    """1-based bands of this raster, in the order the model expects; absent means those of `[data]`."""
    value_range: tuple[float, ...] | None = None
    """Lowest and highest value of this raster, for one whose type is not that of `[data]`."""
    nodata: float | None = None
    """Value that, in all bands at once, stands for no data, for a raster that does not say so itself."""

    def __post_init__(self) -> None:
        if self.window_px is not None and len(self.window_px) != 4:
            raise ValueError("window_px is not col_off, row_off, width, height")
        if self.value_range is not None and not (
            len(self.value_range) == 2 and self.value_range[0] < self.value_range[1]
        ):
            raise ValueError("value_range is not lowest, highest")


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """One TOML file."""

    title: str
    """The paper or baseline, in one line."""
    data: Data
    model: Model
    loss: Loss
    augment: Augment
    training: Training
    predict: Predict
    sampling: Sampling = Sampling()
    sources: tuple[Source, ...] = ()
    """The training set, where the preset fixes it."""
    license: str = "unknown"
    """Licence of the weights it leads to, as an SPDX identifier or a sentence."""
    training_data: str = ""
    """What it learns from, with credits."""
    paper: str = ""
    """Where the network, or the way it learns, was published."""
    parameters: int | None = None
    """Learned numbers in the network, with these bands."""
    gmac_512: float | None = None
    """Multiply-adds, in thousand millions, for one image of 512 x 512 pixels."""


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


def load_preset(path: Path) -> Preset:
    """Read and check a preset.

    Raises:
        MismatchError: If the file is not TOML, or a key is unknown, missing or of the wrong type.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MismatchError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise MismatchError(f"{path} is not TOML: {error}") from error
    return build(Preset, table, where=str(path))


def preset_paths() -> dict[str, Path]:
    """List the shipped presets by name.

    They lie in `buildmap/presets` in an installed package and in `presets` beside it in a checkout.
    """
    package = Path(str(resources.files("buildmap")))
    folder = next((p for p in (package / "presets", package.parent / "presets") if p.is_dir()), package)
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find_preset(name: str) -> Preset:
    """Load a shipped preset by name, or a TOML file by path.

    Raises:
        MismatchError: If neither exists.
    """
    shipped = preset_paths()
    if name in shipped:
        return load_preset(shipped[name])
    if name.endswith(".toml"):
        return load_preset(Path(name))
    hint = did_you_mean(name, list(shipped)) or f"shipped presets: {', '.join(shipped)}"
    raise MismatchError(f"no preset '{name}'", hint=hint)


def change_preset(preset: Preset, key: str, text: str) -> Preset:
    """Replace one value of a preset.

    Args:
        preset: What to begin with.
        key: Dotted path of a key, such as 'training.seed'; 'loss' alone takes a name of `LOSSES`.
        text: The value as in TOML; the quotes of a string may be left out, and nothing makes the key absent.

    Raises:
        MismatchError: If there is no such key or loss, or the value does not fit.
    """
    if key == "loss":
        if text not in LOSSES:
            hint = did_you_mean(text, list(LOSSES)) or f"losses: {', '.join(LOSSES)}"
            raise MismatchError(f"no loss '{text}'", hint=hint)
        return replace(preset, loss=LOSSES[text])
    new: Preset = changed(preset, key, read_value(text), where=f"{key}={text}")
    return new


def read_value(text: str) -> Any:
    """Read a value as in TOML: the quotes of a string may be left out, and nothing is None."""
    try:
        return tomllib.loads(f"value = {text}")["value"] if text else None
    except tomllib.TOMLDecodeError:
        return text


def _check_positive(table: object, *names: str) -> None:
    for name in names:
        value = getattr(table, name)
        if value is not None and not value > 0:
            raise ValueError(f"{name} {value} is not positive")
