"""What the QGIS plugin Deepness reads in an ONNX file, and a network as the plugin can run it.

Names and meanings are those of its documentation, "Adding metadata to ONNX model", and of its source,
version 0.6.5. Every value is JSON. The plugin divides pixels by 255 whatever their type is, fills what lies
outside a raster with 0, takes the network's output for probability, and its dialog wants a size of images
that is fixed in the graph.
"""

import json
import math

import numpy as np
import onnx
from numpy.typing import NDArray

from buildmap.contract import ModelCard
from buildmap.errors import MismatchError
from buildmap.raster.normalize import pixel_scale

DEEPNESS_KEYS = frozenset(
    {
        "model_type",
        "class_names",
        "resolution",
        "tiles_size",
        "tile_size",
        "tiles_overlap",
        "standardization_mean",
        "standardization_std",
        "seg_thresh",
        "seg_small_segment",
    }
)
"""All that `deepness_keys` may write."""

_PLUGIN_RANGE = 255.0
_MOST_PERCENT = 99
"""The field of the plugin's dialog goes no further."""
_SHARP = 1e-6
"""Probabilities closer to 0 or 1 have no logit worth writing."""


def deepness_keys(card: ModelCard, *, probability: bool = False) -> dict[str, str]:
    """Give metadata keys and values for a network that gives one class for every pixel.

    A network that finds buildings one by one gets none: the plugin's detectors are those of the YOLO family.
    Nor does one that enlarges, since the plugin takes no output larger than its input.

    Args:
        card: Describes the network.
        probability: The graph ends with a sigmoid; otherwise it gives logits, and the threshold is a logit.

    Returns:
        JSON by key; empty where the plugin has no type for such a network.
    """
    if card.model.instances is not None or card.scale != 1:
        return {}
    data = card.data
    factor, shift = pixel_scale(np.dtype(data.dtype), data)
    std = 1 / (_PLUGIN_RANGE * factor)
    gsd_cm = 100 * math.sqrt(data.gsd_min_m * data.gsd_max_m)
    overlap_percent = min(math.ceil(200 * card.halo_px / card.window_px), _MOST_PERCENT)
    values = {
        "model_type": "Segmentor",
        "class_names": [dict(enumerate(("background", *card.classes)))],
        "resolution": round(gsd_cm, 2),
        "tiles_size": card.window_px,  # as it is documented
        "tile_size": card.window_px,  # as it is read
        "tiles_overlap": overlap_percent,
        "standardization_mean": _short(shift * std),
        "standardization_std": _short(std),
        "seg_thresh": round(card.threshold if probability else _logit(card.threshold), 6),
        "seg_small_segment": 0,  # the plugin's default would blur what the network has found
    }
    return {key: json.dumps(value) for key, value in values.items()}


def fit_deepness(model: onnx.ModelProto, card: ModelCard) -> onnx.ModelProto:
    """Make a network one that Deepness runs as it is.

    Its images have the size of the card's windows, and its output is probability. It carries no card of ours:
    `predict` would take its probabilities for logits.

    Args:
        model: As `export_onnx` writes it; stays as it is.
        card: Describes it.

    Raises:
        MismatchError: If Deepness has no type for such a network.
    """
    keys = deepness_keys(card, probability=True)
    if not keys:
        raise MismatchError(
            f"Deepness cannot run '{card.title}': it wants one class for every pixel, and no enlarging",
            hint="run it with buildmap predict",
        )
    fitted = onnx.ModelProto()
    fitted.CopyFrom(model)
    graph = fitted.graph
    logits = graph.output[0].name
    graph.node.append(onnx.helper.make_node("Sigmoid", [logits], ["probability"], name="deepness"))
    graph.output[0].name = "probability"
    for value in (graph.input[0], graph.output[0]):
        for axis in (2, 3):
            value.type.tensor_type.shape.dim[axis].dim_value = card.window_px
    del graph.value_info[:]  # shapes that follow from a free height and width
    onnx.helper.set_model_props(fitted, keys)
    return fitted


def _short(values: NDArray[np.floating]) -> list[float]:
    """Give numbers with as many digits as they surely have."""
    return [float(f"{value:.6g}") for value in values.ravel()]


def _logit(probability: float) -> float:
    inside = min(max(probability, _SHARP), 1 - _SHARP)
    return math.log(inside / (1 - inside))
