"""What a model file says about itself: the same JSON in `.safetensors` and in `.onnx`.

`predict` needs nothing else. The card lives under the metadata key `buildmap`.
"""

import json
from dataclasses import asdict, dataclass

from buildmap.errors import InputError, MismatchError
from buildmap.preset import Data, Model
from buildmap.schema import build, parse_json

METADATA_KEY = "buildmap"


@dataclass(frozen=True, kw_only=True, slots=True)
class HaloRow:
    """What one way of cutting costs, and how far it is from predicting an image whole; measured on export."""

    window_px: int
    """Side of the square the network sees."""
    halo_px: int
    """Context on every side of the core."""
    cost: float
    """Pixels the network sees per pixel of the raster."""
    u8_changed: float
    """Share of pixels whose stored value, 0..254, differs; 0..1."""
    flips_per_million: float
    """Pixels per million on the other side of the threshold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """A model file's description of itself."""

    title: str
    """The model in one line."""
    model: Model
    """Architecture and its arguments."""
    data: Data
    """Bands, GSD range and normalization."""
    stride: int
    """The network halves its input to 1/stride; windows are aligned to it."""
    window_px: int
    """Side of the square the network sees."""
    halo_px: int
    """Context on every side of the core; a multiple of `stride`."""
    threshold: float
    """Probability from which a pixel is a building."""
    scale: int
    """Output pixels per input pixel, along one axis."""
    classes: tuple[str, ...]
    """Meaning of the network's outputs."""
    license: str
    """Licence of the weights, as an SPDX identifier or a sentence."""
    training_data: str
    """What it has learned from, with credits."""
    fingerprint: str
    """SHA-256 of the weights, the first 16 hex digits."""
    halo_table: tuple[HaloRow, ...] = ()
    """Windows and halos that were measured on real imagery, cheapest first; empty where none were."""

    def __post_init__(self) -> None:
        if self.stride < 1 or self.scale < 1:
            raise ValueError(f"stride {self.stride} or scale {self.scale} is not positive")
        if self.window_px % self.stride or self.halo_px % self.stride:
            raise ValueError(
                f"window_px {self.window_px} and halo_px {self.halo_px} are not multiples "
                f"of the stride {self.stride}"
            )
        if not 0 <= 2 * self.halo_px < self.window_px:
            raise ValueError(f"halo_px {self.halo_px} leaves no core in window_px {self.window_px}")

    @property
    def core_px(self) -> int:
        """Side of the square a window owns."""
        return self.window_px - 2 * self.halo_px


def card_to_json(card: ModelCard) -> str:
    """Serialize a card; keys sorted, so equal cards give equal text."""
    return json.dumps(asdict(card), sort_keys=True)


def card_from_json(text: str | None, *, where: str) -> ModelCard:
    """Read a card from a model file's metadata.

    Raises:
        InputError: If there is no card: the file is not a buildmap model.
        MismatchError: If the card does not fit this version's fields.
    """
    if text is None:
        raise InputError(f"{where} is not a buildmap model: it carries no '{METADATA_KEY}' metadata")
    try:
        table = parse_json(text)
    except ValueError as error:
        raise InputError(f"{where} is not a buildmap model: {error}") from error
    if not isinstance(table, dict):
        raise MismatchError(f"{where}: the model card is not a table")
    return build(ModelCard, table, where=where)
