"""A step of generator and discriminator against the same step written out."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Adam

from buildmap.data.dataset import Batch
from buildmap.errors import DivergedError
from buildmap.losses.perceptual import Perceptual, vgg19_features
from buildmap.losses.reconstruction import sharpen
from buildmap.models.esrgan import Discriminator, Generator
from buildmap.preset import Pretrain
from buildmap.training.adversaries import PATIENCE, Adversaries
from buildmap.training.device import open_fabric

CPU = open_fabric("cpu")
PLAN = Pretrain(
    iterations=1,
    perceptual=0.0,
    l1=0.7,
    adversarial=0.3,
    ema_decay=0.75,
    learning_rate=1e-3,
    betas=(0.8, 0.9),
    discriminator_width=2,
)


def generator() -> Generator:
    torch.manual_seed(1)
    return Generator(3, width=2, depth=1)


def adversaries(plan: Pretrain = PLAN) -> Adversaries:
    made = generator()
    torch.manual_seed(2)
    return Adversaries(made, plan, CPU)


def batch(seed: int = 0, side: int = 4) -> Batch:
    rng = np.random.default_rng(seed)
    finer = 4 * side
    valid = rng.random((2, finer, finer)) < 0.8
    return Batch(
        image=rng.normal(size=(2, 3, side, side)).astype(np.float32),
        target=np.zeros((2, finer, finer), np.float32),
        valid=valid,
        names=("a", "b"),
        picture=rng.random((2, 3, finer, finer)).astype(np.float32),
    )


def bce(logits: Tensor, real: float, valid: Tensor) -> Tensor:
    picked = logits[:, 0][valid]
    return F.binary_cross_entropy_with_logits(picked, torch.full_like(picked, real))


def by_hand(batches: list[Batch], plan: Pretrain, perceptual: nn.Module | None = None) -> list[nn.Module]:
    """Generator, discriminator and the mean of the generator after some steps, as the papers write them."""
    drawing = generator()
    torch.manual_seed(2)
    judging = Discriminator(width=plan.discriminator_width)
    first, second = plan.betas
    optimizers = [
        Adam(net.parameters(), lr=plan.learning_rate, betas=(first, second)) for net in (drawing, judging)
    ]
    mean: dict[str, Tensor] = {}
    for one in batches:
        assert one.picture is not None
        image, valid, truth = (torch.from_numpy(a) for a in (one.image, one.valid, one.picture))
        seen = valid[:, None]
        made = drawing(image)
        sharp = sharpen(truth)
        l1 = (made - sharp).abs()[seen.expand_as(made)].mean()
        loss = plan.l1 * l1 + plan.adversarial * bce(judging(made * seen), 1, valid)
        if perceptual is not None:
            loss = loss + plan.perceptual * perceptual(made, sharp, valid)
        optimizers[0].zero_grad()
        loss.backward()
        optimizers[0].step()
        optimizers[1].zero_grad()
        real, false = judging(truth * seen), judging(made.detach() * seen)
        (bce(real, 1, valid) + bce(false, 0, valid)).backward()
        optimizers[1].step()
        now = {name: tensor.clone() for name, tensor in drawing.state_dict().items()}
        decay = plan.ema_decay
        mean = {name: decay * mean[name] + (1 - decay) * now[name] for name in now} if mean else now
    average = deepcopy(drawing)
    average.load_state_dict(mean)
    return [drawing, judging, average]


def assert_same(state: dict[str, Tensor], prefix: str, network: nn.Module) -> None:
    for name, expected in network.state_dict().items():
        torch.testing.assert_close(state[f"{prefix}{name}"], expected, rtol=1e-4, atol=1e-6, msg=name)


def test_steps_are_those_written_out() -> None:
    learner, batches = adversaries(), [batch(seed) for seed in range(3)]
    for one in batches:
        assert learner.learn(one) is not None
    drawing, judging, average = by_hand(batches, PLAN)
    state = learner.checkpoint()
    assert_same(state, "generator.", drawing)
    assert_same(state, "discriminator.", judging)
    assert_same(state, "average.module.", average)
    assert not torch.equal(state["generator.first.weight"], state["average.module.first.weight"])


def test_the_perceptual_loss_comes_from_a_file_and_has_its_weight(tmp_path: Path) -> None:
    torch.manual_seed(3)
    features = vgg19_features()
    save_file(features.state_dict(), tmp_path / "vgg.safetensors")
    plan = replace(PLAN, perceptual=0.5, perceptual_weights=str(tmp_path / "vgg.safetensors"))
    learner = adversaries(plan)
    losses = learner.learn(batch())
    drawing, judging, _ = by_hand([batch()], plan, Perceptual(features))
    assert_same(learner.checkpoint(), "generator.", drawing)
    assert_same(learner.checkpoint(), "discriminator.", judging)
    assert losses is not None and losses.perceptual > 0


def test_without_an_adversarial_weight_nobody_judges() -> None:
    learner = adversaries(replace(PLAN, adversarial=0.0))
    before = learner.checkpoint()
    losses = learner.learn(batch())
    after = learner.checkpoint()
    assert losses is not None and (losses.adversarial, losses.discriminator) == (0, 0) != losses.l1
    for name, tensor in before.items():
        if name.startswith("discriminator."):
            assert torch.equal(tensor, after[name])
    assert not torch.equal(before["generator.first.weight"], after["generator.first.weight"])


def test_what_is_not_finite_changes_no_weight_and_gives_up_in_the_end() -> None:
    learner, spoiled = adversaries(), batch()
    spoiled.image[:] = np.inf
    before = learner.checkpoint()
    for _ in range(PATIENCE - 1):
        assert learner.learn(spoiled) is None
    after = learner.checkpoint()
    weights = [name for name in before if name.startswith(("generator.", "average."))]
    assert all(torch.equal(before[name], after[name]) for name in weights)
    with pytest.raises(DivergedError, match=f"not finite {PATIENCE} times in a row") as caught:
        learner.learn(spoiled)
    assert "learning_rate (0.001)" in str(caught.value.hint)


def test_a_good_step_forgives_bad_ones() -> None:
    learner, spoiled = adversaries(), batch()
    spoiled.image[:] = np.nan
    for _ in range(3):
        for _ in range(PATIENCE - 1):
            assert learner.learn(spoiled) is None
        assert learner.learn(batch()) is not None


def test_one_that_goes_on_ends_with_the_same_bits() -> None:
    whole, first, second = adversaries(), adversaries(), adversaries()
    for seed in range(4):
        whole.learn(batch(seed))
    for seed in range(2):
        first.learn(batch(seed))
    second.restore(first.checkpoint())
    for seed in range(2, 4):
        second.learn(batch(seed))
    expected, found = whole.checkpoint(), second.checkpoint()
    assert expected.keys() == found.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_it_learns_to_draw_what_is_always_the_same() -> None:
    learner = adversaries(replace(PLAN, l1=1.0, adversarial=0.01, learning_rate=5e-3))
    one = replace(batch(), picture=np.full((2, 3, 16, 16), 0.8, np.float32))
    losses = [learner.learn(one) for _ in range(60)]
    assert losses[0] is not None and losses[-1] is not None
    assert losses[0].l1 > 0.5
    assert losses[-1].l1 < 0.15


def test_a_batch_without_pictures_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="without pictures"):
        adversaries().learn(replace(batch(), picture=None))
