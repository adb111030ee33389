"""How a preset says that weights are learned; what cannot be is refused."""

from pathlib import Path
from typing import Any

import pytest

from buildmap.errors import MismatchError
from buildmap.preset import Pretrain, load_preset

LITE = Path("presets/lite.toml")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("batch_size = ", "batch_size = -"),
        ("epochs = ", "epochs = -"),
        ("learning_rate = ", "learning_rate = -"),
    ],
)
def test_a_training_that_cannot_be_is_refused(tmp_path: Path, old: str, new: str) -> None:
    (tmp_path / "p.toml").write_text(LITE.read_text().replace(old, new))
    with pytest.raises(MismatchError, match=r"training: \w+ -[\d.e-]+ is not positive"):
        load_preset(tmp_path / "p.toml")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"iterations": -1}, "iterations -1 is negative"),
        ({"keep_steps": 0}, "keep_steps 0 is not positive"),
        ({"betas": (0.9,)}, r"betas \[0.9\]"),
        ({"betas": (0.9, 1.0)}, r"betas \[0.9, 1.0\]"),
        ({"ema_decay": 1.0}, "ema_decay 1.0"),
        ({"l1": -1.0}, "negative, or all zero"),
        ({"l1": 0.0, "adversarial": 0.0}, "negative, or all zero"),
        ({"perceptual": 1.0}, "perceptual needs perceptual_weights"),
    ],
)
def test_a_pretraining_that_cannot_be_is_refused(wrong: dict[str, Any], said: str) -> None:
    right: dict[str, Any] = {"iterations": 10, "perceptual": 0.0}
    assert Pretrain(**right).l1 == 1
    with pytest.raises(ValueError, match=said):
        Pretrain(**right | wrong)


def test_a_generator_that_is_not_trained_needs_no_weights_for_its_loss() -> None:
    assert Pretrain(iterations=0).perceptual == 1
