"""The benchmarks' networks as checkpoints: `python -m tests.benchmarks.models NAME RASTER OUTPUT`.

`lite` is the built-in model; `unet` has 14 M random weights, whose speed is that of trained ones.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import rasterio
import torch
from onnx import numpy_helper
from torch import nn

from buildmap.contract import METADATA_KEY, ModelCard, card_from_json
from buildmap.inference.backend import builtin_model
from buildmap.models import build_model
from buildmap.models.checkpoint import save_checkpoint
from buildmap.preset import find_preset

_PIECE_PX = 256


def write_lite(raster: Path, output: Path) -> None:  # noqa: ARG001 called as write_unet is
    """Take the weights out of the built-in ONNX file.

    There the normalizations are folded into the convolutions: here they only add what is left of them.
    """
    model = onnx.load(builtin_model())
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    card = card_from_json(metadata[METADATA_KEY], where="lite.onnx")
    folded = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
    network = build_model(card.model, len(card.data.bands), 1)
    weights = network.state_dict()
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            weights[f"{name}.weight"] = torch.tensor(folded[f"{name}.weight"])
        elif isinstance(module, nn.BatchNorm2d):
            weights[f"{name}.running_var"] = torch.full_like(module.running_var, 1 - module.eps)
            convolution = f"{name.removesuffix('.1')}.0"
            weights[f"{name}.bias"] = torch.tensor(folded[f"{convolution}.weight_bias"])
    weights["head.0.bias"] = torch.tensor(folded["head.0.bias"])
    save_checkpoint(output, weights, card)


def write_unet(raster: Path, output: Path) -> None:
    """Draw random weights, with normalizations that fit the raster, so that no value is out of range."""
    preset = find_preset("unet")
    torch.manual_seed(0)
    network = build_model(replace(preset.model, encoder_weights=None), len(preset.data.bands), 1).train()
    with rasterio.open(raster) as dataset:
        pieces = [
            dataset.read(preset.data.bands, window=((at, at + _PIECE_PX), (at, at + _PIECE_PX)))
            for at in range(0, min(dataset.shape) - _PIECE_PX, _PIECE_PX)[:4]
        ]
    mean, std = (torch.tensor(of)[:, None, None] for of in (preset.data.mean, preset.data.std))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # a plain mean over what it sees
    with torch.no_grad():
        network((torch.from_numpy(np.stack(pieces)) / 255 - mean) / std)
    card = ModelCard(
        title="U-Net of random weights",
        model=replace(preset.model, encoder_weights=None),
        data=preset.data,
        stride=network.stride,
        window_px=preset.predict.window_px,
        halo_px=preset.predict.halo_px,
        threshold=preset.predict.threshold,
        scale=1,
        classes=("building",),
        license="CC0-1.0",
        training_data="none",
        fingerprint="",
    )
    save_checkpoint(output, network.state_dict(), card)


WRITERS = {"lite": write_lite, "unet": write_unet}

if __name__ == "__main__":
    WRITERS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
