"""From a network that finds buildings one by one to one ONNX file that says the same of itself.

The file takes one image (1, bands, H, W) of any size in whole strides, and gives what it finds: `boxes`
(n, 4), `scores` (n,), and, of those that the network has, `masks` and `heatmaps` (n, rows, cols), as in
`Detections`. All of it is in the graph: ONNX has operators for both of torchvision's, `NonMaxSuppression`
and `RoiAlign`.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import Tensor, nn

from buildmap.contract import METADATA_KEY, ModelCard, card_to_json
from buildmap.errors import MismatchError
from buildmap.inference.onnx_card import forget_origin
from buildmap.models.instance_network import Detections, InstanceNetwork

_OPSET = 18
_EXAMPLE_STRIDES = (8, 12)
"""Sides of the example: the exporter takes a side of one for a constant, and the coarsest level is small."""
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
    assert program is not None
    model = program.model_proto
    forget_origin(model)
    onnx.helper.set_model_props(model, {METADATA_KEY: card_to_json(card)})
    onnx.save(model, path)


def largest_instance_difference(
    network: InstanceNetwork, card: ModelCard, path: Path, images: Sequence[Tensor] = ()
) -> float:
    """Compare the ONNX file with the network on images (1, bands, H, W); random ones of two sizes if none.

    Returns:
        Largest absolute difference of any output, in pixels or probability; infinite if not as many
        buildings are found.
    """
    session = ort.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    worst = 0.0
    for image in images or _random_images(len(card.data.bands), card.stride):
        with torch.inference_mode():
            ours = _outputs(network.eval().detect(image)[0])
        theirs = session.run(names, {"image": image.numpy()})
        for name, found in zip(names, theirs, strict=True):
            expected = ours[name].numpy()
            if found.shape != expected.shape:
                return float("inf")
            worst = max(worst, float(np.abs(found - expected).max(initial=0.0)))
    return worst


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
