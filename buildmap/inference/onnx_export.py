"""From a torch network to one ONNX file that says the same of itself."""

from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
from torch import nn

from buildmap.contract import ModelCard
from buildmap.errors import MismatchError
from buildmap.inference.devices import BackendOptions
from buildmap.inference.onnx_backend import OnnxBackend
from buildmap.inference.onnx_card import forget_origin, put_card

_OPSET = 18
_NO_ONNX = frozenset({"upernet"})
"""Swin pads to its attention windows by an amount that the exporter fixes at the example's size."""


def export_onnx(network: nn.Module, card: ModelCard, path: Path) -> None:
    """Write the network as ONNX with free batch size, height and width, and the card in its metadata.

    Args:
        network: Maps (B, C, H, W) to logits (B, 1, scale x H, scale x W).
        card: Written under the metadata key `buildmap`, and for the QGIS plugin Deepness under its own.
        path: Written in place; weights are inside the file.

    Raises:
        MismatchError: If the network cannot be written as ONNX.
    """
    if card.model.name in _NO_ONNX:
        raise MismatchError(
            f"model {card.model.name} cannot be written as ONNX for images of any size",
            hint="predict with the .safetensors file: pip install 'buildmap[torch]'",
        )
    side = 2 * card.stride
    example = torch.zeros(2, len(card.data.bands), side, side + card.stride)
    axes = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    program = torch.onnx.export(
        network.eval(),
        (example,),
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=(axes,),
        opset_version=_OPSET,
        dynamo=True,
        verbose=False,
    )
    model = cast("torch.onnx.ONNXProgram", program).model_proto
    forget_origin(model)
    put_card(model, card)
    onnx.save(model, path)


def largest_difference(network: nn.Module, card: ModelCard, path: Path) -> float:
    """Compare the ONNX file with the network on random images of three sizes.

    Returns:
        Largest absolute difference of probabilities.
    """
    backend = OnnxBackend(path, BackendOptions(device="cpu"))
    rng = np.random.default_rng(0)
    worst = 0.0
    for batch, rows, cols in [(1, 4, 4), (2, 3, 5), (1, 8, 2)]:
        shape = (batch, len(card.data.bands), rows * card.stride, cols * card.stride)
        images = rng.standard_normal(shape).astype(np.float32)
        with torch.inference_mode():
            ours = torch.sigmoid(network.eval()(torch.from_numpy(images)))
        theirs = torch.sigmoid(torch.from_numpy(backend.logits(images)))
        worst = max(worst, float((ours - theirs).abs().max()))
    return worst
