"""A preset: everything that fixes how a model is built, trained and used, in one TOML file.

The dataclasses are the schema and their field docstrings the documentation. Nothing is
inherited or implied, so reading one file tells you everything.
"""

import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from buildmap.errors import MismatchError
from buildmap.schema import build, did_you_mean


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
class Model:
    """Which network, and its size."""

    name: Literal["lite", "unet"]
    """Key in `buildmap.models.MODELS`."""
    width: int | None = None
    """Channels at the network's finest level, for networks of our own."""
    depth: int | None = None
    """Times the network halves the image, for networks of our own."""
    stem_stride: int | None = None
    """Input pixels per pixel of the finest level, for networks of our own; absent means 2."""
    encoder: str | None = None
    """A timm encoder, for networks on a library encoder."""
    encoder_weights: str | None = None
    """'imagenet' downloads them through timm; absent starts from random weights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """Weights of the summed losses."""

    bce: float
    """Binary cross-entropy."""
    dice: float
    """1 - Dice coefficient over the batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Augment:
    """Random changes to a training chip."""

    flips: bool
    """Mirror left-right and up-down, each with probability one half."""
    quarter_turns: bool
    """Rotate by a random multiple of 90 degrees."""
    gsd_jitter: float
    """Chips are read at a GSD drawn log-uniformly from the source's to `gsd_max_m`; this widens both ends."""
    brightness: float
    """Largest shift of all bands, as a share of the full range."""
    contrast: float
    """Largest relative change of contrast."""
    color: float
    """Largest relative change of a single band's gain."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """How the weights are learned."""

    chip_px: int
    """Side of a training chip in pixels."""
    batch_size: int
    """Chips per step."""
    steps_per_epoch: int
    """Optimizer steps between two validations."""
    epochs: int
    """Number of validations; the learning rate reaches zero after the last."""
    learning_rate: float
    """Adam's step at the start."""
    power: float
    """Exponent of the polynomial decay of the learning rate."""
    validation_share: float
    """Share of each source's blocks of ground kept for validation where a source does not say."""
    seed: int
    """Seed of weights, chips and augmentation."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of convolutions on a CPU; bfloat16 is twice as fast where the CPU has it. GPUs always take it."""

    def __post_init__(self) -> None:
        for name in ("chip_px", "batch_size", "steps_per_epoch", "epochs", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} {getattr(self, name)} is not positive")
        if not 0 <= self.validation_share < 1:
            raise ValueError(f"validation_share {self.validation_share} is not within 0..1")


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
    """Raster file."""
    annotations: str
    """Vector layer of footprints, or a mask raster (non-zero = building) on the same ground."""
    use: Literal["train", "validation", "split"]
    """What its ground is for; 'split' shares blocks of ground between both by `validation_share`."""
    window_px: tuple[int, ...] | None = None
    """Part of the raster that is annotated: col_off, row_off, width, height; absent means all."""

    def __post_init__(self) -> None:
        if self.window_px is not None and len(self.window_px) != 4:
            raise ValueError("window_px is not col_off, row_off, width, height")


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
    sources: tuple[Source, ...] = ()
    """The training set, where the preset fixes it."""
    license: str = "unknown"
    """Licence of the weights it leads to, as an SPDX identifier or a sentence."""
    training_data: str = ""
    """What it learns from, with credits."""


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
