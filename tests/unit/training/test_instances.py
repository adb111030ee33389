"""A network that finds buildings one by one goes through the same loop as any other."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from buildmap.errors import DivergedError, MismatchError
from buildmap.execution.progress import Silent
from buildmap.models.checkpoint import read_tensors
from buildmap.preset import Preset, Sampling
from buildmap.training.device import Devices, open_fabric
from buildmap.training.learner import MOST_RETURNS, PATIENCE
from buildmap.training.processes import run_on
from buildmap.training.record import EpochRecord, best_record
from tests.unit.training.instances import ONE_BY_ONE, learn_in_turn, learn_instances
from tests.unit.training.tasks import Interrupts

STEPS = ONE_BY_ONE.training.steps_per_epoch


def preset_with(**training: object) -> Preset:
    return replace(ONE_BY_ONE, training=replace(ONE_BY_ONE.training, **training))  # type: ignore[arg-type]


EVERYTHING = preset_with(
    optimizer="sgd", momentum=0.9, weight_decay=1e-3, schedule="cosine", warmup_steps=3,
    accumulate=2, clip_norm=0.5, ema_decay=0.7, metric="loss", patience_epochs=3, learning_rate=0.05,
)  # fmt: skip


def learn(
    path: Path, preset: Preset = ONE_BY_ONE, listener: Silent | None = None, **chips: object
) -> tuple[EpochRecord, ...]:
    return learn_instances(
        path, preset, chips, {}, fabric=open_fabric("cpu", precision=preset.training.precision),
        progress=listener or Silent(),
    )  # fmt: skip


def known(records: tuple[EpochRecord, ...]) -> list[EpochRecord]:
    """Leave out what depends on the clock."""
    return [replace(record, seconds=0, chips_per_s=0, read_wait_share=0) for record in records]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_learns_what_a_building_looks_like(tmp_path: Path, precision: str) -> None:
    records = learn(tmp_path / "m.run", preset_with(epochs=8, precision=precision))
    last, first = records[-1], records[0]
    assert last.iou is not None and last.iou > 0.8
    assert last.f1 == pytest.approx(2 * last.iou / (1 + last.iou), abs=1e-6)
    assert last.balanced_accuracy is not None and last.balanced_accuracy > 0.9
    assert last.train_loss is not None and first.train_loss is not None
    assert last.train_loss < 0.7 * first.train_loss
    assert last.validation_loss is not None and first.validation_loss is not None
    assert last.validation_loss < 0.7 * first.validation_loss
    assert set(last.iou_by_source) == {"north", "south"}
    assert best_record(records).iou == max(record.iou for record in records if record.iou is not None)


@pytest.mark.parametrize("preset", [ONE_BY_ONE, EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize("interrupted_after", [2, 2 * STEPS + 3])
def test_an_interrupted_training_ends_with_the_same_bits(
    tmp_path: Path, preset: Preset, interrupted_after: int
) -> None:
    whole = learn(tmp_path / "whole.run", preset)
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "m.run", preset, Interrupts(interrupted_after))
    assert known(learn(tmp_path / "m.run", preset)) == known(whole)
    files = [tmp_path / name / "best.safetensors" for name in ("whole.run", "m.run")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_threshold_of_the_preset_decides_what_counts_as_building(tmp_path: Path) -> None:
    strict = replace(ONE_BY_ONE, predict=replace(ONE_BY_ONE.predict, threshold=0.999))
    records, other = learn(tmp_path / "m.run"), learn(tmp_path / "strict.run", strict)
    assert [record.train_loss for record in records] == [record.train_loss for record in other]
    assert records[-1].iou is not None and records[-1].iou > 0.5
    assert all(tp == fp == 0 for tp, fp, _, _ in other[0].counts_by_source.values())
    assert records[0].iou is not None and records[0].iou > 0


def test_steps_without_a_finite_loss_are_skipped_and_many_in_a_row_end_it(tmp_path: Path) -> None:
    records = learn(tmp_path / "m.run", spoiled=frozenset({1, 7, 8}))
    assert [record.skipped_steps for record in records] == [1, 2, 0, 0]
    assert all(
        tensor.isfinite().all()
        for tensor in read_tensors(tmp_path / "m.run" / "best.safetensors")[0].values()
    )
    last = 7 + PATIENCE * (MOST_RETURNS + 1)
    with pytest.raises(DivergedError, match=f"step {last}, on chips of north, south"):
        learn(tmp_path / "n.run", preset_with(epochs=10), spoiled=frozenset(range(7, 100)))


def test_chips_cannot_be_laid_by_losses_of_pixels(tmp_path: Path) -> None:
    preset = replace(ONE_BY_ONE, sampling=Sampling(hard_share=0.5))
    with pytest.raises(MismatchError, match=r"hard_share 0.5 lays chips by the losses of pixels") as caught:
        learn(tmp_path / "m.run", preset)
    assert "hard_share to 0" in str(caught.value.hint)


def test_two_processes_learn_what_one_learns_and_go_on_where_they_stopped(tmp_path: Path) -> None:
    presets = {
        f"in {parts}": preset_with(
            epochs=2, steps_per_epoch=2, accumulate=parts, optimizer="sgd", learning_rate=0.5
        )
        for parts in (1, 2)
    }
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    alone = learn_in_turn(one, presets, fabric=open_fabric("cpu"), progress=Silent())
    devices = Devices(kind="cpu", indices=(0, 1))
    together = run_on(devices, partial(learn_in_turn, two, presets), precision="float32", progress=Silent())
    for name in presets:
        assert known(together[f"{name}-stopped"]) == known(together[name])
        files = [two / run / "best.safetensors" for run in (f"{name}.run", f"{name}-stopped.run")]
        assert files[0].read_bytes() == files[1].read_bytes()
        for record, other in zip(alone[name], together[name], strict=True):
            assert other.train_loss == pytest.approx(record.train_loss, rel=1e-5)
            assert other.validation_loss == pytest.approx(record.validation_loss, rel=1e-5)
            assert other.counts_by_source == record.counts_by_source
        weights = [read_tensors(path / f"{name}.run" / "best.safetensors")[0] for path in (one, two)]
        for tensor, other in zip(weights[0].values(), weights[1].values(), strict=True):
            torch.testing.assert_close(tensor, other, rtol=1e-4, atol=1e-5)
