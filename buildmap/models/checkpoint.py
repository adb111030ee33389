"""A trained network in one `.safetensors` file: weights, and the card that says how to use them.

The format holds tensors and text only, so loading a stranger's file executes nothing.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from buildmap.contract import METADATA_KEY, ModelCard, card_from_json, card_to_json
from buildmap.errors import InputError, MismatchError, MissingInput
from buildmap.models import build_instances, build_model
from buildmap.preset import Model

_SHOWN = 3
"""Differing tensors named in a message."""


def fingerprint_weights(weights: Mapping[str, Tensor]) -> str:
    """Give the SHA-256 of names, types, shapes and values, 16 hex digits."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def save_checkpoint(path: Path, weights: Mapping[str, Tensor], card: ModelCard) -> ModelCard:
    """Write a model file; equal weights and cards give equal bytes.

    Returns:
        The card as written: with the fingerprint of these weights.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    card = replace(card, fingerprint=fingerprint_weights(tensors))
    path.write_bytes(save(tensors, metadata={METADATA_KEY: card_to_json(card)}))
    return card


def load_checkpoint(path: Path) -> tuple[nn.Module, ModelCard]:
    """Read a model file into a network on the CPU, ready to predict.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is not a buildmap model, or damaged.
        MismatchError: If its weights are not those of the network its card names.
    """
    weights, metadata = read_tensors(path)
    card = card_from_json(metadata.get(METADATA_KEY), where=str(path))
    # Pretrained weights are never fetched only to be replaced.
    architecture = replace(card.model, encoder_weights=None)
    with torch.device("meta"):  # a stranger's card cannot make us allocate more than its own weights
        expected = _build(architecture, card).state_dict()
    _check_weights(weights, expected, where=f"{path}: model {card.model.name}")
    if (found := fingerprint_weights(weights)) != card.fingerprint:
        raise InputError(f"{path} is damaged: its weights are {found}, its card says {card.fingerprint}")
    model = _build(architecture, card)
    model.load_state_dict(weights)
    return model.eval(), card


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read all tensors and the metadata of a `.safetensors` file.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is of another format, or truncated.
    """
    if not path.exists():
        raise MissingInput(f"{path} does not exist")
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a buildmap model")
    if not os.access(path, os.R_OK):
        raise MissingInput(f"{path} is not readable")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a buildmap model: {error}") from error


def _build(architecture: Model, card: ModelCard) -> nn.Module:
    bands = len(card.data.bands)
    if architecture.instances is not None:
        return build_instances(architecture, bands)
    return build_model(architecture, bands, len(card.classes))


def _check_weights(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, where: str) -> None:
    names = [
        name
        for name in sorted(found.keys() | expected.keys())
        if name not in found or name not in expected or found[name].shape != expected[name].shape
    ]
    if names:
        raise MismatchError(f"{where} does not fit its weights: {_differences(names, found, expected)}")


def _differences(names: list[str], found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    def shape(tensors: Mapping[str, Tensor], name: str) -> str:
        return "absent" if name not in tensors else str(tuple(tensors[name].shape))

    shown = [f"{n} is {shape(found, n)}, not {shape(expected, n)}" for n in names[:_SHOWN]]
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(shown) + more
