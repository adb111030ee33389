"""What processes tell each other; among two of them, `test_processes` looks at it."""

import torch

from buildmap.training.device import open_fabric
from buildmap.training.exchange import agree, gather_chips, gather_objects, sum_everywhere


def test_one_process_has_everything_already() -> None:
    fabric = open_fabric("cpu")
    chips = torch.arange(3.0, requires_grad=True)
    assert gather_chips(chips, fabric) is chips
    assert sum_everywhere(torch.tensor([2.0]), fabric).tolist() == [2.0]
    assert agree(torch.tensor([3.0]), fabric).tolist() == [3.0]
    assert gather_objects("all", fabric) == ["all"]
