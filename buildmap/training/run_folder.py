"""The folder beside a model file that a killed training continues from.

`state.safetensors` is the only truth: all that the next epoch depends on, and the record of every
epoch. It is replaced at once, after `best.safetensors`; a run killed in between repeats an epoch and
writes the same best again.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from buildmap.contract import ModelCard
from buildmap.errors import InputError, MismatchError
from buildmap.models.checkpoint import read_tensors, save_checkpoint
from buildmap.publish import staged
from buildmap.schema import parse_json
from buildmap.training.record import EpochRecord, from_line, to_line
from buildmap.training.tensorboard import Scalars

_METADATA_KEY = "buildmap-training"
RESTART = "pass --restart to drop it and begin anew"


class RunFolder:
    """State, best weights and metrics of one training."""

    def __init__(
        self,
        path: Path,
        plan: Mapping[str, Any],
        *,
        restart: bool = False,
        tensorboard: bool = False,
        stop_after: int | None = None,
    ) -> None:
        """Look for what an earlier run has left.

        Args:
            path: The folder; made when there is something to keep.
            plan: Everything that decides the weights, as nested tables of JSON values.
            restart: Pass over an earlier run; its files are replaced.
            tensorboard: Write what is known about an epoch for TensorBoard also.
            stop_after: Epochs after which to leave the rest to a later run; None for none.

        Raises:
            ResourceError: If TensorBoard is wanted and not installed.
            MismatchError: If it followed another plan, or its state cannot be read.
        """
        self.path, self.records, self.stop_after = path, tuple[EpochRecord, ...](), stop_after
        self.best, self.state = path / "best.safetensors", path / "state.safetensors"
        self.metrics = path / "metrics.jsonl"
        self._plan = json.loads(json.dumps(plan))
        self._state: dict[str, Tensor] = {}
        self._scalars = Scalars(path / "tensorboard") if tensorboard else None
        if self.state.exists() and not restart:
            self._load()

    def save(
        self,
        state: Mapping[str, Tensor],
        records: Sequence[EpochRecord],
        card: ModelCard,
        *,
        best: Mapping[str, Tensor] | None,
    ) -> None:
        """Keep the state after an epoch, and its weights if they are the best so far.

        Args:
            state: All that the next epoch depends on.
            records: Of all epochs.
            card: Of the model.
            best: The weights to keep, if they are better than those kept before.

        Raises:
            StorageError: If the disk is full or fails.
        """
        self.path.mkdir(exist_ok=True)
        if len(records) == 1:
            self.state.unlink(missing_ok=True)  # an earlier run's must never meet this one's best
        if best is not None:
            with staged(self.best, overwrite=True) as folder:
                save_checkpoint(folder / self.best.name, best, card)
        on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        lines = [to_line(record) for record in records]
        history = json.dumps({"plan": self._plan, "records": lines})
        with staged(self.state, overwrite=True) as folder:
            (folder / self.state.name).write_bytes(save(on_cpu, metadata={_METADATA_KEY: history}))
        with staged(self.metrics, overwrite=True) as folder:
            (folder / self.metrics.name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        if self._scalars:
            self._scalars.write(records)

    def take_state(self) -> dict[str, Tensor]:
        """Hand over the state the earlier run has left; empty if there was none, or it was taken before."""
        state, self._state = self._state, {}
        return state

    def _load(self) -> None:
        try:
            self._state, metadata = read_tensors(self.state)
            history = parse_json(metadata[_METADATA_KEY])
            self.records = tuple(from_line(line) for line in history["records"])
            read_tensors(self.best)
        except (InputError, KeyError, TypeError, ValueError) as error:
            raise MismatchError(f"cannot go on from {self.path}: {error}", hint=RESTART) from error
        if changes := differences(history["plan"], self._plan):
            raise MismatchError(f"an earlier run in {self.path} had {'; '.join(changes)}", hint=RESTART)


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Name the leaves in which two plans, nested tables of JSON values, differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [
            c for key in keys for c in differences(old.get(key), new.get(key), f"{where}.{key}".lstrip("."))
        ]
    return [] if old == new else [f"{where} {old!r}, this one has {new!r}"]
