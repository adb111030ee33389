"""The first phase of map-guided cross-training: a generator learns to draw maps, and is kept as a model file.

`pretraining.safetensors` in the run folder is all that the next step depends on; `generator.safetensors`
follows from it once the last step is done.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from safetensors.torch import save
from torch import Tensor

from buildmap.contract import ModelCard
from buildmap.data.dataset import Chips
from buildmap.errors import InputError, MismatchError
from buildmap.execution.prefetch import prefetch
from buildmap.execution.progress import Progress
from buildmap.models.checkpoint import load_checkpoint, read_tensors, save_checkpoint
from buildmap.models.esrgan import Discriminator, Generator
from buildmap.preset import Preset, Pretrain
from buildmap.publish import staged
from buildmap.schema import parse_json
from buildmap.training.adversaries import Adversaries, DrawingLosses
from buildmap.training.run_folder import RESTART, differences
from buildmap.training.tensors import under_prefix

_READERS, _AHEAD = 2, 4
_METADATA_KEY = "buildmap-pretraining"
_STEPS_PER_LINE = 100
_MEAN = "average.module."


@dataclass(slots=True, kw_only=True)
class Drawing:
    """How far the generator's training has come."""

    path: Path
    """The run folder."""
    plan: Mapping[str, Any]
    """Everything that decides the weights, as nested tables of JSON values."""
    steps: int = 0
    """Steps done."""
    lines: list[dict[str, float]] = field(default_factory=list)
    """Mean losses over every so many steps."""
    tensors: dict[str, Tensor] = field(default_factory=dict)
    """What `Adversaries.checkpoint` gave after the last of them; nothing before the first."""

    @property
    def state(self) -> Path:
        """The file it goes on from."""
        return self.path / "pretraining.safetensors"

    @property
    def generator(self) -> Path:
        """The generator's model file, once it is done."""
        return self.path / "generator.safetensors"

    def load(self) -> None:
        """Look for what an earlier run has left.

        Raises:
            MismatchError: If it followed another plan, or cannot be read.
        """
        if not self.state.exists():
            return
        try:
            self.tensors, metadata = read_tensors(self.state)
            history = parse_json(metadata[_METADATA_KEY])
            self.steps, self.lines = history["steps"], history["lines"]
        except (InputError, KeyError, TypeError, ValueError) as error:
            raise MismatchError(f"cannot go on from {self.state}: {error}", hint=RESTART) from error
        if changes := differences(history["plan"], json.loads(json.dumps(self.plan))):
            raise MismatchError(f"an earlier run in {self.path} had {'; '.join(changes)}", hint=RESTART)

    def keep(self, tensors: dict[str, Tensor]) -> None:
        """Put the state after the last step on disk, at once.

        Raises:
            StorageError: If the disk is full or fails.
        """
        self.path.mkdir(exist_ok=True)
        self.tensors = tensors
        history = json.dumps({"plan": self.plan, "steps": self.steps, "lines": self.lines})
        whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
        with staged(self.state, overwrite=True) as folder:
            (folder / self.state.name).write_bytes(save(whole, metadata={_METADATA_KEY: history}))


def pretrain(
    generator: Generator,
    chips: Chips,
    preset: Preset,
    drawing: Drawing,
    card: ModelCard,
    *,
    fabric: Fabric,
    progress: Progress,
) -> None:
    """Train a generator from where an earlier run has ended, and write its model file.

    Args:
        generator: With the weights to begin with; changed in place.
        chips: With pictures.
        preset: With a table `[pretrain]`.
        drawing: How far it has come.
        card: Of the generator's model file.
        fabric: Of the one device.
        progress: Hears of every step.

    Raises:
        DivergedError: If the losses stay without a finite value.
        MismatchError: If chips do not fit the discriminator, or weights the perceptual loss.
        InputError: If these cannot be read.
        ResourceError: If they cannot be downloaded.
        StorageError: If the state cannot be kept.
    """
    plan = preset.pretrain
    if plan is None:
        raise ValueError("a preset without pretraining")
    side_px = preset.training.chip_px * generator.scale
    if side_px % Discriminator.stride:
        raise MismatchError(
            f"chip_px {preset.training.chip_px} makes pictures of {side_px} px, "
            f"no multiple of the discriminator's stride {Discriminator.stride}"
        )
    if drawing.steps < plan.iterations:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(preset.training.seed)
            learner = Adversaries(generator, plan, fabric)
        if drawing.steps:
            learner.restore(drawing.tensors)
        _go_on(learner, chips, plan, drawing, progress)
    drawing.path.mkdir(exist_ok=True)
    with staged(drawing.generator, overwrite=True) as folder:
        weights = under_prefix(drawing.tensors, _MEAN) if drawing.steps else generator.state_dict()
        save_checkpoint(folder / drawing.generator.name, weights, card)


def load_generator(path: Path) -> Generator:
    """Read a generator's model file.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is not a buildmap model, or damaged.
        MismatchError: If it is no generator's.
    """
    network, card = load_checkpoint(path)
    if not isinstance(network, Generator):
        raise MismatchError(f"{path} holds the model {card.model.name}, no generator of maps")
    return network


def _go_on(learner: Adversaries, chips: Chips, plan: Pretrain, drawing: Drawing, progress: Progress) -> None:
    """Make the steps that are left."""
    recent: list[DrawingLosses] = []
    todo = range(drawing.steps, plan.iterations)
    progress.start("draw maps", len(todo))
    with closing(prefetch(chips.training_batch, todo, workers=_READERS, ahead=_AHEAD)) as batches:
        for step, batch in zip(todo, batches, strict=True):
            losses = learner.learn(batch)
            if losses is not None:
                recent.append(losses)
            drawing.steps = step + 1
            is_last = drawing.steps == plan.iterations
            if drawing.steps % _STEPS_PER_LINE == 0 or is_last:
                drawing.lines.append(_line(drawing.steps, recent))
                progress.note(_told(drawing.lines[-1]))
                recent.clear()
            if drawing.steps % plan.keep_steps == 0 or is_last:
                drawing.keep(learner.checkpoint())
            progress.advance()


def _line(step: int, losses: Sequence[DrawingLosses]) -> dict[str, float]:
    tables = [asdict(one) for one in losses]
    means = {name: sum(t[name] for t in tables) / len(tables) for name in (tables[0] if tables else ())}
    return {"step": step, **means}


def _told(line: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in line.items() if name != "step")
