"""Dual attention against the two branches of the paper, written out."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from buildmap.models import build_model
from buildmap.models.danet import DualAttention
from buildmap.models.network import Segmenter
from buildmap.preset import Model


def with_a_say(channels_in: int, channels: int) -> DualAttention:
    """Make one whose two attentions have a say, which they start without."""
    torch.manual_seed(0)
    dual = DualAttention(channels_in, channels).double()
    nn.init.constant_(dual.position.get_parameter("1.share"), 0.7)
    nn.init.constant_(dual.channel.get_parameter("1.share"), 0.3)
    return dual


def convolved(features: Tensor, weight: Tensor) -> Tensor:
    """Convolve, normalize by the initial statistics and rectify."""
    return (conv2d(features, weight, padding=1) / math.sqrt(1 + 1e-5)).clamp(min=0)


def attended(features: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Give every pixel the mean of the values, weighted by the softmax of likeness (equations 1 and 2)."""
    weights = torch.einsum("bci,bcj->bji", key, query).softmax(dim=2)  # (B, to, from)
    return torch.einsum("bji,bci->bcj", weights, value).reshape(features.shape)


def test_features_are_the_sum_of_both_attentions_each_between_two_convolutions() -> None:
    """Figure 2 of Fu et al. (2019)."""
    dual = with_a_say(6, 8).eval()
    coarsest = torch.randn(2, 6, 4, 5, dtype=torch.float64)
    finer = torch.randn(2, 3, 8, 10, dtype=torch.float64)
    with torch.no_grad():
        near = convolved(coarsest, dual.position.get_parameter("0.0.weight"))
        query, key, value = (
            dual.position.get_submodule(f"1.{part}")(near).flatten(2) for part in ("query", "key", "value")
        )
        position = near + 0.7 * attended(near, query, key, value)
        position = convolved(position, dual.position.get_parameter("2.0.weight"))

        near = convolved(coarsest, dual.channel.get_parameter("0.0.weight"))
        flat = near.flatten(2)
        likeness = flat @ flat.mT
        weights = (likeness.amax(2, keepdim=True) - likeness).softmax(dim=2)  # as in the authors' program
        channel = near + 0.3 * (weights @ flat).reshape(near.shape)
        channel = convolved(channel, dual.channel.get_parameter("2.0.weight"))

        torch.testing.assert_close(dual([finer, coarsest]), position + channel)


def test_a_pixel_sees_its_surroundings_at_first_and_everything_once_attention_has_a_say() -> None:
    features = torch.randn(1, 4, 9, 11, dtype=torch.float64, requires_grad=True)

    def seen(dual: DualAttention) -> Tensor:
        (gradient,) = torch.autograd.grad(dual.eval()([features])[0, :, 4, 5].sum(), features)
        return gradient[0].abs().sum(0) > 0

    torch.manual_seed(0)
    near = torch.zeros(9, 11, dtype=torch.bool)
    near[2:7, 3:8] = True  # two convolutions of three pixels
    assert torch.equal(seen(DualAttention(4, 8).double()), near)
    assert seen(with_a_say(4, 8)).all()


def test_moving_the_image_moves_the_features_though_every_pixel_sees_all() -> None:
    dual = with_a_say(4, 8).eval()
    features = torch.zeros(1, 4, 12, 12, dtype=torch.float64)
    features[..., 4:7, 4:7] = torch.randn(4, 3, 3, dtype=torch.float64)
    with torch.no_grad():
        here, there = dual([features]), dual([features.roll((2, 1), (2, 3))])
    assert here.std() > 0
    torch.testing.assert_close(there[..., 3:11, 2:11], here[..., 1:9, 1:10])


def test_whole_channels_are_dropped_in_training_one_in_ten() -> None:
    torch.manual_seed(0)
    dropped = DualAttention(4, 512)([torch.randn(4, 4, 5, 5)]).flatten(2).eq(0).all(2)
    assert 0.07 < dropped.float().mean() < 0.13


def test_it_has_a_quarter_of_the_encoder_s_channels_at_an_eighth_of_the_image() -> None:
    """Fu et al. (2019), section 4.1: 2048 channels, and the last two stages dilated."""
    with torch.device("meta"):
        network = build_model(Model(name="danet"), 3, 2).eval()
        assert isinstance(network, Segmenter)
        features = network.encoder(torch.zeros(1, 3, 64, 96))
        decoded = network.decoder(features)
        logits = network.enlarge(network.head(decoded))
    assert features[-1].shape == (1, 2048, 8, 12)
    assert decoded.shape == (1, 512, 8, 12)
    assert logits.shape == (1, 2, 64, 96)
    assert network.stride == 8
