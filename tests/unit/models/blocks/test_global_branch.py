"""HR-Mamba's global branch: the paper's parameters, what it sees, and its graph."""

import math
from pathlib import Path

import torch

from buildmap.models.blocks.global_branch import Fusion, GlobalBranch
from tests.unit.models.blocks.parity import largest_difference_exported


def test_it_has_the_paper_s_156912_parameters() -> None:
    assert sum(p.numel() for p in GlobalBranch(256).parameters()) == 156_912


def test_a_position_reaches_all_after_it_row_after_row_and_none_before() -> None:
    torch.manual_seed(0)
    branch = GlobalBranch(8, width=4).double()
    x = torch.randn(1, 8, 6, 7, dtype=torch.float64)
    changed = x.clone()
    changed[0, :, 2, 3] += torch.randn(8, dtype=torch.float64)
    difference = (branch(changed) - branch(x)).abs().amax(1).flatten()
    assert not difference[: 2 * 7 + 3].any()
    assert (difference[2 * 7 + 3 :] > 0).all()


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    branch = GlobalBranch(8, width=4)
    (branch(torch.randn(2, 8, 9, 10)) * torch.randn(2, 8, 9, 10)).sum().backward()
    for name, parameter in branch.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def test_exported_it_is_the_same_at_lengths_of_many_chunks_and_of_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    branch = GlobalBranch(8, width=4)
    example = torch.randn(2, 8, 2, 3)
    others = [torch.randn(shape) for shape in [(1, 8, 90, 83), (3, 8, 1, 5), (1, 8, 8, 8)]]
    assert largest_difference_exported(branch, example, others, tmp_path / "m.onnx") < 1e-4


def test_the_fusion_is_a_weighted_mean_that_learns_its_weight() -> None:
    trunk, branch = torch.full((1, 2, 3, 3), 2.0), torch.full((1, 2, 3, 3), 6.0)
    fusion = Fusion()
    torch.testing.assert_close(fusion(trunk, branch), torch.full_like(trunk, 4.0))
    torch.nn.init.constant_(fusion.logit, math.log(0.25 / 0.75))
    mixed = fusion(trunk, branch)
    torch.testing.assert_close(mixed, torch.full_like(mixed, 3.0))
    mixed.mean().backward()
    assert fusion.logit.grad is not None
    torch.testing.assert_close(fusion.logit.grad, torch.tensor(4 * 0.25 * 0.75))
