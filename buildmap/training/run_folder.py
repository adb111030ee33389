"""The folder beside a model file that a killed training continues from.

`state.safetensors` is the only truth: the network and the optimizer after the last whole epoch, and
the record of every epoch. It is replaced at once, after `best.safetensors`; a run killed in between
repeats an epoch and writes the same best again.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from buildmap.contract import ModelCard
from buildmap.errors import InputError, MismatchError
from buildmap.models.checkpoint import read_tensors, save_checkpoint
from buildmap.publish import staged
from buildmap.training.record import EpochRecord, best_record, from_line, to_line

_METADATA_KEY = "buildmap-training"
_NETWORK, _OPTIMIZER = "network.", "optimizer."
_RESTART = "pass --restart to drop it and begin anew"


class RunFolder:
    """State, best weights and metrics of one training."""

    def __init__(self, path: Path, plan: Mapping[str, Any], *, restart: bool = False) -> None:
        """Look for what an earlier run has left.

        Args:
            path: The folder; made when there is something to keep.
            plan: Everything that decides the weights, as nested tables of JSON values.
            restart: Pass over an earlier run; its files are replaced.

        Raises:
            MismatchError: If it followed another plan, or its state cannot be read.
        """
        self.path, self.records = path, tuple[EpochRecord, ...]()
        self.best, self.state = path / "best.safetensors", path / "state.safetensors"
        self.metrics = path / "metrics.jsonl"
        self._plan = json.loads(json.dumps(plan))
        self._tensors: dict[str, Tensor] = {}
        if self.state.exists() and not restart:
            self._load()

    def save(
        self, network: nn.Module, optimizer: Optimizer, records: Sequence[EpochRecord], card: ModelCard
    ) -> None:
        """Keep the state after an epoch, and its weights if they are the best so far.

        Raises:
            StorageError: If the disk is full or fails.
        """
        self.path.mkdir(exist_ok=True)
        if len(records) == 1:
            self.state.unlink(missing_ok=True)  # an earlier run's must never meet this one's best
        weights = network.state_dict()
        if best_record(records) is records[-1]:
            with staged(self.best, overwrite=True) as folder:
                save_checkpoint(folder / self.best.name, weights, card)
        tensors = {f"{_NETWORK}{name}": tensor for name, tensor in weights.items()}
        tensors |= {f"{_OPTIMIZER}{name}": tensor for name, tensor in _flatten(optimizer).items()}
        on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        lines = [to_line(record) for record in records]
        history = json.dumps({"plan": self._plan, "records": lines})
        with staged(self.state, overwrite=True) as folder:
            (folder / self.state.name).write_bytes(save(on_cpu, metadata={_METADATA_KEY: history}))
        with staged(self.metrics, overwrite=True) as folder:
            (folder / self.metrics.name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def resume(self, network: nn.Module, optimizer: Optimizer) -> None:
        """Put network and optimizer where the earlier run has left them, if there was one."""
        if self.records:
            network.load_state_dict(_part(self._tensors, _NETWORK))
            _unflatten(optimizer, _part(self._tensors, _OPTIMIZER))
            self._tensors = {}

    def _load(self) -> None:
        try:
            self._tensors, metadata = read_tensors(self.state)
            history = json.loads(metadata[_METADATA_KEY])
            self.records = tuple(from_line(line) for line in history["records"])
            read_tensors(self.best)
        except (InputError, KeyError, ValueError) as error:
            raise MismatchError(f"cannot go on from {self.path}: {error}", hint=_RESTART) from error
        if changes := _changes(history["plan"], self._plan):
            raise MismatchError(f"an earlier run in {self.path} had {'; '.join(changes)}", hint=_RESTART)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _flatten(optimizer: Optimizer) -> dict[str, Tensor]:
    """Name an optimizer's tensors 'parameter.name'; the groups' settings follow from the plan."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": tensor for index, entry in state.items() for name, tensor in entry.items()}


def _unflatten(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _changes(old: Any, new: Any, where: str = "") -> list[str]:
    """Name the leaves in which two plans differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [c for key in keys for c in _changes(old.get(key), new.get(key), f"{where}.{key}".lstrip("."))]
    return [] if old == new else [f"{where} {old!r}, this one has {new!r}"]
