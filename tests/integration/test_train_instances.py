"""A network that finds buildings one by one is killed while it learns, and goes on to the same bytes."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from buildmap.data.dataset import Chips
from buildmap.execution.progress import Silent
from buildmap.preset import Instances, Model, Preset, find_preset
from buildmap.training.device import open_fabric
from buildmap.training.loop import fit, fresh_network
from buildmap.training.record import EpochRecord
from buildmap.training.run_folder import RunFolder
from tests.models.small_encoders import RESNET
from tests.networks import make_card
from tests.unit.data.material import write_pair
from tests.unit.training.tasks import Interrupts

LITE = find_preset("lite")
PARTS = Instances(roi_px=14, most=16, anchor_px=(8, 16, 32))
PRESET: Preset = replace(
    LITE,
    model=Model(name="mask-rcnn", width=32, encoder=RESNET, instances=PARTS),
    data=replace(LITE.data, gsd_min_m=0.5, gsd_max_m=0.5),
    augment=replace(LITE.augment, gsd="native"),
    training=replace(
        LITE.training, chip_px=64, batch_size=2, steps_per_epoch=3, epochs=3, learning_rate=1e-3
    ),
    predict=replace(LITE.predict, window_px=64, halo_px=0),
)
PRESETS = {
    "mask-rcnn": PRESET,
    "fcos": replace(PRESET, model=replace(PRESET.model, name="fcos")),
}


class Dies(Silent):
    """Ends the process at once after some steps."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, steps: int = 1) -> None:
        self.left -= steps
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def learn(data: Path, run: Path, name: str, listener: Silent | None = None) -> tuple[EpochRecord, ...]:
    torch.set_num_threads(1)  # sums differ by their order
    preset = PRESETS[name]
    network = fresh_network(preset)
    card = make_card(model=preset.model, stride=network.stride)
    with Chips(data, preset) as chips:
        return fit(
            network, chips, preset, card, RunFolder(run, {"plan": 1}), fabric=open_fabric("cpu"),
            progress=listener or Silent(),
        )  # fmt: skip


def known(record: EpochRecord) -> EpochRecord:
    """Leave out what depends on the clock."""
    return replace(record, seconds=0, chips_per_s=0, read_wait_share=0)


def check(folder: Path, whole: tuple[EpochRecord, ...], resumed: tuple[EpochRecord, ...]) -> None:
    """See that two goes have led to the same as one, and somewhere."""
    assert [known(record) for record in resumed] == [known(record) for record in whole]
    files = [folder / run / "best.safetensors" for run in ("whole.run", "m.run")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert [record.skipped_steps for record in whole] == [0, 0, 0]
    assert whole[-1].train_loss is not None and whole[0].train_loss is not None
    assert whole[-1].train_loss < whole[0].train_loss
    assert whole[-1].validation_loss is not None and whole[0].validation_loss is not None
    assert whole[-1].validation_loss < whole[0].validation_loss


def test_killed_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "m.run"
    write_pair(data, "town", height=256, width=256)
    code = (
        "from pathlib import Path; from tests.integration.test_train_instances import Dies, learn; "
        f"learn(Path({str(data)!r}), Path({str(run)!r}), 'mask-rcnn', Dies(4))"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    check(tmp_path, learn(data, tmp_path / "whole.run", "mask-rcnn"), learn(data, run, "mask-rcnn"))


def test_interrupted_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "m.run"
    write_pair(data, "town", height=256, width=256)
    with pytest.raises(KeyboardInterrupt):
        learn(data, run, "fcos", Interrupts(4))
    check(tmp_path, learn(data, tmp_path / "whole.run", "fcos"), learn(data, run, "fcos"))
