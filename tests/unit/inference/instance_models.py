"""Networks that find bright rectangles exactly, for tests that need to know what is found."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from buildmap.contract import METADATA_KEY, ModelCard, card_to_json
from buildmap.models.instance_network import Detections, InstanceNetwork
from buildmap.preset import Instances, Model
from tests.networks import make_card

SIDE = 28
"""Cells of masks and heat maps."""


def instance_card(**changes: Any) -> ModelCard:
    """Describe a 3-band model with windows of 128 pixels and a halo of 32."""
    model = Model(name="mask-rcnn", instances=changes.pop("instances", Instances()))
    return make_card(model=model, title="bright rectangles", **changes)


def corner_heat() -> NDArray[np.float32]:
    """Draw Gaussians about the four corners of a box, (1, SIDE, SIDE)."""
    near = np.exp(-((np.arange(SIDE) + 0.5) ** 2) / (2 * 1.5**2))
    line = np.maximum(near, near[::-1])
    return (line[:, None] * line)[None].astype(np.float32)


class BrightRectangles(InstanceNetwork):
    """Finds rectangles brighter than the mean; the brighter, the higher the score."""

    stride = 16

    def detect(self, images: Tensor) -> list[Detections]:
        """Find buildings in images (B, bands, H, W)."""
        return [self._detect_one(image.mean(0)) for image in images]

    def _detect_one(self, level: Tensor) -> Detections:
        framed = torch.nn.functional.pad((level > 0).float(), (1, 1, 1, 1))
        inside = framed[1:-1, 1:-1]
        row, col = torch.nonzero(inside * (1 - framed[:-2, 1:-1]) * (1 - framed[1:-1, :-2]), as_tuple=True)
        boxes = torch.zeros(len(row), 4)
        for number, (down, across) in enumerate(zip(row.tolist(), col.tolist(), strict=True)):
            width = int((framed[down + 1, across + 1 :] == 0).nonzero()[0])
            height = int((framed[down + 1 :, across + 1] == 0).nonzero()[0])
            boxes[number] = torch.tensor([across, down, across + width, down + height])
        return Detections(
            boxes=boxes,
            scores=level[row, col].sigmoid(),
            masks=torch.ones(len(row), SIDE, SIDE),
            heatmaps=torch.from_numpy(corner_heat()).expand(len(row), -1, -1),
        )


def write_instances(
    path: Path, card: ModelCard | None = None, *, outputs: tuple[str, ...] = ("masks", "heatmaps")
) -> Path:
    """Write the same network as ONNX, for one image."""
    card = card or instance_card()
    bands = len(card.data.bands)
    constants = {
        "zero": np.float32(0),
        "half": np.float32(0.5),
        "one": np.int64(1),
        "frame": np.array([1, 1, 1, 1]),
        "from_0_1": np.array([0, 1]),
        "to_0_1": np.array([-2, -1]),
        "from_1_0": np.array([1, 0]),
        "to_1_0": np.array([-1, -2]),
        "first": np.array([0, 1]),
        "axis_0": np.array([0]),
        "axis_1": np.array([1]),
        "start": np.int64(0),
        "row_of": np.int64(0),
        "col_of": np.int64(1),
        "cells": np.array([SIDE, SIDE]),
        "ones": np.ones((1, SIDE, SIDE), np.float32),
        "heat": corner_heat(),
    }
    nodes = [
        _node("ReduceMean", "image first_axis", "level_1", keepdims=0),
        _node("Squeeze", "level_1 axis_0", "level"),
        _node("Greater", "level zero", "bright"),
        _node("Cast", "bright", "inside", to=TensorProto.FLOAT),
        _node("Pad", "inside frame", "framed"),
        _node("Slice", "framed from_0_1 to_0_1", "above"),
        _node("Slice", "framed from_1_0 to_1_0", "left"),
        _node("Sub", "inside above", "starts_down"),
        _node("Sub", "inside left", "starts_across"),
        _node("Relu", "starts_down", "down_1"),
        _node("Relu", "starts_across", "across_1"),
        _node("Mul", "down_1 across_1", "corner"),
        _node("NonZero", "corner", "places"),
        _node("Gather", "places row_of", "row", axis=0),
        _node("Gather", "places col_of", "col", axis=0),
        *_ends("framed", "row", "col", "right"),
        _node("Transpose", "framed", "turned", perm=[1, 0]),
        *_ends("turned", "col", "row", "bottom"),
        *(
            _node("Cast", name, f"{name}_f", to=TensorProto.FLOAT)
            for name in ("col", "row", "right", "bottom")
        ),
        *(_node("Unsqueeze", f"{name}_f axis_1", f"{name}_2") for name in ("col", "row", "right", "bottom")),
        _node("Concat", "col_2 row_2 right_2 bottom_2", "boxes", axis=1),
        _node("Transpose", "places", "at", perm=[1, 0]),
        _node("GatherND", "level at", "levels"),
        _node("Sigmoid", "levels", "scores"),
        _node("Shape", "row", "count"),
        _node("Concat", "count cells", "shape", axis=0),
        _node("Expand", "ones shape", "masks"),
        _node("Expand", "heat shape", "heatmaps"),
    ]
    constants["first_axis"] = np.array([1])
    shapes = {"boxes": ["n", 4], "scores": ["n"], "masks": ["n", SIDE, SIDE], "heatmaps": ["n", SIDE, SIDE]}
    graph = helper.make_graph(
        nodes,
        "rectangles",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, bands, "h", "w"])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name])
            for name in ("boxes", "scores", *outputs)
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {METADATA_KEY: card_to_json(card), "before": "x", "after": "y"})
    onnx.save(model, path)
    return path


def _ends(framed: str, line: str, start: str, end: str) -> list[onnx.NodeProto]:
    """Give where, along each line, the first dark cell after the start is; the frame is dark."""

    def own(name: str) -> str:
        return f"{end}_{name}"

    return [
        _node("Add", f"{line} one", own("line")),
        _node("Gather", f"{framed} {own('line')}", own("lines"), axis=0),
        _node("Shape", framed, own("shape")),
        _node("Gather", f"{own('shape')} one", own("extent"), axis=0),
        _node("Range", f"start {own('extent')} one", own("framed_cells")),
        _node("Sub", f"{own('framed_cells')} one", own("cells")),
        _node("Unsqueeze", f"{start} axis_1", own("start")),
        _node("GreaterOrEqual", f"{own('cells')} {own('start')}", own("after")),
        _node("Less", f"{own('lines')} half", own("dark")),
        _node("And", f"{own('after')} {own('dark')}", own("candidate")),
        _node("Where", f"{own('candidate')} {own('cells')} {own('extent')}", own("first")),
        _node("ReduceMin", f"{own('first')} axis_1", end, keepdims=0),
    ]


def _node(kind: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **attributes)
