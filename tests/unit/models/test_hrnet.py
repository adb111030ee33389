"""The head of HRNetV2: four resolutions enlarged to the finest, side by side, mixed."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor, nn

from buildmap.models import build_model
from buildmap.models.hrnet import JoinedResolutions
from buildmap.models.network import Segmenter
from buildmap.preset import Model


def enlarged(values: Tensor, times: int) -> Tensor:
    """Read off between pixel centres; beyond the outermost ones, the nearest."""
    rows, cols = ((np.arange(length * times) + 0.5) / times - 0.5 for length in values.shape[2:])
    at = np.meshgrid(rows, cols, indexing="ij")
    read = [[map_coordinates(one, at, order=1, mode="nearest") for one in image] for image in values.numpy()]
    return torch.from_numpy(np.array(read))


def test_all_resolutions_are_enlarged_to_the_finest_joined_finest_first_and_mixed() -> None:
    """Wang et al. (2020), figure 4b."""
    torch.manual_seed(0)
    channels = (1, 2, 3, 4)
    head = JoinedResolutions(sum(channels)).double()
    features = [
        torch.randn(2, count, 24 >> level, 16 >> level, dtype=torch.float64)
        for level, count in enumerate(channels)
    ]
    joined = torch.cat([enlarged(one, 2**level) for level, one in enumerate(features)], dim=1)
    convolution = head.mix[0]
    assert isinstance(convolution, nn.Conv2d)
    assert convolution.bias is not None
    with torch.no_grad():
        mixed = torch.einsum("oi,bihw->bohw", convolution.weight[..., 0, 0], joined)
        mixed += convolution.bias[:, None, None]
        variance, mean = torch.var_mean(mixed, (0, 2, 3), unbiased=False, keepdim=True)
        expected = ((mixed - mean) / (variance + 1e-5).sqrt()).clamp(min=0)
        torch.testing.assert_close(head(features), expected)


@pytest.mark.parametrize(
    ("encoder", "widths"), [("hrnet_w32", (32, 64, 128, 256)), (None, (48, 96, 192, 384))]
)
def test_the_head_sees_every_width_of_the_encoder_at_a_quarter_of_the_image(
    encoder: str | None, widths: tuple[int, ...]
) -> None:
    """Sci-Net, section 5.2, has W32; HR-Mamba W48, which is what an unnamed encoder is."""
    with torch.device("meta"):
        network = build_model(Model(name="hrnet", encoder=encoder), 3, 2).eval()
        assert isinstance(network, Segmenter)
        features = network.encoder(torch.zeros(1, 3, 64, 96))
        joined = network.decoder(features)
        logits = network.enlarge(network.head(joined))
    assert [one.shape for one in features] == [
        (1, width, 16 >> level, 24 >> level) for level, width in enumerate(widths)
    ]
    total = sum(widths)
    assert joined.shape == (1, total, 16, 24)
    assert logits.shape == (1, 2, 64, 96)
    mixing, normalizing, deciding = total * total + total, 2 * total, 2 * total + 2
    parts = (network.decoder, network.head)
    assert sum(p.numel() for part in parts for p in part.parameters()) == mixing + normalizing + deciding
