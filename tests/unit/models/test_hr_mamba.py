"""HR-Mamba: HRNet where its parts are left out, and where each part stands."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from buildmap.errors import MismatchError
from buildmap.models import build_model
from buildmap.models.blocks.involution import Involution
from buildmap.models.hr_mamba import HRMamba
from buildmap.models.hrnet import join
from buildmap.preset import CannyMedian, Model
from buildmap.preset import Involution as InvolutionSizes
from tests.models.networks import SMALL
from tests.models.small_encoders import HRNET, RESNET

WHOLE = SMALL["hr-mamba"]


def make(model: Model, *, bands: int = 3) -> HRMamba:
    torch.manual_seed(0)
    network = build_model(model, bands, 1).eval()
    assert isinstance(network, HRMamba)
    return network


def test_without_its_parts_it_is_hrnet() -> None:
    image = torch.randn(2, 3, 64, 96)
    torch.manual_seed(0)
    hrnet = build_model(Model(name="hrnet", encoder=HRNET), 3, 1).eval()
    with torch.inference_mode():
        assert torch.equal(make(Model(name="hr-mamba", encoder=HRNET))(image), hrnet(image))


@pytest.mark.parametrize(("rows", "cols"), [(50, 77), (33, 31), (1, 1), (500, 12)])
def test_an_image_of_any_size_is_seen_as_one_whose_last_pixels_go_on(rows: int, cols: int) -> None:
    network, image = make(WHOLE), torch.randn(1, 3, rows, cols)
    larger = pad(image, (0, -cols % 32, 0, -rows % 32), mode="replicate")
    with torch.inference_mode():
        assert torch.equal(network(image), network(larger)[..., :rows, :cols])


@pytest.mark.parametrize("bands", [1, 3, 4, 16])
def test_one_to_sixteen_bands_enter_and_each_is_seen(bands: int) -> None:
    network, image = make(WHOLE, bands=bands), torch.randn(1, bands, 64, 64)
    with torch.inference_mode():
        before = network(image)
        for band in range(bands):
            changed = image.clone()
            changed[:, band] += torch.randn(64, 64)
            assert not torch.equal(network(changed), before)


def test_every_3_x_3_convolution_of_the_first_stage_is_an_involution_and_no_other() -> None:
    network = make(WHOLE)
    assert [type(bottleneck.conv2) for bottleneck in network.trunk.stage1] == [Involution]
    assert sum(isinstance(module, Involution) for module in network.modules()) == 1


class Constant(nn.Module):
    """A branch that remembers what it saw, and says the same everywhere."""

    seen: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return torch.full_like(x, 0.75)


def test_the_branch_sees_stage_3_joined_and_meets_as_many_of_the_head_s_channels() -> None:
    network, image = make(WHOLE), torch.randn(1, 3, 64, 64)
    network.branch = Constant()
    assert network.fusion is not None
    with torch.inference_mode():
        network.fusion.logit.fill_(torch.logit(torch.tensor(0.25)))
        third, fourth = network.trunk(network.stem(image))
        assert [one.shape[1:] for one in third] == [(4, 16, 16), (8, 8, 8), (16, 4, 4)]
        assert [one.shape[1:] for one in fourth] == [(4, 16, 16), (8, 8, 8), (16, 4, 4), (32, 2, 2)]
        joined = join(fourth)
        joined[:, :28] = 0.75 * joined[:, :28] + 0.25 * 0.75
        expected = interpolate(network.head(network.decoder.mix(joined)), scale_factor=4.0, mode="bilinear")
        torch.testing.assert_close(network(image), expected)
    assert torch.equal(network.branch.seen, join(third))


def test_a_change_in_a_corner_is_felt_across_the_image_with_the_branch_only() -> None:
    def reach(model: Model) -> Tensor:
        network, image = make(model).double(), torch.zeros(1, 3, 512, 512, dtype=torch.float64)
        with torch.inference_mode():
            before = network(image)
            image[..., :32, :32] = torch.randn(32, 32, dtype=torch.float64)
            return (network(image) - before)[0, 0, -1, -1].abs()

    assert reach(replace(WHOLE, canny_median=None)) > 0
    assert reach(replace(WHOLE, canny_median=None, global_branch=None)) == 0


def test_pretrained_weights_of_three_bands_stay_whole_behind_the_stem(tmp_path: Path) -> None:
    trained = make(Model(name="hr-mamba", encoder=HRNET)).trunk.reduce[0].weight.detach() + 1
    torch.manual_seed(1)
    hrnet = build_model(Model(name="hrnet", encoder=HRNET), 3, 1)
    weights = {name: tensor.clone() for name, tensor in hrnet.encoder.state_dict().items()}  # type: ignore[union-attr]
    save_file(weights | {"conv1.weight": trained}, path := tmp_path / "hrnet.safetensors")
    network = make(replace(WHOLE, encoder_weights=str(path)), bands=6)
    assert torch.equal(network.trunk.reduce[0].weight, trained)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Model(name="hr-mamba", encoder=RESNET), RESNET),
        (
            replace(WHOLE, involution=InvolutionSizes(kernel=3, group_channels=3, reduction=2)),
            "not a multiple of 3",
        ),
        (
            Model(name="hrnet", canny_median=CannyMedian(width=4, low=1, high=2, sigma=1)),
            "hrnet has no canny_median",
        ),
    ],
)
def test_what_cannot_be_built_is_said(model: Model, message: str) -> None:
    with pytest.raises(MismatchError, match=message):
        build_model(model, 3, 1)
