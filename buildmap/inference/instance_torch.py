"""Running a `.safetensors` model that finds buildings one by one, through torch."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from buildmap.contract import ModelCard
from buildmap.errors import MismatchError
from buildmap.inference.devices import DEFAULTS, BackendOptions
from buildmap.inference.instance_backend import Found, check_model
from buildmap.inference.torch_device import TorchDevice, choose_device
from buildmap.models.checkpoint import load_checkpoint
from buildmap.models.instance_network import InstanceNetwork
from buildmap.raster.normalize import scale_pixels


def open_instances(model: Path, options: BackendOptions = DEFAULTS) -> "TorchInstances":
    """Load a `.safetensors` model file onto a device.

    Raises:
        InputError: If the file is not a buildmap model.
        MismatchError: If its weights are not those of the network its card names.
        ResourceError: If the device is not there, or memory is too short.
    """
    choose_device(options.device)  # before the weights are read
    network, card = load_checkpoint(model)
    if not isinstance(network, InstanceNetwork):
        raise MismatchError(f"{model}: model {card.model.name} does not find buildings one by one")
    return TorchInstances(network, card, options)


class TorchInstances:
    """A torch network on a device; every call looks at one window."""

    def __init__(self, network: InstanceNetwork, card: ModelCard, options: BackendOptions = DEFAULTS) -> None:
        """Put the network on the device, and run it once.

        Args:
            network: In evaluation mode, on the CPU.
            card: Its card.
            options: Device, threads, memory, precision.

        Raises:
            MismatchError: If the card is not that of such a network.
            ResourceError: If memory is too short, or the device lacks the precision.
        """
        check_model(card)
        self._device = TorchDevice(options)
        self.card, self.device, self.batch = card, self._device.name, 1
        self._network = network.to(self._device.torch)
        self.lanes = self._device.share(options, card, self._run_empty)
        self._run_empty(2 * card.stride)  # what the network keeps from its first image is there for all lanes

    def detect(self, image: NDArray[np.generic]) -> Found:
        """Find buildings in an image (C, H, W) in the raster's own numbers."""
        scaled = scale_pixels(image[None], self.card.data)
        with self._device.computing():
            tensor = torch.from_numpy(scaled).to(self._device.torch)
            with self._device.autocast():
                (found,) = self._network.detect(tensor)
            return Found(
                boxes=_fetch(found.boxes, torch.float64),
                scores=_fetch(found.scores, torch.float64),
                masks=None if found.masks is None else _fetch(found.masks, torch.float32),
                heatmaps=None if found.heatmaps is None else _fetch(found.heatmaps, torch.float32),
            )

    def _run_empty(self, side: int) -> None:
        self.detect(np.zeros((len(self.card.data.bands), side, side), self.card.data.dtype))


def _fetch(tensor: Tensor, dtype: torch.dtype) -> NDArray[Any]:
    """Copy from the device, and wait until it is there."""
    return tensor.to("cpu", dtype).contiguous().numpy()
