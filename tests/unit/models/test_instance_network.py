"""One call for two uses: losses where the truth is at hand, else what is found."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from buildmap.models.instance_network import Detections, InstanceNetwork, Objects


class Echo(InstanceNetwork):
    """Loses what it is shown, and finds one box in each image."""

    stride = 1

    def losses(self, images: Tensor, objects: Sequence[Objects]) -> dict[str, Tensor]:
        return {"count": images.sum() + len(objects)}

    def detect(self, images: Tensor) -> list[Detections]:
        boxes, scores = torch.zeros(1, 4), torch.ones(1)
        return [Detections(boxes=boxes, scores=scores, masks=None, heatmaps=None) for _ in images]


def test_with_the_truth_it_gives_losses_and_without_what_it_finds() -> None:
    images = torch.ones(2, 1, 3, 3)
    nothing = Objects(boxes=torch.zeros(0, 4), masks=torch.zeros(0, 3, 3, dtype=torch.bool), vertices=())
    losses = Echo()(images, [nothing, nothing])
    assert {name: float(loss) for name, loss in losses.items()} == {"count": 20}
    assert Echo()(images, []) == {"count": 18}  # no object is a truth, too
    assert [len(found.boxes) for found in Echo()(images)] == [1, 1]
    assert (Echo().scale, Echo().any_size) == (1, False)


def test_a_network_must_say_both() -> None:
    with pytest.raises(NotImplementedError):
        InstanceNetwork()(torch.zeros(1, 1, 2, 2))
    with pytest.raises(NotImplementedError):
        InstanceNetwork()(torch.zeros(1, 1, 2, 2), [])
