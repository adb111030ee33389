"""A model as a STAC Item, with the Machine Learning Model extension (MLM 1.5.2)."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from buildmap.contract import ModelCard
from buildmap.raster.normalize import pixel_scale
from buildmap.stac.ground import WORLD, box_ground
from buildmap.stac.item import FILE, MLM, Item, make_item, safe_name

_SPDX = re.compile(r"[\w.+-]+")
_MULTIHASH_SHA256 = "1220"
"""Number of the function and length of the digest, before a SHA-256."""
_KINDS = {
    ".onnx": ("ONNX", "onnx", "application/octet-stream; framework=onnx"),
    ".safetensors": (
        "PyTorch",
        "safetensors.torch.save_file",
        "application/octet-stream; framework=safetensors",
    ),
}
_IMAGE = ["batch", "bands", "height", "width"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """The file of a model."""

    name: str
    """Without the folder."""
    size_bytes: int
    """Of the file."""
    sha256: str
    """Of the file, hex digits."""
    parameters: int
    """Numbers in the network."""
    weights_bytes: int
    """Memory that they take."""


def model_item(card: ModelCard, file: ModelFile) -> Item:
    """Describe a model.

    A card does not tell where and when the model is good; the Item says everywhere and always, as MLM's best
    practices have it for such a model.

    Args:
        card: What the model says of itself.
        file: Where it lies.
    """
    framework, artifact, media_type = _KINDS[file.name[file.name.rindex(".") :].lower()]
    name = f"buildmap-{card.model.name}-{card.fingerprint}"
    tasks = _tasks(card)
    properties = {
        "title": card.title,
        "description": f"Finds {', '.join(card.classes)} in rasters. Learned from: {card.training_data}",
        "license": card.license if _SPDX.fullmatch(card.license) else "other",
        "bands": [
            {"name": band, "description": f"band {number} of the raster", "data_type": card.data.dtype}
            for band, number in zip(_bands(card), card.data.bands, strict=True)
        ],
        "mlm:name": name,
        "mlm:architecture": card.model.name,
        "mlm:tasks": tasks,
        "mlm:framework": framework,
        "mlm:total_parameters": file.parameters,
        "mlm:memory_size": file.weights_bytes,
        "mlm:accelerator": None,
        "mlm:accelerator_constrained": False,
        "mlm:input": [_input(card)],
        "mlm:output": _outputs(card, tasks),
        "mlm:hyperparameters": _hyperparameters(card),
    }
    model = {
        "href": f"./{file.name}",
        "title": card.title,
        "type": media_type,
        "roles": ["mlm:model", "mlm:weights"],
        "bands": [{"name": band} for band in _bands(card)],  # without which STAC has none above
        "mlm:artifact_type": artifact,
        "file:size": file.size_bytes,
        "file:checksum": f"{_MULTIHASH_SHA256}{file.sha256}",
    }
    return make_item(
        name,
        extensions=(MLM, FILE),
        ground=box_ground(WORLD),
        dates=None,
        properties=properties,
        assets={"model": model},
    )


def _bands(card: ModelCard) -> list[str]:
    return [f"band_{number}" for number in card.data.bands]


def _tasks(card: ModelCard) -> list[str]:
    if card.model.instances is None:
        return ["semantic-segmentation"]
    return ["instance-segmentation", "object-detection"]


def _hyperparameters(card: ModelCard) -> dict[str, Any]:
    """Give what a program that cuts rasters for this model has to know."""
    return {
        "gsd_min_m": card.data.gsd_min_m,
        "gsd_max_m": card.data.gsd_max_m,
        "window_px": card.window_px,
        "halo_px": card.halo_px,
        "stride": card.stride,
        "scale": card.scale,
        "threshold": card.threshold,
    }


def _input(card: ModelCard) -> dict[str, Any]:
    data = card.data
    factor, shift = pixel_scale(np.dtype(data.dtype), data)
    batch = 1 if card.model.instances is not None else -1
    return {
        "name": "image",
        "description": f"Sides are multiples of {card.stride}. Pixels of {data.gsd_min_m:g} to "
        f"{data.gsd_max_m:g} m on the ground; what is finer or coarser is resampled. Where there is no data, "
        "0 after scaling.",
        "bands": _bands(card),
        "input": {
            "shape": [batch, len(data.bands), -1, -1],
            "dim_order": _IMAGE,
            "data_type": "float32",
        },
        "value_scaling": [
            {"type": "z-score", "mean": float(f"{mean:.6g}"), "stddev": float(f"{std:.6g}")}
            for mean, std in zip((shift / factor).ravel(), (1 / factor).ravel(), strict=True)
        ],
        "resize_type": None,
        "pre_processing_function": None,
    }


def _outputs(card: ModelCard, tasks: list[str]) -> list[dict[str, Any]]:
    instances = card.model.instances
    if instances is None:
        return [_logits(card, tasks)]
    outputs = [
        _output("boxes", ["detection", "coordinate"], [-1, 4], tasks, "Left, top, right, bottom, pixels."),
        _output("scores", ["detection"], [-1], tasks, "Confidence, 0..1."),
    ]
    roi = ["detection", "height", "width"]
    if instances.masks:
        outputs.append(_output("masks", roi, [-1, -1, -1], tasks, "Of each box, 0..1."))
    if instances.keypoints:
        outputs.append(_output("heatmaps", roi, [-1, -1, -1], tasks, "Vertices, of each box."))
    return outputs


def _logits(card: ModelCard, tasks: list[str]) -> dict[str, Any]:
    told = (
        "Logits" if card.scale == 1 else f"Logits, {card.scale} pixels for one of the image along each side"
    )
    described = f"{told}; after a sigmoid, a building from {card.threshold:g} on."
    classes = [
        {"value": value, "name": safe_name(name), "description": name}
        for value, name in enumerate(("background", *card.classes))
    ]
    return _output("logits", ["batch", "class", "height", "width"], [-1, 1, -1, -1], tasks, described) | {
        "classification:classes": classes,
        "post_processing_function": {
            "format": "python",
            "expression": "buildmap.inference.onnx_backend:sigmoid",
        },
    }


def _output(
    name: str, dim_order: list[str], shape: list[int], tasks: list[str], description: str
) -> dict[str, Any]:
    return {
        "name": name,
        "description": description,
        "tasks": tasks,
        "result": {"shape": shape, "dim_order": dim_order, "data_type": "float32"},
    }
