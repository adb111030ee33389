"""Sizes that belong to another kind of network are refused, not ignored."""

import pytest

from buildmap.errors import MismatchError
from buildmap.models import build_model
from buildmap.preset import Model


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (Model(name="lite", encoder="resnet18"), "encoder"),
        (Model(name="lite", output_stride=16), "output_stride"),
        (Model(name="unet", width=24), "width"),
        (Model(name="sci-net", stem_stride=1), "stem_stride"),
        (Model(name="esrgan", encoder="resnet18"), "encoder"),
        (Model(name="shallow-net", depth=2), "depth"),
        (Model(name="map-guided-shallow-net", output_stride=8), "output_stride"),
        (Model(name="enlarged-deeplabv3", width=64), "width"),
        (Model(name="enlarged-shallow-net", depth=2), "depth"),
    ],
)
def test_a_size_that_the_network_does_not_have_is_named(model: Model, size: str) -> None:
    with pytest.raises(MismatchError, match=f"model {model.name} has no {size}"):
        build_model(model, 3, 1)
