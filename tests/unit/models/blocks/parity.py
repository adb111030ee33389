"""A module against its exported self."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn


def largest_difference_exported(
    module: nn.Module, example: Tensor, others: Sequence[Tensor], path: Path
) -> float:
    """Export with free batch and sides, and compare on images of other sizes."""
    free = torch.export.Dim.DYNAMIC
    program = torch.onnx.export(
        module.eval(),
        (example,),
        dynamic_shapes=({0: free, 2: free, 3: free},),
        opset_version=18,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.save(path)
    session = onnxruntime.InferenceSession(path)
    name = session.get_inputs()[0].name
    worst = 0.0
    for image in others:
        with torch.inference_mode():
            ours = module(image).numpy()
        theirs = session.run(None, {name: image.numpy()})[0]
        assert ours.shape == theirs.shape
        worst = max(worst, float(np.abs(ours - theirs).max()))
    return worst
