"""Boxes are looked into one image at a time, in pieces, and nothing of it shows."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from buildmap.models.instance_network import Objects
from buildmap.models.instance_targets import Regions
from buildmap.models.region_network import Detector, Found, RegionNetwork


class Levels(nn.Module):
    """One level: the image itself."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [images]


class Finds(Detector):
    """Finds so many boxes as the image's first pixel says, and loses what it is shown."""

    def losses(
        self, features: Sequence[Tensor], objects: Sequence[Objects]
    ) -> tuple[dict[str, Tensor], list[Regions]]:
        return {"boxes": features[0].sum() + len(objects)}, []

    def forward(self, features: Sequence[Tensor]) -> list[Found]:
        counts = [int(image[0, 0, 0]) for image in features[0]]
        return [(torch.arange(4.0 * n).reshape(n, 4), torch.linspace(1, 0.5, n)) for n in counts]


class Looks(nn.Module):
    """Gives a mask whose logit is a box's first edge and the image's last pixel, and no heat map."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> tuple[Tensor, None]:
        self.seen.append(len(boxes[0]))
        return (boxes[0][:, :1, None] - features[0][0, 0, -1, -1]).expand(-1, 2, 2), None

    def losses(
        self, features: Sequence[Tensor], regions: Sequence[Regions], objects: Sequence[Objects]
    ) -> dict[str, Tensor]:
        return {"masks": features[0].mean() + len(regions) + len(objects)}


def make() -> tuple[RegionNetwork, Looks]:
    looks = Looks()
    return RegionNetwork(pyramid=Levels(), detector=Finds(), branches=looks, stride=8), looks  # type: ignore[arg-type]


def test_each_image_s_boxes_are_described_from_its_own_features_in_pieces() -> None:
    network, looks = make()
    images = torch.zeros(3, 1, 2, 2)
    images[:, 0, 0, 0] = torch.tensor([70.0, 0.0, 3.0])
    images[:, 0, 1, 1] = torch.tensor([100.0, 0.0, 4.0])
    found = network.detect(images)
    assert [len(one.boxes) for one in found] == [70, 0, 3]
    assert looks.seen == [32, 32, 6, 0, 3]
    for one, shift in zip(found, (100, 0, 4), strict=True):
        expected = torch.sigmoid(4.0 * torch.arange(len(one.boxes)) - shift)
        assert one.masks is not None and one.heatmaps is None
        assert one.masks.shape == (len(one.boxes), 2, 2)
        torch.testing.assert_close(one.masks[:, 1, 0], expected)
        assert torch.equal(one.scores, torch.linspace(1, 0.5, len(one.boxes)))


def test_losses_are_those_of_boxes_and_of_branches() -> None:
    network, _ = make()
    losses = network.losses(torch.ones(2, 1, 2, 2), [])
    assert {name: float(loss) for name, loss in losses.items()} == {"boxes": 8, "masks": 1}
    assert network.stride == 8


def test_a_detector_must_say_how() -> None:
    with pytest.raises(NotImplementedError):
        Detector()([])
    with pytest.raises(NotImplementedError):
        Detector().losses([], [])
