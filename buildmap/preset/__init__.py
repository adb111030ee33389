"""A preset: everything that fixes how a model is built, trained and used, in one TOML file.

The dataclasses are the schema and their field docstrings the documentation. Nothing is
inherited or implied, so reading one file tells you everything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from buildmap.errors import MismatchError
from buildmap.preset.learning import LOSSES, Augment, Loss, Pretrain, Sampling, Training
from buildmap.preset.maps import Maps
from buildmap.preset.network import CannyMedian, GlobalBranch, Instances, Involution, Model
from buildmap.preset.sources import Data, Predict, Source
from buildmap.schema import build, changed, did_you_mean, parse_toml

__all__ = [
    "LOSSES",
    "Augment",
    "CannyMedian",
    "Data",
    "GlobalBranch",
    "Instances",
    "Involution",
    "Loss",
    "Maps",
    "Model",
    "Predict",
    "Preset",
    "Pretrain",
    "Sampling",
    "Source",
    "Training",
    "change_preset",
    "find_preset",
    "load_preset",
    "preset_paths",
    "read_value",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """One TOML file."""

    title: str
    """The paper or baseline, in one line."""
    data: Data
    model: Model
    augment: Augment
    training: Training
    predict: Predict
    loss: Loss = field(default_factory=lambda: Loss(bce=1))
    """Of networks that give masks; what others lose is in a table of their own."""
    sampling: Sampling = field(default_factory=Sampling)
    sources: tuple[Source, ...] = ()
    """The training set, where the preset fixes it."""
    maps: Maps | None = None
    """Maps of the same ground, to learn to draw before learning to find buildings."""
    pretrain: Pretrain | None = None
    """How a generator learns to draw them; absent leaves that out."""
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


def load_preset(path: Path) -> Preset:
    """Read and check a preset.

    Raises:
        MismatchError: If the file is not TOML, or a key is unknown, missing or of the wrong type.
    """
    try:
        table = parse_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MismatchError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
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


def change_preset(preset: Preset, settings: Mapping[str, str]) -> Preset:
    """Replace values of a preset, all at once: only what they lead to has to make sense.

    With one after the other, a weight of 0 could leave a loss without any weight before the next is set.

    Args:
        preset: What to begin with.
        settings: Values as in TOML by dotted keys, such as 'training.seed'; the quotes of a string may be
            left out, and nothing makes a key absent. 'loss' alone takes a name of `LOSSES`, and comes first.

    Raises:
        MismatchError: If there is no such key or loss, or a value does not fit.
    """
    if "loss" in settings:
        preset = replace(preset, loss=_loss_of(settings["loss"]))
    tables: dict[str, dict[str, str]] = {}
    for key, text in settings.items():
        name, _, leaf = key.partition(".")
        if leaf and "." not in leaf and is_dataclass(getattr(preset, name, None)):
            tables.setdefault(name, {})[leaf] = text
        elif key != "loss":
            preset = changed(preset, key, read_value(text), where=f"{key}={text}")
    for name, texts in tables.items():
        held: Any = getattr(preset, name)
        table = {field.name: getattr(held, field.name) for field in fields(held)}
        table |= {leaf: read_value(text) for leaf, text in texts.items()}
        where = ", ".join(f"{name}.{leaf}={text}" for leaf, text in texts.items())
        new: dict[str, Any] = {name: build(type(held), table, where=where)}
        preset = replace(preset, **new)
    return preset


def _loss_of(name: str) -> Loss:
    if name not in LOSSES:
        hint = did_you_mean(name, list(LOSSES)) or f"losses: {', '.join(LOSSES)}"
        raise MismatchError(f"no loss '{name}'", hint=hint)
    return LOSSES[name]


def read_value(text: str) -> Any:
    """Read a value as in TOML: the quotes of a string may be left out, and nothing is None."""
    try:
        table = parse_toml(f"value = {text}") if text else {"value": None}
    except ValueError:
        return text
    return table["value"] if len(table) == 1 else text
