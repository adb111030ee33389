"""What is known about the epochs, for TensorBoard: an optional copy of `metrics.jsonl`."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from buildmap.errors import ResourceError
from buildmap.training.record import EpochRecord

_NAMES = {
    "train_loss": "loss/training",
    "validation_loss": "loss/validation",
    "iou": "validation/iou",
    "f1": "validation/f1",
    "balanced_accuracy": "validation/balanced_accuracy",
    "learning_rate": "training/learning_rate",
    "skipped_steps": "training/skipped_steps",
    "chips_per_s": "training/chips_per_s",
    "read_wait_share": "training/read_wait_share",
}


class Scalars:
    """Writes event files; those of an earlier run are replaced."""

    def __init__(self, folder: Path) -> None:
        """Look for TensorBoard; the folder is made when there is something to write.

        Raises:
            ResourceError: If it is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise ResourceError("TensorBoard is not installed", hint="pip install tensorboard") from error
        self._make, self._folder = SummaryWriter, folder
        self._writer: Any = None
        self._written = 0

    def write(self, records: Sequence[EpochRecord]) -> None:
        """Write the epochs not written yet: all of them at first, then the newest."""
        if self._writer is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._writer = self._make(str(self._folder))
        for record in records[self._written :]:
            for field, name in _NAMES.items():
                if (value := getattr(record, field)) is not None:
                    self._writer.add_scalar(name, value, record.epoch)
            for source, iou in record.iou_by_source.items():
                self._writer.add_scalar(f"validation_iou/{source}", iou, record.epoch)
        self._written = len(records)
        self._writer.flush()
