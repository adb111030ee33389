"""How good a finished network is on the ground that was kept for the test."""

from torch import nn

from buildmap.data.dataset import Chips
from buildmap.losses.weighted_sum import build_loss
from buildmap.metrics.confusion import PixelScores
from buildmap.preset import Preset
from buildmap.training.device import Devices, open_fabric
from buildmap.training.validation import validate


def test(network: nn.Module, chips: Chips, preset: Preset, devices: Devices) -> PixelScores | None:
    """Predict all of it, on the first device; None where nothing was kept.

    Args:
        network: On that device; it is left ready to predict.
        chips: Of the training.
        preset: As it was trained with.
        devices: Of the training.

    Raises:
        StorageError: If a file cannot be read.
    """
    if not any(source.test_chips for source in chips.summaries):
        return None
    fabric = open_fabric(
        Devices(kind=devices.kind, indices=devices.indices[:1]), precision=preset.training.precision
    )
    loss = build_loss(preset.loss).to(fabric.device)
    result = validate(network, loss, chips.test_batches(), fabric, threshold=preset.predict.threshold)
    network.eval()
    return result.scores
