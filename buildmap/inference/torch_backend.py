"""Running a `.safetensors` model through torch."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from buildmap.errors import ResourceError
from buildmap.models.checkpoint import load_checkpoint


class TorchBackend:
    """A `.safetensors` model file, loaded."""

    def __init__(self, model: Path, *, device: str = "auto") -> None:
        """Load the network onto a device: 'auto', 'cpu' or 'cuda'.

        Raises:
            InputError: If the file is not a buildmap model.
            ResourceError: If the device is not there.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device not in {"cpu", "cuda"}:
            raise ResourceError(f"no device '{device}'", hint="--device auto, cpu or cuda")
        if device == "cuda" and not torch.cuda.is_available():
            raise ResourceError("device cuda asked for, but torch finds no GPU", hint="--device cpu")
        network, self.card = load_checkpoint(model)
        self.device = device
        self._network = network.to(device).to(memory_format=torch.channels_last)

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network on (B, C, H, W); gives (B, 1, H, W)."""
        with torch.inference_mode():
            tensor = torch.from_numpy(images).to(device=self.device, memory_format=torch.channels_last)
            output: NDArray[np.float32] = self._network(tensor).float().cpu().numpy()
        return output
