"""Losses of networks that find buildings one by one, and what is taken for building of theirs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from buildmap.losses.cross_entropy import CrossEntropy
from buildmap.metrics.confusion import Confusion
from buildmap.models.instance_network import Detections
from buildmap.training.device import open_fabric
from buildmap.training.learner import Learner
from buildmap.training.objective import (
    HALF,
    InstanceObjective,
    PixelObjective,
    objective_of,
    to_objects,
)
from buildmap.training.validation import validate
from tests.unit.training.fakes import make_batch
from tests.unit.training.instances import ONE_BY_ONE, QUARTERS, Quarters, with_objects
from tests.unit.training.tasks import Plain, preset_with

CPU = torch.device("cpu")
FABRIC = open_fabric("cpu")
SGD = replace(preset_with(optimizer="sgd", schedule="constant", learning_rate=1.0), model=ONE_BY_ONE.model)


def still() -> Quarters:
    """Without dropout or running statistics."""
    return Quarters(dropout=0.0, normalized=False)


def test_the_kind_of_network_decides() -> None:
    assert isinstance(objective_of(Quarters(), CrossEntropy()), InstanceObjective)
    assert isinstance(objective_of(Plain(), CrossEntropy()), PixelObjective)


def test_objects_on_a_device_are_those_of_the_batch() -> None:
    batch = with_objects(make_batch(1))
    image, objects = to_objects(batch, CPU)
    np.testing.assert_array_equal(image.numpy(), batch.image)
    assert batch.objects is not None and sum(map(len, batch.objects)) > 3
    for one, other in zip(batch.objects, objects, strict=True):
        np.testing.assert_array_equal(other.boxes.numpy(), one.boxes)
        np.testing.assert_array_equal(other.masks.numpy(), one.draw_masks())
        for vertices, moved in zip(one.vertices, other.vertices, strict=True):
            np.testing.assert_array_equal(moved.numpy(), vertices)


def test_a_batch_for_mask_networks_is_refused() -> None:
    with pytest.raises(ValueError, match="no objects"):
        to_objects(make_batch(1), CPU)
    with pytest.raises(TypeError, match="one by one"):
        InstanceObjective(HALF).judge(Plain(), with_objects(make_batch(1)), CPU)


def test_a_part_counts_by_its_valid_pixels_or_by_its_chips() -> None:
    batch = make_batch(1)
    assert PixelObjective(CrossEntropy(), by_chip=False).weigh(batch) == batch.valid.sum()
    assert InstanceObjective(HALF).weigh(batch) == 4


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_learned_is_the_sum_of_the_network_s_losses(precision: str) -> None:
    fabric = open_fabric("cpu", precision=precision)
    batch = with_objects(make_batch(1))
    bare = still()
    network = fabric.setup(bare)
    torch.manual_seed(5)
    found = InstanceObjective(HALF).learn(network, batch, fabric)
    fabric.backward(found.loss)
    gradients = [parameter.grad.clone() for parameter in bare.parameters() if parameter.grad is not None]
    bare.zero_grad()
    torch.manual_seed(5)
    with fabric.autocast():
        losses = bare.losses(*to_objects(batch, CPU))
    sum(losses.values(), start=torch.zeros(())).backward()
    assert found.loss.item() == pytest.approx(sum(loss.item() for loss in losses.values()), rel=1e-6)
    assert found.by_chip is None
    assert len(gradients) == 4
    for parameter, gradient in zip(bare.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_parts_have_the_gradient_of_the_mean_of_their_losses() -> None:
    batch = make_batch(0)
    known = batch.valid & np.array([True, False] * 2)[:, None, None]
    whole = with_objects(replace(batch, valid=known))
    assert whole.objects is not None
    parts = [
        replace(
            whole,
            image=whole.image[k::2],
            target=whole.target[k::2],
            valid=whole.valid[k::2],
            names=whole.names[k::2],
            objects=whole.objects[k::2],
        )
        for k in range(2)
    ]
    learner = Learner(still(), CrossEntropy(), SGD, FABRIC)
    learned = learner.learn(parts, 7)
    network, total = still(), 0.0
    for index, part in enumerate(parts):
        seed = np.random.SeedSequence([SGD.training.seed, 7, index]).generate_state(1)[0]
        torch.manual_seed(int(seed))
        loss = sum(network.losses(*to_objects(part, CPU)).values(), start=torch.zeros(())) / 2
        loss.backward()
        total += loss.item()
    assert learned.loss == pytest.approx(total, rel=1e-5)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(
            learner.checkpoint()[f"network.{name}"], parameter.detach() - parameter.grad, rtol=1e-4, atol=1e-6
        )


class Says(Quarters):
    """Finds all quarters with given scores; masks are the given probability everywhere."""

    def __init__(self, scores: list[float], probability: float) -> None:
        super().__init__()
        self.given, self.probability = scores, probability

    def detect(self, images: Tensor) -> list[Detections]:
        found = super().detect(images)
        boxes = torch.tensor([[col, row, col + 8.0, row + 8] for row, col in QUARTERS])
        masks = torch.full((4, 2, 2), self.probability)
        return [replace(one, boxes=boxes, scores=torch.tensor(self.given), masks=masks) for one in found]


@pytest.mark.parametrize(
    ("threshold", "probability", "quarters"),
    [
        (0.5, 1.0, [True, True, False, False]),
        (0.3, 1.0, [True, True, True, False]),
        (0.95, 1.0, [False] * 4),
        (0.5, 0.4, [False] * 4),
        (0.3, 0.4, [True, True, True, False]),
    ],
)
def test_pixels_of_masks_that_are_likely_enough_are_counted_where_they_are_valid(
    threshold: float, probability: float, quarters: list[bool]
) -> None:
    batch = with_objects(make_batch(3))
    network = Says([0.9, 0.5, 0.3, 0.1], probability)
    union = np.zeros((16, 16), np.bool_)
    for (row, col), said in zip(QUARTERS, quarters, strict=True):
        # cells of a mask are a quarter of the box: between its centres, all of it is as likely
        union[row + 2 : row + 6, col + 2 : col + 6] = said
    inner = np.zeros((16, 16), np.bool_)
    for row, col in QUARTERS:
        inner[row + 2 : row + 6, col + 2 : col + 6] = True
    only_inner = replace(batch, valid=batch.valid & inner)
    result = validate(network, nn.Identity(), [only_inner], FABRIC, threshold=threshold)
    expected: dict[str, Confusion] = {}
    for target, valid, name in zip(only_inner.target > 0, only_inner.valid, batch.names, strict=True):
        counts = Confusion(
            tp=int((union & target & valid).sum()),
            fp=int((union & ~target & valid).sum()),
            fn=int((~union & target & valid).sum()),
            tn=int((~union & ~target & valid).sum()),
        )
        expected[name] = expected.get(name, Confusion()) + counts
    assert result.by_source == expected
    assert sum(expected.values(), start=Confusion()).fn > 0


def test_judging_draws_the_same_each_time_and_leaves_the_generator_alone() -> None:
    network, batches = Quarters(), [with_objects(make_batch(seed)) for seed in (1, 2)]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.manual_seed(11)
    state = torch.get_rng_state()
    first = validate(network, nn.Identity(), batches, FABRIC)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(12)
    second = validate(network, nn.Identity(), batches, FABRIC)
    assert first.loss == second.loss is not None
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    network.eval()
    losses = []
    for batch in batches:
        torch.manual_seed(0)
        losses.append(sum(loss.item() for loss in network.losses(*to_objects(batch, CPU)).values()))
    assert first.loss == pytest.approx(sum(losses) / 2, rel=1e-6)
