"""Pretrained weights for a library encoder: read from a file, matched by name, adapted to other bands."""

import pickle
import re
import struct
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from buildmap.errors import InputError, MismatchError, MissingInput

_SHOWN = 3
"""Differing tensors named in a message."""
_NOT_WEIGHTS = (
    SafetensorError,
    pickle.UnpicklingError,
    struct.error,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)
"""What the readers raise for other content."""
_NESTED = ("state_dict_ema", "state_dict", "model_state", "model")
"""Where training programs put the weights among other things."""
_HEADS = ("head", "fc", "classifier", "last_linear")
"""Classifiers, which an encoder has no use for."""
_RGB = 3
_COUNTED = ".num_batches_tracked"
"""Absent from files that were converted from elsewhere, and of no use here."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a `.safetensors` file, or of a `.pth` or `.pt` one, in which nothing is executed.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it holds no weights, or more than weights.
    """
    if not path.is_file():
        raise MissingInput(f"encoder weights {path} do not exist")
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's about pickles that it then refuses
            content: object = (
                load_file(path)
                if path.suffix.lower() == ".safetensors"
                else torch.load(path, map_location="cpu", weights_only=True)
            )
    except _NOT_WEIGHTS as error:
        raise InputError(f"{path} holds no encoder weights: {_first_line(error)}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if isinstance(content, Mapping):
        content = next((content[key] for key in _NESTED if isinstance(content.get(key), Mapping)), content)
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
    raise InputError(f"{path} holds no encoder weights, but a {type(content).__name__}")


def load_encoder(
    encoder: nn.Module, weights: Mapping[str, Tensor], *, ignored: Collection[str], where: str
) -> None:
    """Give an encoder its pretrained weights.

    Names may all have one prefix more ('module.', 'backbone.'), and what lies outside it is ignored. The
    first convolution is adapted to other numbers of bands by timm's rule: repeated, and scaled to match.

    Args:
        encoder: Its weights are replaced.
        weights: By name.
        ignored: Names of the whole classifier, of which the encoder is a part.
        where: The file's name, for messages.

    Raises:
        MismatchError: If any of the encoder's tensors is absent or of another shape, or any is left over.
    """
    own = encoder.state_dict()
    names = {_plain(name): name for name in own if not name.endswith(_COUNTED)}
    found = _inside({_plain(name): tensor for name, tensor in weights.items()}, list(names))
    _adapt_bands(found, {plain: own[name] for plain, name in names.items()})
    known = names.keys() | {_plain(name) for name in ignored}
    wrong = [
        f"{plain} is {_shape(found.get(plain))}, not {_shape(own[name])}"
        for plain, name in names.items()
        if plain not in found or found[plain].shape != own[name].shape
    ]
    wrong += [f"{name} is {_shape(found[name])}, not absent" for name in found if not _is_known(name, known)]
    if wrong:
        more = f", and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise MismatchError(
            f"{where} holds the weights of another encoder: {', '.join(wrong[:_SHOWN])}{more}",
            hint="timm's weights of the encoder that the preset names",
        )
    encoder.load_state_dict(own | {name: found[plain] for plain, name in names.items()})


def _plain(name: str) -> str:
    """Undo timm's renaming of stages that it takes out of their sequence: 'layers_0.' for 'layers.0.'."""
    return re.sub(r"_(\d+)\.", r".\1.", name)


def _inside(weights: Mapping[str, Tensor], expected: Sequence[str]) -> dict[str, Tensor]:
    """Give the weights that lie under the prefix with most of the expected names, without it."""
    prefixes = {name.removesuffix(expected[0]) for name in weights if f".{name}".endswith(f".{expected[0]}")}

    def matches(prefix: str) -> int:
        return sum(prefix + name in weights for name in expected)

    best = max(sorted(prefixes | {""}, key=len), key=matches)
    return {name.removeprefix(best): tensor for name, tensor in weights.items() if name.startswith(best)}


def _adapt_bands(found: dict[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Fit the first convolution, where only its bands differ and the file's are red, green and blue."""
    name, wanted = next((name, tensor) for name, tensor in expected.items() if tensor.ndim == 4)
    given = found.get(name)
    if given is not None and given.ndim == 4 and given.shape[1] == _RGB and wanted.shape[1] != _RGB:
        from timm.models import adapt_input_conv

        found[name] = adapt_input_conv(wanted.shape[1], given)


def _is_known(name: str, known: Collection[str]) -> bool:
    return name in known or name.endswith(_COUNTED) or name.partition(".")[0] in _HEADS


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else str(tuple(tensor.shape))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
