"""A generator's training goes on where it was cut short, and ends in a model file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from buildmap.data.dataset import Batch
from buildmap.errors import MismatchError
from buildmap.execution.progress import Silent
from buildmap.models import build_model
from buildmap.models.checkpoint import load_checkpoint, read_tensors, save_checkpoint
from buildmap.models.esrgan import Generator
from buildmap.preset import Model, Preset, Pretrain, find_preset
from buildmap.training.device import open_fabric
from buildmap.training.pretraining import Drawing, load_generator, pretrain
from tests.networks import make_card
from tests.unit.training.test_adversaries import PLAN, batch, by_hand, generator

CPU = open_fabric("cpu")
LITE = find_preset("lite")
CARD = make_card(
    model=Model(name="esrgan", width=2, depth=1), stride=1, scale=4, classes=("red", "green", "blue")
)


class Pictures:
    """Gives a batch for each step, up to one at which the power fails."""

    def __init__(self, fails_at: int | None = None) -> None:
        self._fails_at = fails_at

    def training_batch(self, step: int) -> Batch:
        if step == self._fails_at:
            raise KeyboardInterrupt
        return batch(step)


def preset(**changes: Any) -> Preset:
    training = replace(LITE.training, chip_px=4, seed=2)
    return replace(LITE, training=training, pretrain=replace(PLAN, iterations=6, **changes))


def run(
    folder: Path,
    of: Preset,
    *,
    fails_at: int | None = None,
    plan: Mapping[str, Any] | None = None,
    begin: Generator | None = None,
) -> Drawing:
    drawing = Drawing(path=folder, plan=plan or {"seed": 2})
    drawing.load()
    pictures: Any = Pictures(fails_at)
    pretrain(begin or generator(), pictures, of, drawing, CARD, fabric=CPU, progress=Silent())
    return drawing


def test_the_model_file_holds_the_running_mean(tmp_path: Path) -> None:
    drawing = run(tmp_path / "run", preset())
    _, _, average = by_hand([batch(step) for step in range(6)], PLAN)
    network, card = load_checkpoint(drawing.generator)
    assert isinstance(network, Generator)
    assert card.classes == ("red", "green", "blue")
    for name, expected in average.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], expected, rtol=1e-4, atol=1e-6)
    assert [line["step"] for line in drawing.lines] == [6]
    assert drawing.lines[0].keys() == {"step", "l1", "perceptual", "adversarial", "discriminator"}


def test_a_run_that_was_cut_short_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", preset(keep_steps=2))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", preset(keep_steps=2), fails_at=5)
    cut = Drawing(path=tmp_path / "cut", plan={"seed": 2})
    cut.load()
    assert (cut.steps, cut.generator.exists()) == (4, False)
    again = run(tmp_path / "cut", preset(keep_steps=2))
    assert again.generator.read_bytes() == whole.generator.read_bytes()
    one, other = (read_tensors(drawing.state)[0] for drawing in (whole, again))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_run_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    first = run(tmp_path / "run", preset())
    before = first.generator.read_bytes()
    first.generator.unlink()  # killed between the two files
    second = run(tmp_path / "run", preset(), fails_at=0)
    assert second.generator.read_bytes() == before


def test_another_plan_and_a_damaged_state_are_refused(tmp_path: Path) -> None:
    drawing = run(tmp_path / "run", preset())
    with pytest.raises(MismatchError, match="had seed 2, this one has 3") as caught:
        run(tmp_path / "run", preset(), plan={"seed": 3})
    assert "--restart" in str(caught.value.hint)
    drawing.state.write_bytes(drawing.state.read_bytes()[:100])
    with pytest.raises(MismatchError, match=r"cannot go on from .*pretraining\.safetensors"):
        run(tmp_path / "run", preset())


def test_without_a_step_the_generator_stays_as_it_is(tmp_path: Path) -> None:
    torch.manual_seed(9)
    begin = Generator(3, width=2, depth=1)
    drawing = run(tmp_path / "run", replace(preset(), pretrain=Pretrain(iterations=0)), begin=begin)
    kept = load_generator(drawing.generator).state_dict()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in begin.state_dict().items())


def test_pictures_must_suit_the_discriminator(tmp_path: Path) -> None:
    odd = preset()
    odd = replace(odd, training=replace(odd.training, chip_px=5))
    with pytest.raises(MismatchError, match=r"chip_px 5 makes pictures of 20 px, no multiple of .* stride 8"):
        run(tmp_path / "run", odd)


def test_only_a_generator_is_read_as_one(tmp_path: Path) -> None:
    card = make_card(model=Model(name="shallow-net", width=2), stride=1)
    save_checkpoint(tmp_path / "m.safetensors", build_model(card.model, 3, 1).state_dict(), card)
    with pytest.raises(MismatchError, match="holds the model shallow-net, no generator"):
        load_generator(tmp_path / "m.safetensors")
