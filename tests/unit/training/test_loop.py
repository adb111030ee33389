"""The loop: it learns, survives bad batches, gives up in time, and goes on where it stopped."""

import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from buildmap.errors import DivergedError, MismatchError, ResourceError
from buildmap.execution.progress import Silent
from buildmap.models.checkpoint import load_checkpoint
from buildmap.preset import Preset, Sampling
from buildmap.training import loop
from buildmap.training.device import open_fabric
from buildmap.training.learner import MOST_RETURNS, PATIENCE, Learned, Learner
from buildmap.training.loop import fit, fresh_network
from buildmap.training.record import EpochRecord
from buildmap.training.run_folder import RunFolder
from tests.networks import make_card
from tests.unit.training import tasks
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


def known(record: EpochRecord) -> EpochRecord:
    """Leave out what depends on the clock."""
    return replace(record, seconds=0, chips_per_s=0, read_wait_share=0)


def same_files(one: Path, other: Path) -> bool:
    return (one / "best.safetensors").read_bytes() == (other / "best.safetensors").read_bytes()


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

    def note(self: Learner, parts: object, step: int) -> Learned:  # noqa: ARG001
        learned.append(step)
        return Learned(loss=0.0)

    monkeypatch.setattr(Learner, "learn", note)
    chips = FakeChips()
    run_fit(tmp_path / "m.run", chips)
    assert learned == list(range(4 * STEPS))
    assert sorted(chips.asked) == learned


@pytest.mark.parametrize("interrupted_after", [2, 2 * STEPS + 3, 4 * STEPS - 1])
def test_an_interrupted_training_ends_with_the_same_bits(tmp_path: Path, interrupted_after: int) -> None:
    whole = run_fit(tmp_path / "whole.run", FakeChips())
    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path / "m.run", FakeChips(), listener=tasks.Interrupts(interrupted_after))
    chips = FakeChips()
    resumed = run_fit(tmp_path / "m.run", chips)
    assert min(chips.asked) == interrupted_after // STEPS * STEPS
    assert [known(record) for record in resumed] == [known(record) for record in whole]
    assert same_files(tmp_path / "whole.run", tmp_path / "m.run")


EVERYTHING = replace(
    tasks.preset_with(
        optimizer="sgd", momentum=0.9, weight_decay=1e-3, schedule="cosine", warmup_steps=3,
        accumulate=2, clip_norm=0.5, ema_decay=0.7, metric="loss", patience_epochs=3, learning_rate=0.05,
    ),
    sampling=Sampling(hard_share=0.5),
)  # fmt: skip


@pytest.mark.parametrize("readers", [1, 3])
def test_every_setting_at_once_resumes_with_the_same_bits_and_any_number_of_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readers: int
) -> None:
    def learn(name: str, listener: Silent) -> tuple[EpochRecord, ...]:
        task = partial(tasks.learn, tmp_path / name, EVERYTHING, {}, "dropout")
        return task(fabric=open_fabric("cpu"), progress=listener)

    whole = learn("whole.run", Silent())
    for stop in (STEPS + 2, 3 * STEPS):
        with pytest.raises(KeyboardInterrupt):
            learn(f"{stop}.run", tasks.Interrupts(stop))
        monkeypatch.setattr(loop, "_FEWEST_READERS", readers)
        assert [known(record) for record in learn(f"{stop}.run", Silent())] == [known(r) for r in whole]
        assert same_files(tmp_path / "whole.run", tmp_path / f"{stop}.run")
        states = [
            RunFolder(tmp_path / name, {"plan": 1}).take_state() for name in ("whole.run", f"{stop}.run")
        ]
        assert states[0].keys() == states[1].keys() > {"hardness.all", "learner.average.n_averaged"}
        assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_losses_noted_in_an_epoch_lay_the_next_one_s_chips(tmp_path: Path) -> None:
    preset = replace(PRESET, sampling=Sampling(hard_share=0.5))
    hard = run_fit(tmp_path / "hard.run", FakeChips(hard=True), preset)
    plain = run_fit(tmp_path / "plain.run", FakeChips())
    assert hard[0].train_loss == plain[0].train_loss
    assert hard[1].train_loss != plain[1].train_loss


def test_every_chip_s_loss_is_noted_with_its_place(tmp_path: Path) -> None:
    chips = FakeChips(spoiled=frozenset({2}))
    noted: list[int] = []
    chips.note_losses = lambda places, losses: noted.extend(places[losses > 0, :2].tolist())  # type: ignore[method-assign]
    preset = replace(tasks.preset_with(accumulate=2, epochs=1), sampling=Sampling(hard_share=0.5))
    run_fit(tmp_path / "m.run", chips, preset)
    assert noted == [[step, chip] for step in (0, 1, 3, 4) for chip in range(4)]


def test_it_stops_when_the_metric_has_not_risen_for_long_enough(tmp_path: Path) -> None:
    preset = tasks.preset_with(epochs=30, learning_rate=0.0001, schedule="constant", patience_epochs=2)
    chips = FakeChips(validation=1)
    chips.training_part = lambda step, part, parts: spoil(make_batch(step))  # type: ignore[method-assign, misc]  # noqa: ARG005
    records = run_fit(tmp_path / "m.run", chips, preset)
    assert len(records) == 3
    again = FakeChips(validation=1)
    assert run_fit(tmp_path / "m.run", again, preset) == records
    assert again.asked == []


def test_the_running_mean_is_what_is_judged_and_kept(tmp_path: Path) -> None:
    preset = tasks.preset_with(ema_decay=0.9, epochs=1)
    run_fit(tmp_path / "m.run", FakeChips(validation=0), preset)
    state = RunFolder(tmp_path / "m.run", {"plan": 1}).take_state()
    best = load_checkpoint(tmp_path / "m.run" / "best.safetensors")[0].state_dict()
    assert all(torch.equal(t, state[f"learner.average.module.{name}"]) for name, t in best.items())
    assert not torch.equal(best["head.0.weight"], state["learner.network.head.0.weight"])


def test_a_batch_the_parts_cannot_share_is_refused(tmp_path: Path) -> None:
    preset, run = tasks.preset_with(batch_size=6, accumulate=2), RunFolder(tmp_path / "m.run", {})
    network, two = fresh_network(preset), SimpleNamespace(world_size=2)
    with pytest.raises(
        MismatchError, match="batch_size 6 cannot be shared by 2 devices in 2 parts"
    ) as caught:
        fit(network, FakeChips(), preset, CARD, run, fabric=two, progress=Silent())  # type: ignore[arg-type]
    assert "multiple of 4" in str(caught.value.hint)


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


def test_many_skipped_steps_in_a_row_put_good_weights_back_and_then_end_it(tmp_path: Path) -> None:
    last = 7 + PATIENCE * (MOST_RETURNS + 1)
    where = f"epoch {(last - 1) // STEPS + 1}, step {last}, on chips of north, south"
    chips = FakeChips(spoiled=frozenset(range(7, 100)))
    with pytest.raises(DivergedError, match=where) as caught:
        run_fit(tmp_path / "m.run", chips, tasks.preset_with(epochs=10))
    assert "learning_rate" in str(caught.value.hint)
    records = RunFolder(tmp_path / "m.run", {"plan": 1}).records
    assert [record.went_back for record in records] == [0, 0, 0, 1, 0, 1, 0]
    with pytest.raises(DivergedError, match=where):
        run_fit(tmp_path / "m.run", chips, tasks.preset_with(epochs=10))


def test_a_run_stopped_amid_skipped_steps_ends_with_the_same_bits(tmp_path: Path) -> None:
    preset = tasks.preset_with(epochs=6, ema_decay=0.5)
    spoiled = frozenset(range(8, 8 + PATIENCE + 3))
    whole = run_fit(tmp_path / "whole.run", FakeChips(spoiled=spoiled), preset)
    assert [record.went_back for record in whole] == [0, 0, 0, 1, 0, 0]
    assert [record.skipped_steps for record in whole] == [0, 2, 5, 5, 1, 0]
    for stop in (2 * STEPS, 4 * STEPS + 4):
        path = tmp_path / f"{stop}.run"
        with pytest.raises(KeyboardInterrupt):
            run_fit(path, FakeChips(spoiled=spoiled), preset, tasks.Interrupts(stop))
        resumed = run_fit(path, FakeChips(spoiled=spoiled), preset)
        assert [known(record) for record in resumed] == [known(record) for record in whole]
        assert same_files(tmp_path / "whole.run", path)


def test_one_finite_loss_in_between_is_enough_to_go_on(tmp_path: Path) -> None:
    chips = FakeChips(spoiled=frozenset(range(1, 19)) - {10})
    assert sum(record.skipped_steps for record in run_fit(tmp_path / "m.run", chips)) == 17


def test_without_validation_ground_the_last_weights_are_kept(tmp_path: Path) -> None:
    preset = replace(PRESET, training=replace(PRESET.training, epochs=2))
    records = run_fit(tmp_path / "m.run", FakeChips(validation=0), preset)
    assert [record.iou for record in records] == [None, None]
    last = load_checkpoint(tmp_path / "m.run" / "best.safetensors")[0].state_dict()
    network = fresh_network(preset)
    state = RunFolder(tmp_path / "m.run", {"plan": 1}).take_state()
    assert len(last) == len(network.state_dict())
    assert all(torch.equal(tensor, state[f"learner.network.{name}"]) for name, tensor in last.items())


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
    def full(*_: object) -> Learned:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Learner, "learn", full)
    with pytest.raises(ResourceError, match="4 chips") as caught:
        run_fit(tmp_path / "m.run", FakeChips())
    assert "batch_size" in str(caught.value.hint)


def test_no_reading_thread_outlives_a_failure(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path / "m.run", FakeChips(), listener=tasks.Interrupts(3))
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("kind", "cpus", "processes", "readers"),
    [("cpu", 64, 1, 2), ("cuda", 6, 1, 6), ("cuda", 64, 4, 8), ("cuda", 8, 8, 2), ("cuda", None, 1, 2)],
)
def test_a_gpu_is_fed_by_more_threads_where_there_are_cpus(
    monkeypatch: pytest.MonkeyPatch, kind: str, cpus: int | None, processes: int, readers: int
) -> None:
    monkeypatch.setattr(loop.os, "cpu_count", lambda: cpus)
    fabric: Any = SimpleNamespace(device=torch.device(kind), world_size=processes)
    assert loop._readers(fabric) == readers
