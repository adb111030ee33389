"""Our own network: its sizes, and what it may not be."""

import pytest
import torch

from buildmap.errors import MismatchError
from buildmap.models.lite import Lite
from buildmap.preset import Model


def test_the_stride_is_two_to_the_depth_whatever_the_stem_takes_of_it() -> None:
    for stem_stride in (1, 2, 4):
        for depth in (2, 3, 5):
            network = Lite(Model(name="lite", width=2, depth=depth, stem_stride=stem_stride), 3, 1)
            assert network.stride == 2**depth
            features = network.stem(torch.zeros(1, 3, 3 * 2**depth, 2 * 2**depth))
            assert features.shape[2:] == (3 * 2**depth // stem_stride, 2 * 2**depth // stem_stride)
            for level in network.down:
                features = level(features)
            assert features.shape[2:] == (3, 2)


def test_parameters_of_the_smallest_network_add_up() -> None:
    network = Lite(Model(name="lite", width=8, depth=1, stem_stride=2), 3, 1)
    stem, first, head = 4 * 4 * 3 * 8 + 2 * 8, 3 * 3 * 8 * 8 + 2 * 8, 3 * 3 * 8 * 4 + 4
    assert sum(p.numel() for p in network.parameters()) == stem + first + head


@pytest.mark.parametrize("stem_stride", [1, 2, 4])
def test_an_image_pixel_s_logit_starts_like_its_neighbours_and_learns_for_itself(stem_stride: int) -> None:
    torch.manual_seed(0)
    network = Lite(Model(name="lite", width=4, depth=2, stem_stride=stem_stride), 3, 1)
    logits = network(torch.randn(1, 3, 16, 16))
    cells = logits[0, 0].unfold(0, stem_stride, stem_stride).unfold(1, stem_stride, stem_stride).flatten(2)
    assert torch.equal(cells, cells[..., :1].expand_as(cells))
    assert cells[..., 0].std() > 0
    (logits * torch.randn(1, 1, 16, 16)).sum().backward()
    gradient = network.head[0].weight.grad
    assert gradient is not None
    assert len({round(float(row.sum()), 4) for row in gradient}) == stem_stride**2


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"width": -1}, "width -1"), ({"depth": 9}, "depth 9"), ({"stem_stride": 3}, "stem_stride 3")],
)
def test_sizes_it_cannot_have_are_refused_by_name(changes: dict[str, int], named: str) -> None:
    with pytest.raises(MismatchError, match=named):
        Lite(Model(name="lite", **changes), 3, 1)  # type: ignore[arg-type]


def test_a_stem_deeper_than_the_network_is_refused() -> None:
    with pytest.raises(MismatchError, match="stem_stride 4"):
        Lite(Model(name="lite", depth=1, stem_stride=4), 3, 1)
