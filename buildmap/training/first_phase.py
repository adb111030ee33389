"""Map-guided cross-training before its joint phase: what a network needs that has a generator to train."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from buildmap.contract import ModelCard
from buildmap.data.dataset import Chips
from buildmap.data.triplets import Triplets
from buildmap.errors import MismatchError
from buildmap.execution.progress import Progress
from buildmap.models.esrgan import Generator
from buildmap.models.instance_network import InstanceNetwork
from buildmap.models.map_guided import MapGuided, adopt_generator
from buildmap.models.network import Network
from buildmap.preset import Model, Preset
from buildmap.training.device import Devices
from buildmap.training.loop import fresh_network
from buildmap.training.map_figure import MapExample, choose_examples, draw_map_figure
from buildmap.training.pretraining import Drawing, load_generator, pretrain
from buildmap.training.processes import Task, run_on

_TABLES = ("data", "model", "augment", "sampling", "pretrain", "maps", "sources", "files")
_TRAINING = ("chip_px", "batch_size", "seed", "validation_share", "test_share", "precision")


def check_pretraining(preset: Preset, network: Network | InstanceNetwork) -> None:
    """Refuse a preset whose tables do not go together.

    Raises:
        MismatchError: If there are maps and nobody to draw them, or the other way round.
    """
    if (preset.pretrain is None) != (preset.maps is None):
        missing = "maps" if preset.maps is None else "pretrain"
        raise MismatchError(f"[pretrain] and [maps] go together, and the preset has no [{missing}]")
    if preset.pretrain is not None and not _has_generator(network):
        raise MismatchError(
            f"model {preset.model.name} has no generator to draw maps with",
            hint="model.name=map-guided-deeplabv3, or no [pretrain] and [maps]",
        )


def triplets_of(preset: Preset, network: Network | InstanceNetwork, *, pictures: bool = False) -> Triplets:
    """Say what chips hold for a network."""
    test_share = preset.training.test_share
    if preset.maps is None or not pictures:
        return Triplets(scale=network.scale, test_share=test_share)
    return Triplets(
        scale=network.scale, maps=preset.maps.layers, style=preset.maps.style, test_share=test_share
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstPhase:
    """What is learned before the joint phase, and where it is kept."""

    data: Path
    """Folder of rasters, annotations and maps."""
    preset: Preset
    """With tables `[pretrain]` and `[maps]`."""
    run: Path
    """The run folder."""
    plan: Mapping[str, Any]
    """Everything that decides the joint model's weights."""
    card: ModelCard
    """Of the joint model."""


def learn_to_draw(
    phase: FirstPhase, devices: Devices, *, restart: bool, progress: Progress
) -> tuple[MapExample, ...]:
    """Train the generator, unless an earlier run has done so, and leave its model file in the run folder.

    It learns on the first device only.

    Args:
        phase: What to learn.
        devices: Of the training.
        restart: Pass over what an earlier run has left.
        progress: Hears of every step.

    Returns:
        Chips to compare maps on; none without validation ground.

    Raises:
        BuildmapError: As `train` does.
    """
    preset = phase.preset
    network = fresh_network(preset)
    drawing = Drawing(path=phase.run, plan=_plan(phase.plan))
    if not restart:
        drawing.load()
    generator, card = _generator(preset, network), generator_card(preset, phase.card)
    first = Devices(kind=devices.kind, indices=devices.indices[:1])
    triplets = triplets_of(preset, network, pictures=True)
    with Chips(phase.data, preset, progress=progress, triplets=triplets) as chips:
        task: Task[None] = partial(pretrain, generator, chips, preset, drawing, card)
        run_on(first, task, precision=preset.training.precision, progress=progress)
        return choose_examples(chips.validation_batches())


def network_of(preset: Preset, run: Path) -> Network | InstanceNetwork:
    """Make a preset's network, with what its generator has learned where it has one to train.

    Raises:
        MissingInput: If the run folder has no generator.
        MismatchError: If it is of another size.
    """
    network = fresh_network(preset)
    if preset.pretrain is not None and isinstance(network, MapGuided):
        adopt_generator(network, load_generator(Drawing(path=run, plan={}).generator))
    return network


def compare_maps(
    examples: tuple[MapExample, ...] | None,
    network: nn.Module,
    preset: Preset,
    run: Path,
    *,
    device: torch.device,
) -> Path | None:
    """Draw what the generator made of some chips before and after the joint training; None without chips."""
    if not examples or not isinstance(network, MapGuided):
        return None
    path = run / "maps.png"
    before = load_generator(Drawing(path=run, plan={}).generator)
    draw_map_figure(examples, before, network, preset.data, path, device=device)
    return path


def generator_card(preset: Preset, card: ModelCard) -> ModelCard:
    """Describe the generator alone."""
    model = Model(name="esrgan", width=preset.model.width, depth=preset.model.depth)
    return ModelCard(
        title=f"{preset.title}: its generator of maps",
        model=model,
        data=preset.data,
        stride=Generator.stride,
        window_px=card.window_px,
        halo_px=card.halo_px,
        threshold=card.threshold,
        scale=Generator.scale,
        classes=("red", "green", "blue"),
        license=preset.license,
        training_data=preset.training_data,
        fingerprint="",
    )


def _generator(preset: Preset, network: nn.Module) -> Generator:
    """Give the network's generator, with the weights to begin with."""
    if not isinstance(network, MapGuided) or not isinstance(network.front, Generator):
        raise TypeError("a network without a generator")
    if preset.pretrain is not None and preset.pretrain.generator is not None:
        adopt_generator(network, load_generator(Path(preset.pretrain.generator)))
    return network.front


def _has_generator(network: nn.Module) -> bool:
    return isinstance(network, MapGuided) and isinstance(network.front, Generator)


def _plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what decides the generator's weights."""
    tables = {name: plan[name] for name in _TABLES}
    return {**tables, "training": {name: plan["training"][name] for name in _TRAINING}}
