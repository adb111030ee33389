"""Tiny models made on the spot, for tests that need a model file and not a good one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from buildmap.contract import METADATA_KEY, ModelCard, card_to_json
from buildmap.preset import find_preset

PRESET = find_preset("lite")


def make_card(**changes: Any) -> ModelCard:
    """Describe a 3-band model with windows of 128 pixels and a halo of 32."""
    card = ModelCard(
        title="bright is building",
        model=PRESET.model,
        data=replace(PRESET.data, gsd_min_m=0.3, gsd_max_m=0.6, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
        stride=16,
        window_px=128,
        halo_px=32,
        threshold=0.5,
        scale=1,
        classes=("building",),
        license="CC0-1.0",
        training_data="none",
        fingerprint="0" * 16,
    )
    return replace(card, **changes)


def write_onnx(
    path: Path, card: ModelCard | None = None, *, kernel_px: int = 1, enlarging: str = "nearest"
) -> Path:
    """Write a network whose logit is four times the mean of the normalized bands in a square.

    With a kernel of 3 or more its output near a window's border is spoiled by zero padding, as in a
    real network. Where the card has a scale, the logits are enlarged: copied ("nearest"), or "linear".
    """
    card = card or make_card()
    bands = len(card.data.bands)
    weight = np.full((1, bands, kernel_px, kernel_px), 4 / (bands * kernel_px**2), np.float32)
    pad = kernel_px // 2
    made = "logits" if card.scale == 1 else "small"
    nodes = [helper.make_node("Conv", ["image", "weight"], [made], name="conv", pads=[pad] * 4)]
    constants = [numpy_helper.from_array(weight, "weight")]
    if card.scale > 1:
        nodes.append(helper.make_node("Resize", ["small", "", "scales"], ["logits"], mode=enlarging))
        constants.append(
            numpy_helper.from_array(np.array([1, 1, card.scale, card.scale], np.float32), "scales")
        )
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["b", bands, "h", "w"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", 1, "rows", "cols"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {METADATA_KEY: card_to_json(card)})
    onnx.save(model, path)
    return path
