"""From a network that finds buildings one by one to one ONNX file that says the same of itself.

The file takes one image (1, bands, H, W) of any size in whole strides, and gives what it finds: `boxes`
(n, 4), `scores` (n,), and, of those that the network has, `masks` and `heatmaps` (n, rows, cols), as in
`Detections`. All of it is in the graph: ONNX has operators for both of torchvision's, `NonMaxSuppression`
and `RoiAlign`.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from buildmap.contract import METADATA_KEY, ModelCard, card_to_json
from buildmap.errors import MismatchError
from buildmap.inference.onnx_card import forget_origin
from buildmap.models.instance_network import Detections, InstanceNetwork

_OPSET = 18
_EXAMPLE_STRIDES = (8, 12)
"""Sides of the example: the exporter takes a side of one for a constant, and the coarsest level is small."""
_ALONE = 0.05
"""Share of the buildings, and at least one, that torch or ONNX may find alone."""
_SAME_PX = 1.0
_SIZE_IS_FIXED = "swin"
"""Encoders that pad by an amount that the exporter fixes at the example's size."""


class OneImage(nn.Module):
    """What is found in one image, as a row of tensors."""

    def __init__(self, network: InstanceNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map an image (1, bands, H, W) to boxes, scores, and the masks and heat maps that there are."""
        return tuple(_outputs(self.network.detect(image)[0]).values())


def export_instances(network: InstanceNetwork, card: ModelCard, path: Path) -> None:
    """Write the network as ONNX with free height and width, and the card in its metadata.

    Args:
        network: Any of `buildmap.models.INSTANCE_MODELS`.
        card: Written under the metadata key `buildmap`.
        path: Written in place; weights are inside the file.

    Raises:
        MismatchError: If the network cannot be written as ONNX.
    """
    instances = card.model.instances
    if instances is None or (card.model.encoder or "").startswith(_SIZE_IS_FIXED):
        raise MismatchError(
            f"model {card.model.name} cannot be written as ONNX for images of any size",
            hint="predict with the .safetensors file: pip install 'buildmap[torch]'",
        )
    rows, cols = (strides * card.stride for strides in _EXAMPLE_STRIDES)
    names = ["boxes", "scores"]
    names += ["masks"] * instances.masks + ["heatmaps"] * instances.keypoints
    with warnings.catch_warnings():
        # torchvision's own, about the torch that it is made for.
        warnings.filterwarnings("ignore", ".*create_unbacked_symint.*", FutureWarning)
        program = torch.onnx.export(
            OneImage(network).eval(),
            (torch.zeros(1, len(card.data.bands), rows, cols),),
            input_names=["image"],
            output_names=names,
            dynamic_shapes=({2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},),
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
    model = cast("torch.onnx.ONNXProgram", program).model_proto
    forget_origin(model)
    onnx.helper.set_model_props(model, {METADATA_KEY: card_to_json(card)})
    onnx.save(model, path)


def largest_instance_difference(
    network: InstanceNetwork, card: ModelCard, path: Path, images: Sequence[Tensor] = ()
) -> float:
    """Compare the ONNX file with the network on images (1, bands, H, W); random ones of two sizes if none.

    Where two boxes overlap by just the IoU that is allowed, or two scores are nearly equal, the last bit
    decides which stays. So of the buildings found in all images a few may be found by one of the two alone.

    Returns:
        Largest absolute difference of any output of a building that both find, in pixels or probability;
        infinite if more than `_ALONE` of them are found by one alone.
    """
    session = ort.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    worst, found, alone = 0.0, 0, 0
    for image in images or _random_images(len(card.data.bands), card.stride):
        with torch.inference_mode():
            ours = {
                name: tensor.numpy() for name, tensor in _outputs(network.eval().detect(image)[0]).items()
            }
        theirs = dict(zip(names, session.run(names, {"image": image.numpy()}), strict=True))
        mine, other = same_boxes(ours["boxes"], theirs["boxes"])
        found += max(len(ours["boxes"]), len(theirs["boxes"]))
        alone += len(ours["boxes"]) + len(theirs["boxes"]) - 2 * len(mine)
        for name in names:
            difference = np.abs(ours[name][mine] - theirs[name][other])
            worst = max(worst, float(difference.max(initial=0.0)))
    return worst if alone <= max(1, _ALONE * found) else float("inf")


def same_boxes(
    ours: NDArray[np.float32], theirs: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pair the boxes of two sets, (n, 4) and (m, 4), that are the same to within a pixel: places in both."""
    apart = np.abs(ours[:, None] - theirs[None]).max(axis=2, initial=0.0)
    rows, cols = linear_sum_assignment(np.minimum(apart, _SAME_PX))
    same = apart[rows, cols] < _SAME_PX
    return rows[same], cols[same]


def _random_images(bands: int, stride: int) -> list[Tensor]:
    """Make blotches a few pixels wide, which networks see something in."""
    generator = torch.Generator().manual_seed(0)
    coarse = [torch.randn(1, bands, rows, cols, generator=generator) for rows, cols in ((12, 12), (16, 8))]
    return [nn.functional.interpolate(one, scale_factor=stride / 4) for one in coarse]


def _outputs(found: Detections) -> dict[str, Tensor]:
    outputs = {
        "boxes": found.boxes,
        "scores": found.scores,
        "masks": found.masks,
        "heatmaps": found.heatmaps,
    }
    return {name: tensor for name, tensor in outputs.items() if tensor is not None}
