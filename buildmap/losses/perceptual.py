"""The perceptual loss of Real-ESRGAN: pictures compared by what a network that knows photographs sees.

Features of VGG19 (Simonyan and Zisserman 2015, table 1, column E) before rectification (Wang et al. 2018,
arXiv 1809.00219, section 3.2), at the last convolution of every resolution, weighted as in Real-ESRGAN's
published recipe. The features come from weights trained on ImageNet. Where these cannot be had, the
weight of this loss is set to 0: L1 and adversarial loss remain, edges are then sharp for the discriminator's
sake alone.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from buildmap.errors import MismatchError, ResourceError
from buildmap.losses.reconstruction import known
from buildmap.models.encoder_weights import load_encoder, read_weights

VGG19_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
"""Torchvision's weights, whose digest begins as the file's name says."""
_DOWNLOADED = "vgg19"
"""The name that asks for them."""
_STAGES = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Channels and convolutions at every resolution."""
_COMPARED = {2: 0.1, 7: 0.1, 16: 1.0, 25: 1.0, 34: 1.0}
"""Weights of the layers compared: conv1_2, conv2_2, conv3_4, conv4_4 and conv5_4 in torchvision's count."""
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_HINT = "torchvision's vgg19-dcbb9e9d.pth; or a perceptual weight of 0, which leaves L1 and adversarial loss"


class Perceptual(nn.Module):
    """The weighted sum of mean absolute differences of VGG19's features."""

    mean: Tensor
    std: Tensor

    def __init__(self, features: nn.Sequential) -> None:
        """Take VGG19's layers, as `vgg19_features` gives them; they are frozen."""
        super().__init__()
        self.features = features.eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_STD)[:, None, None], persistent=False)

    def forward(self, picture: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """Compare a made picture with the true one; both are black in invalid pixels.

        Args:
            picture: (B, 3, H, W), made, red, green and blue, about 0..1; sides of 16 at least.
            truth: (B, 3, H, W), true, which gets no gradient.
            valid: (B, H, W) bool, False where the image has no data.

        Returns:
            Scalar, at least in single precision; 0 when no pixel is valid.
        """
        with torch.no_grad():
            expected = self._seen(known(truth, valid))
        seen = self._seen(known(picture, valid))
        terms = [
            weight * (one - other).abs().mean(dtype=torch.promote_types(one.dtype, torch.float32))
            for weight, one, other in zip(_COMPARED.values(), seen, expected, strict=True)
        ]
        return torch.stack(terms).sum()

    def _seen(self, picture: Tensor) -> list[Tensor]:
        """Give the last convolution of every resolution, not rectified."""
        x = (picture - self.mean) / self.std
        seen = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in _COMPARED:
                seen.append(x)
        return seen


def vgg19_features() -> nn.Sequential:
    """Make VGG19's layers up to conv5_4, with fresh weights, numbered as in torchvision."""
    layers: list[nn.Module] = []
    channels = 3
    for width, convolutions in _STAGES:
        for _ in range(convolutions):
            compared = len(layers) in _COMPARED
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=not compared)]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers[: max(_COMPARED) + 1])


def build_perceptual(weights: str) -> Perceptual:
    """Make the loss with trained weights.

    Args:
        weights: 'vgg19' downloads torchvision's; a file's path loads them.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it holds no weights, or more than weights.
        MismatchError: If they are another network's.
        ResourceError: If they cannot be downloaded.
    """
    features = vgg19_features()
    found = _download() if weights == _DOWNLOADED else read_weights(Path(weights))
    try:
        load_encoder(features, found, ignored=(), where=weights)
    except MismatchError as error:
        raise MismatchError(str(error), hint=_HINT) from error
    return Perceptual(features)


def _download() -> dict[str, Tensor]:
    try:
        weights: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            VGG19_URL, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError) as error:
        raise ResourceError(f"cannot download the weights of VGG19: {error}", hint=_HINT) from error
    return weights
