"""TensorBoard's files, with a stand-in for TensorBoard, which need not be installed."""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from buildmap.errors import ResourceError
from buildmap.training.tensorboard import Scalars
from tests.unit.training.test_record import RECORD, with_ious

WRITTEN: list[tuple[str, float, int]] = []


class Writer:
    """What `torch.utils.tensorboard` gives, as far as we use it."""

    def __init__(self, log_dir: str) -> None:
        self.folder = Path(log_dir)
        self.folder.mkdir(parents=True)

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        WRITTEN.append((tag, scalar_value, global_step))

    def flush(self) -> None:
        (self.folder / "events").write_text(str(len(WRITTEN)))


@pytest.fixture
def _tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    WRITTEN.clear()


@pytest.mark.usefixtures("_tensorboard")
def test_every_number_of_an_epoch_is_a_scalar_and_what_is_unknown_is_not(tmp_path: Path) -> None:
    Scalars(tmp_path / "tensorboard").write([replace(RECORD, epoch=3, f1=0.4)])
    assert {tag: value for tag, value, _ in WRITTEN} == {
        "loss/training": 0.5,
        "validation/iou": 0.25,
        "validation/f1": 0.4,
        "training/learning_rate": 0.001,
        "training/skipped_steps": 0,
        "training/chips_per_s": 40.0,
        "training/read_wait_share": 0.01,
        "validation_iou/images/ü": 0.25,
    }
    assert {epoch for _, _, epoch in WRITTEN} == {3}
    assert (tmp_path / "tensorboard" / "events").exists()


@pytest.mark.usefixtures("_tensorboard")
def test_every_epoch_is_written_once_also_those_of_a_run_that_goes_on(tmp_path: Path) -> None:
    first = Scalars(tmp_path / "t")
    first.write(with_ious(0.1))
    first.write(with_ious(0.1, 0.2))
    assert [(v, e) for tag, v, e in WRITTEN if tag == "validation/iou"] == [(0.1, 1), (0.2, 2)]
    (tmp_path / "t" / "old").write_text("of the earlier run")
    WRITTEN.clear()
    Scalars(tmp_path / "t").write(with_ious(0.1, 0.2, 0.3))
    assert [(v, e) for tag, v, e in WRITTEN if tag == "validation/iou"] == [(0.1, 1), (0.2, 2), (0.3, 3)]
    assert not (tmp_path / "t" / "old").exists()


def test_without_tensorboard_the_hint_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(ResourceError, match="not installed") as caught:
        Scalars(tmp_path)
    assert caught.value.hint == "pip install tensorboard"
