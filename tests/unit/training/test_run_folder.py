"""What a training leaves for the next one to go on from."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn

from buildmap.errors import MismatchError
from buildmap.models.checkpoint import load_checkpoint
from buildmap.training.loop import fresh_network
from buildmap.training.record import EpochRecord
from buildmap.training.run_folder import RunFolder
from tests.networks import make_card
from tests.unit.training.fakes import PRESET
from tests.unit.training.test_record import with_ious

PLAN = {"training": {"epochs": 3, "seed": 0}, "files": {"a.tif": "01"}}
CARD = make_card(model=PRESET.model, stride=4)


def keep(run: RunFolder, seed: int, records: Sequence[EpochRecord], *, best: bool = True) -> nn.Module:
    """Keep a network, and two numbers besides, after the last of some epochs."""
    network = fresh_network(replace(PRESET, training=replace(PRESET.training, seed=seed)))
    weights = network.state_dict()
    state = {**weights, "more": torch.tensor([seed, 7])}
    run.save(state, records, CARD, best=weights if best else None)
    return network


def same(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


def test_an_earlier_run_s_state_and_records_are_handed_over_once(tmp_path: Path) -> None:
    records = with_ious(0.5, 0.6)
    network = keep(RunFolder(tmp_path / "m.run", PLAN), 3, records)
    run = RunFolder(tmp_path / "m.run", PLAN)
    state = run.take_state()
    assert list(run.records) == records
    assert state.pop("more").tolist() == [3, 7]
    assert state.keys() == network.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert run.take_state() == {}


def test_without_an_earlier_run_there_is_nothing_and_nothing_is_written(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "m.run", PLAN)
    assert (run.records, run.take_state()) == ((), {})
    assert list(tmp_path.iterdir()) == []


def test_best_weights_stay_until_there_are_better_ones(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "m.run", PLAN)
    good = keep(run, 1, with_ious(0.5))
    keep(run, 2, with_ious(0.5, 0.4), best=False)
    assert same(load_checkpoint(run.best)[0], good)
    better = keep(run, 3, with_ious(0.5, 0.4, 0.6))
    assert same(load_checkpoint(run.best)[0], better)


def test_metrics_have_one_line_an_epoch(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "m.run", PLAN)
    keep(run, 1, with_ious(0.5))
    keep(run, 2, with_ious(0.5, 0.4))
    lines = run.metrics.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["iou"] for line in lines] == [0.5, 0.4]


@pytest.mark.parametrize(
    ("plan", "named"),
    [
        ({**PLAN, "training": {"epochs": 4, "seed": 0}}, "training.epochs 3, this one has 4"),
        ({**PLAN, "files": {"a.tif": "02"}}, "files.a.tif '01', this one has '02'"),
        ({**PLAN, "files": {}}, "files.a.tif '01', this one has None"),
    ],
)
def test_another_plan_is_refused_naming_the_difference(
    tmp_path: Path, plan: dict[str, object], named: str
) -> None:
    keep(RunFolder(tmp_path / "m.run", PLAN), 1, with_ious(0.5))
    with pytest.raises(MismatchError) as caught:
        RunFolder(tmp_path / "m.run", plan)
    assert named in str(caught.value)
    assert "--restart" in str(caught.value.hint)


def test_restart_passes_over_an_earlier_run_and_replaces_it(tmp_path: Path) -> None:
    keep(RunFolder(tmp_path / "m.run", PLAN), 1, with_ious(0.9, 0.95))
    run = RunFolder(tmp_path / "m.run", {"other": 1}, restart=True)
    assert run.records == ()
    anew = keep(run, 2, with_ious(0.1))
    assert same(load_checkpoint(run.best)[0], anew)
    assert [r.iou for r in RunFolder(tmp_path / "m.run", {"other": 1}).records] == [0.1]


def test_a_new_run_s_best_never_lies_beside_an_old_run_s_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(RunFolder(tmp_path / "m.run", PLAN), 1, with_ious(0.9))
    run = RunFolder(tmp_path / "m.run", {"other": 1}, restart=True)

    def killed(*_: object, **__: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("buildmap.training.run_folder.save", killed)
    with pytest.raises(KeyboardInterrupt):
        keep(run, 2, with_ious(0.1))
    assert RunFolder(tmp_path / "m.run", PLAN).records == ()


@pytest.mark.parametrize("damage", ["text", "stranger", "no best"])
def test_a_state_that_cannot_be_read_asks_for_a_restart(tmp_path: Path, damage: str) -> None:
    run = RunFolder(tmp_path / "m.run", PLAN)
    keep(run, 1, with_ious(0.5))
    if damage == "text":
        run.state.write_text("nothing of the kind")
    elif damage == "stranger":
        run.state.write_bytes(save({"x": torch.zeros(1)}))
    else:
        run.best.unlink()
    with pytest.raises(MismatchError, match="cannot go on") as caught:
        RunFolder(tmp_path / "m.run", PLAN)
    assert "--restart" in str(caught.value.hint)


def test_scalars_are_written_where_tensorboard_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[Path, int]] = []

    class Writes:
        def __init__(self, folder: Path) -> None:
            self.folder = folder

        def write(self, records: Sequence[EpochRecord]) -> None:
            written.append((self.folder, len(records)))

    monkeypatch.setattr("buildmap.training.run_folder.Scalars", Writes)
    keep(RunFolder(tmp_path / "m.run", PLAN), 1, with_ious(0.5))
    assert written == []
    keep(RunFolder(tmp_path / "m.run", PLAN, tensorboard=True), 1, with_ious(0.5, 0.6))
    assert written == [(tmp_path / "m.run" / "tensorboard", 2)]
