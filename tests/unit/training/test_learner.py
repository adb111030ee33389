"""One step at a time: whose gradient it is, and what happens to a step that has none."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import Tensor, nn

from buildmap.data.dataset import Batch
from buildmap.errors import DivergedError
from buildmap.losses.cross_entropy import CrossEntropy
from buildmap.losses.dice import Dice
from buildmap.preset import Preset, Sampling
from buildmap.training.device import open_fabric
from buildmap.training.learner import MOST_RETURNS, PATIENCE, Learner
from buildmap.training.loop import fresh_network
from tests.unit.training.fakes import PRESET, make_batch, spoil
from tests.unit.training.tasks import Plain, preset_with

SGD = preset_with(optimizer="sgd", schedule="constant", learning_rate=1.0)


def cut(batch: Batch, parts: int) -> list[Batch]:
    """Give chip i to part i % parts."""
    return [
        Batch(
            image=batch.image[k::parts],
            target=batch.target[k::parts],
            valid=batch.valid[k::parts],
            names=batch.names[k::parts],
            places=np.array([[0, chip, 0, 16, 16] for chip in range(k, len(batch.names), parts)], np.int64),
        )
        for k in range(parts)
    ]


def uneven(batch: Batch) -> Batch:
    """Leave few valid pixels in every second chip."""
    valid = batch.valid.copy()
    valid[1::2, 3:] = False
    return replace(batch, valid=valid)


def make_learner(
    preset: Preset = SGD, loss: nn.Module | None = None, network: nn.Module | None = None
) -> Learner:
    return Learner(network or Plain(), loss or CrossEntropy(), preset, open_fabric("cpu"))


def weights(learner: Learner) -> dict[str, Tensor]:
    state = learner.checkpoint()
    return {name: t for name, t in state.items() if name.startswith("network.")}


def gradient(loss: nn.Module, batches: list[Batch]) -> tuple[float, dict[str, Tensor]]:
    """Differentiate the mean of the batches' losses, by autograd alone."""
    network = Plain()
    total = torch.zeros(())
    for batch in batches:
        image, target, valid = map(torch.from_numpy, (batch.image, batch.target, batch.valid))
        total = total + loss(network(image), target, valid) / len(batches)
    total.backward()
    return total.item(), {
        f"network.{n}": p - p.grad for n, p in network.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_parts_have_the_gradient_of_the_whole_batch_where_the_loss_is_a_mean_over_pixels(parts: int) -> None:
    batch = uneven(make_batch(0))
    learner = make_learner()
    loss, expected = gradient(CrossEntropy(), [batch])
    assert learner.learn(cut(batch, parts), 0).loss == pytest.approx(loss, rel=1e-5)
    found = weights(learner)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-6)


def test_for_other_losses_parts_of_equal_size_have_the_gradient_of_their_mean_loss() -> None:
    batch = replace(make_batch(0), valid=np.ones((4, 16, 16), np.bool_))
    learner = make_learner(loss=Dice())
    loss, expected = gradient(Dice(), cut(batch, 2))
    assert learner.learn(cut(batch, 2), 0).loss == pytest.approx(loss, rel=1e-5)
    for name, tensor in weights(learner).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)


def test_a_part_without_a_valid_pixel_counts_for_nothing() -> None:
    batch = make_batch(0)
    batch = replace(batch, valid=batch.valid * np.array([1, 0, 1, 0], np.bool_)[:, None, None])
    loss, _ = gradient(CrossEntropy(), [batch])
    assert make_learner().learn(cut(batch, 2), 0).loss == pytest.approx(loss, rel=1e-5)
    nothing = replace(batch, valid=np.zeros_like(batch.valid))
    assert make_learner().learn(cut(nothing, 2), 0).loss == 0


@pytest.mark.parametrize("clip_norm", [1e-3, 1e3])
def test_long_gradients_are_cut_to_the_norm_and_short_ones_stay(clip_norm: float) -> None:
    batch = make_batch(0)
    learner = make_learner(
        preset_with(optimizer="sgd", schedule="constant", learning_rate=1.0, clip_norm=clip_norm)
    )
    before = weights(learner)
    _, expected = gradient(CrossEntropy(), [batch])
    steps = {name: tensor - before[name] for name, tensor in expected.items()}
    norm = torch.stack([step.square().sum() for step in steps.values()]).sum().sqrt().item()
    learner.learn([batch], 0)
    after = weights(learner)
    for name, step in steps.items():
        torch.testing.assert_close(
            after[name] - before[name], step * min(1, clip_norm / norm), rtol=1e-3, atol=1e-7
        )


def test_the_running_mean_follows_the_weights_by_its_formula() -> None:
    preset = preset_with(optimizer="sgd", schedule="constant", learning_rate=0.5, ema_decay=0.75)
    learner = make_learner(preset, network=fresh_network(PRESET))
    mean: dict[str, Tensor] = {}
    for step in range(4):
        learner.learn([make_batch(step)], step)
        now = {n: t for n, t in weights(learner).items() if "running" not in n and "num_batches" not in n}
        mean = {n: 0.75 * mean[n] + 0.25 * t for n, t in now.items()} if mean else now
    state = learner.checkpoint()
    judged = learner.judged.state_dict()
    for name, tensor in mean.items():
        torch.testing.assert_close(judged[name.removeprefix("network.")], tensor, rtol=1e-5, atol=1e-7)
    buffers = [name for name in judged if "running_mean" in name]
    assert buffers
    assert all(torch.equal(judged[name], state[f"network.{name}"]) for name in buffers)


class Odd(nn.Module):
    """Goes wrong on some values: 5 has an infinite loss, 6 a finite one whose gradient is not."""

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:  # noqa: ARG002
        if target[0, 0, 0] == 5:
            return logits.sum() * torch.inf
        if target[0, 0, 0] == 6:
            return (logits * 0).abs().sqrt().sum()
        return logits.square().mean()


def with_value(seed: int, value: float) -> Batch:
    batch = make_batch(seed)
    return replace(batch, target=np.full_like(batch.target, value))


@pytest.mark.parametrize("bad", [with_value(1, 5), with_value(1, 6), spoil(make_batch(1))])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_step_without_a_finite_loss_and_gradient_changes_nothing(bad: Batch, parts: int) -> None:
    preset = preset_with(ema_decay=0.5, weight_decay=0.1)
    learner = make_learner(preset, Odd(), fresh_network(PRESET))
    assert learner.learn(cut(make_batch(0), parts), 0).loss is not None
    before = learner.checkpoint()
    assert learner.learn(cut(bad, parts), 1).loss is None
    after = {
        name: t for name, t in learner.checkpoint().items() if not name.startswith(("good.", "failures"))
    }
    assert after.keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
    assert learner.learn(cut(make_batch(2), parts), 2).loss is not None
    assert not torch.equal(learner.checkpoint()["network.head.0.bias"], before["network.head.0.bias"])


def test_after_many_such_steps_the_last_good_weights_come_back_and_in_the_end_it_gives_up() -> None:
    learner = make_learner(preset_with(ema_decay=0.5, epochs=10))
    bad = [spoil(replace(make_batch(1), names=("a", "b", "a", "c")))]
    learner.learn([make_batch(0)], 0)
    good = {name: tensor.clone() for name, tensor in learner.checkpoint().items()}
    for times in range(MOST_RETURNS):
        learner.learn([make_batch(1)], 1)
        for step in range(PATIENCE):
            assert learner.went_back == times
            learner.learn(bad, step)
    assert learner.went_back == MOST_RETURNS
    state = learner.checkpoint()
    assert [name for name, tensor in state.items() if not torch.equal(tensor, good[name])] == []
    for step in range(PATIENCE - 1):
        learner.learn(bad, step)
    with pytest.raises(DivergedError, match=r"loss nan, .* at epoch 9, step 42, on chips of a, b, c, and"):
        learner.learn(bad, 41)


def test_weights_from_which_nothing_came_are_not_good_ones() -> None:
    learner = make_learner()
    learner.learn([make_batch(0)], 0)
    good = learner.checkpoint()
    learner.learn([make_batch(1)], 1)
    learner.learn([spoil(make_batch(2))], 2)
    state = learner.checkpoint()
    resumed = make_learner()
    resumed.restore(state)
    for each in (learner, resumed):
        for step in range(PATIENCE - 1):
            each.learn([spoil(make_batch(2))], step)
        assert each.went_back == 1
        assert all(torch.equal(t, good[name]) for name, t in weights(each).items())


def test_dropout_depends_on_seed_step_and_part_alone() -> None:
    def losses(seed: int, steps: list[int]) -> list[float | None]:
        learner = make_learner(preset_with(seed=seed, learning_rate=1e-12), network=Plain(dropout=0.5))
        torch.manual_seed(len(steps))
        return [learner.learn(cut(make_batch(0), 2), step).loss for step in steps]

    first, second = losses(0, [1, 2])
    assert first != second
    assert losses(0, [2]) == [pytest.approx(second)]
    assert losses(1, [1])[0] != pytest.approx(first)
    half = cut(make_batch(0), 2)[0]
    learner = make_learner(preset_with(learning_rate=1e-12), network=Plain(dropout=0.5))
    twice, once = learner.learn([half, half], 1).loss, learner.learn([half], 1).loss
    assert twice != pytest.approx(once)


def test_chips_losses_are_their_mean_cross_entropy_in_the_batch_s_order() -> None:
    batch = uneven(make_batch(0))
    learner = make_learner(replace(SGD, sampling=Sampling(hard_share=0.1)), loss=Dice())
    with torch.no_grad():
        logits = Plain()(torch.from_numpy(batch.image))[:, 0]
    target, valid = torch.from_numpy(batch.target), torch.from_numpy(batch.valid)
    expected = [
        F.binary_cross_entropy_with_logits(logits[i][valid[i]], target[i][valid[i]]).item() for i in range(4)
    ]
    learned = learner.learn(cut(batch, 2), 0)
    assert learned.places[:, 1].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(learned.chip_losses, expected, rtol=1e-5)
    assert len(make_learner().learn(cut(batch, 2), 0).places) == 0


def half_precision_learner() -> tuple[Learner, torch.amp.GradScaler]:
    """Give what a GPU has under float16, on the CPU."""
    scaler = torch.amp.GradScaler("cpu", growth_interval=3)
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    return Learner(Plain(), Odd(), preset_with(learning_rate=0.001), fabric), scaler


def test_under_float16_a_bad_step_halves_the_scale_of_the_loss_and_good_ones_raise_it() -> None:
    learner, scaler = half_precision_learner()
    assert learner.learn([with_value(0, 0)], 0).loss is not None
    scale = scaler.get_scale()
    before = weights(learner)
    for step, value in enumerate((5, 6), start=1):
        assert learner.learn([with_value(1, value)], step).loss is None
        assert scaler.get_scale() == scale / 2**step
    assert all(torch.equal(t, before[name]) for name, t in weights(learner).items())
    for step in range(3):
        assert learner.learn([with_value(step, 0)], step).loss is not None
    assert scaler.get_scale() > scale / 4


def test_the_scale_is_resumed_and_does_not_come_back_with_good_weights() -> None:
    learner, scaler = half_precision_learner()
    scale = scaler.get_scale()
    for step in range(PATIENCE):
        learner.learn([with_value(1, 5)], step)
    assert learner.went_back == 1
    assert scaler.get_scale() == scale / 2**PATIENCE
    resumed, its_scaler = half_precision_learner()
    resumed.restore(learner.checkpoint())
    assert its_scaler.get_scale() == scale / 2**PATIENCE
