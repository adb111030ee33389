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


def write_onnx(path: Path, card: ModelCard | None = None, *, kernel_px: int = 1) -> Path:
    """Write a network whose logit is four times the mean of the normalized bands in a square.

    With a kernel of 3 or more its output near a window's border is spoiled by zero padding, as in a
    real network.
    """
    card = card or make_card()
    bands = len(card.data.bands)
    weight = np.full((1, bands, kernel_px, kernel_px), 4 / (bands * kernel_px**2), np.float32)
    pad = kernel_px // 2
    conv = helper.make_node("Conv", ["image", "weight"], ["logits"], name="conv", pads=[pad] * 4)
    graph = helper.make_graph(
        [conv],
        "bright",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["b", bands, "h", "w"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", 1, "h", "w"])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {METADATA_KEY: card_to_json(card)})
    onnx.save(model, path)
    return path
