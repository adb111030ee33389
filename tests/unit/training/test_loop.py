"""The loop: it learns, survives bad batches, gives up in time, and goes on where it stopped."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from buildmap.errors import DivergedError, ResourceError
from buildmap.execution.progress import Silent
from buildmap.models.checkpoint import load_checkpoint
from buildmap.preset import Preset
from buildmap.training.device import open_fabric
from buildmap.training.loop import Learner, fit, fresh_network
from buildmap.training.record import EpochRecord
from buildmap.training.run_folder import RunFolder
from tests.networks import make_card
from tests.unit.training.fakes import PRESET, FakeChips, make_batch, spoil

CARD = make_card(model=PRESET.model, stride=4)
STEPS = PRESET.training.steps_per_epoch


def run_fit(
    path: Path, chips: FakeChips, preset: Preset = PRESET, listener: Silent | None = None
) -> tuple[EpochRecord, ...]:
    return fit(
        fresh_network(preset),
        chips,
        preset,
        CARD,
        RunFolder(path, {"plan": 1}),
        fabric=open_fabric("cpu", precision=preset.training.precision),
        progress=listener or Silent(),
    )


class Interrupts(Silent):
    """Stops the run in the middle of an epoch."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, steps: int = 1) -> None:
        self.left -= steps
        if self.left < 0:
            raise KeyboardInterrupt


def test_it_learns_what_a_building_looks_like(tmp_path: Path) -> None:
    records = run_fit(tmp_path / "m.run", FakeChips())
    assert [record.epoch for record in records] == [1, 2, 3, 4]
    assert records[-1].iou is not None and records[-1].iou > 0.9
    assert records[-1].train_loss is not None and records[0].train_loss is not None
    assert records[-1].train_loss < 0.7 * records[0].train_loss
    assert set(records[-1].iou_by_source) == {"north", "south"}
    assert all(record.skipped_steps == 0 and 0 <= record.read_wait_share <= 1 for record in records)


def test_every_step_s_batch_is_learned_from_once_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[int] = []

    def note(self: Learner, batch: object, step: int) -> float:  # noqa: ARG001
        learned.append(step)
        return 0.0

    monkeypatch.setattr(Learner, "learn", note)
    chips = FakeChips()
    run_fit(tmp_path / "m.run", chips)
    assert learned == list(range(4 * STEPS))
    assert sorted(chips.asked) == learned


@pytest.mark.parametrize("interrupted_after", [2, 2 * STEPS + 3, 4 * STEPS - 1])
def test_an_interrupted_training_ends_with_the_same_bits(tmp_path: Path, interrupted_after: int) -> None:
    whole = run_fit(tmp_path / "whole.run", FakeChips())
    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path / "m.run", FakeChips(), listener=Interrupts(interrupted_after))
    chips = FakeChips()
    resumed = run_fit(tmp_path / "m.run", chips)
    assert min(chips.asked) == interrupted_after // STEPS * STEPS
    assert [(r.train_loss, r.iou) for r in resumed] == [(r.train_loss, r.iou) for r in whole]
    best = [(tmp_path / name / "best.safetensors").read_bytes() for name in ("whole.run", "m.run")]
    assert best[0] == best[1]


def test_in_bfloat16_it_learns_as_well_and_to_the_same_bits(tmp_path: Path) -> None:
    preset = replace(PRESET, training=replace(PRESET.training, precision="bfloat16"))
    records = run_fit(tmp_path / "m.run", FakeChips(), preset)
    again = run_fit(tmp_path / "again.run", FakeChips(), preset)
    assert records[-1].iou is not None and records[-1].iou > 0.9
    assert [(r.train_loss, r.iou) for r in records] == [(r.train_loss, r.iou) for r in again]
    network, _ = load_checkpoint(tmp_path / "m.run" / "best.safetensors")
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    first = run_fit(tmp_path / "m.run", FakeChips())
    chips = FakeChips()
    assert run_fit(tmp_path / "m.run", chips) == first
    assert chips.asked == []


def test_steps_without_a_finite_loss_are_skipped_and_counted(tmp_path: Path) -> None:
    records = run_fit(tmp_path / "m.run", FakeChips(spoiled=frozenset({1, 7, 8})))
    assert [record.skipped_steps for record in records] == [1, 2, 0, 0]
    assert records[-1].iou is not None and records[-1].iou > 0.8
    network, _ = load_checkpoint(tmp_path / "m.run" / "best.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())


def make_learner() -> Learner:
    network = fresh_network(PRESET)
    optimizer = torch.optim.Adam(network.parameters())
    loss = torch.nn.Module()
    loss.forward = lambda logits, target, valid: ((logits[:, 0] - target)[valid]).square().mean()  # type: ignore[method-assign]
    return Learner(network, optimizer, loss, PRESET.training, open_fabric("cpu"))


def test_a_skipped_step_changes_nothing() -> None:
    learner = make_learner()
    assert learner.learn(make_batch(0), 0) is not None
    before = {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}
    assert learner.learn(spoil(make_batch(1)), 1) is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.network.state_dict().items())
    assert learner.learn(make_batch(2), 2) is not None
    assert not torch.equal(learner.network.state_dict()["head.0.bias"], before["head.0.bias"])


def test_ten_skipped_steps_in_a_row_end_it_naming_epoch_and_step(tmp_path: Path) -> None:
    chips = FakeChips(spoiled=frozenset(range(7, 100)))
    with pytest.raises(DivergedError, match="epoch 4, step 17") as caught:
        run_fit(tmp_path / "m.run", chips)
    assert "learning_rate" in str(caught.value.hint)


def test_one_finite_loss_in_between_is_enough_to_go_on(tmp_path: Path) -> None:
    chips = FakeChips(spoiled=frozenset(range(1, 19)) - {10})
    assert sum(record.skipped_steps for record in run_fit(tmp_path / "m.run", chips)) == 17


def test_without_validation_ground_the_last_weights_are_kept(tmp_path: Path) -> None:
    preset = replace(PRESET, training=replace(PRESET.training, epochs=2))
    records = run_fit(tmp_path / "m.run", FakeChips(validation=0), preset)
    assert [record.iou for record in records] == [None, None]
    last = load_checkpoint(tmp_path / "m.run" / "best.safetensors")[0].state_dict()
    network = fresh_network(preset)
    RunFolder(tmp_path / "m.run", {"plan": 1}).resume(network, torch.optim.Adam(network.parameters()))
    assert all(torch.equal(tensor, last[name]) for name, tensor in network.state_dict().items())


def test_equal_seeds_give_equal_weights_and_leave_torch_s_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = fresh_network(PRESET).state_dict()
    assert torch.equal(torch.rand(3), expected)
    again = fresh_network(PRESET).state_dict()
    other = fresh_network(replace(PRESET, training=replace(PRESET.training, seed=1))).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.0.weight"], other["head.0.weight"])


def test_a_full_gpu_says_what_to_lower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Learner, "learn", full)
    with pytest.raises(ResourceError, match="4 chips") as caught:
        run_fit(tmp_path / "m.run", FakeChips())
    assert "batch_size" in str(caught.value.hint)


def test_no_reading_thread_outlives_a_failure(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path / "m.run", FakeChips(), listener=Interrupts(3))
    assert threading.active_count() == before
