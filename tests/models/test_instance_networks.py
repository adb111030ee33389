"""What every network that finds buildings one by one promises, whatever its name."""

import pytest
import torch
from torch import Tensor, nn

from buildmap.errors import MismatchError
from buildmap.models import INSTANCE_MODELS, build_instances, build_model
from buildmap.models.instance_network import Detections, InstanceNetwork, Objects
from buildmap.preset import Instances, Model
from tests.models.buildings import draw, small_model

networks = pytest.mark.parametrize("name", INSTANCE_MODELS)
SIDE = 96
PARTS = ("mask", "keypoint", "mask+keypoint")


def make(name: str, *, parts: str = "mask+keypoint", bands: int = 3, **changes: object) -> InstanceNetwork:
    torch.manual_seed(0)
    return build_instances(small_model(name, parts=parts, **changes), bands)


def two_images() -> tuple[Tensor, list[Objects]]:
    torch.manual_seed(1)
    images, objects = zip(
        draw([(10, 12, 50, 40), (56, 50, 90, 88)], SIDE, SIDE),
        draw([(30, 20, 70, 80)], SIDE, SIDE),
        strict=True,
    )
    return torch.stack(images), list(objects)


def assert_same(one: Detections, other: Detections, *, atol: float) -> None:
    assert len(one.boxes) == len(other.boxes) > 0
    for field in ("boxes", "scores", "masks", "heatmaps"):
        torch.testing.assert_close(getattr(one, field), getattr(other, field), atol=atol, rtol=0)


@networks
@pytest.mark.parametrize("parts", PARTS)
def test_each_part_is_given_for_every_box_or_for_none(name: str, parts: str) -> None:
    network = make(name, parts=parts, score_min=0.0).eval()
    with torch.inference_mode():
        found = network(torch.randn(2, 3, 64, 96))
    for one in found:
        count = len(one.boxes)
        assert 0 < count <= 16
        assert one.scores.shape == (count,)
        assert (one.masks is None) == (parts == "keypoint")
        assert (one.heatmaps is None) == (parts == "mask")
        for maps in (one.masks, one.heatmaps):
            if maps is not None:
                assert maps.shape == (count, 28, 28)
                assert 0 <= maps.min() <= maps.max() <= 1
        assert (one.boxes >= 0).all() and (one.boxes[:, 2] <= 96).all() and (one.boxes[:, 3] <= 64).all()
        assert (one.boxes[:, 2:] > one.boxes[:, :2]).all()
        assert (one.scores[:-1] >= one.scores[1:]).all()


@networks
@pytest.mark.parametrize(("rows", "cols"), [(32, 32), (32, 160), (96, 64)])
def test_images_of_any_whole_strides_and_bands_are_taken(name: str, rows: int, cols: int) -> None:
    network = make(name, bands=5).eval()
    assert (rows % network.stride, cols % network.stride) == (0, 0)
    with torch.inference_mode():
        assert len(network.detect(torch.randn(1, 5, rows, cols))) == 1


@networks
@pytest.mark.parametrize("parts", PARTS)
def test_the_gradient_reaches_every_parameter(name: str, parts: str) -> None:
    network = make(name, parts=parts, anchor_px=(16, 32, 64, 128, 256)).train()
    for key, parameter in network.named_parameters():
        if not key.endswith("bias") and not parameter.any():
            nn.init.uniform_(parameter, 0.1, 0.5)  # residual branches start with no say
    torch.manual_seed(1)
    boxes = [(2, 2, 14, 12), (20, 10, 50, 40), (60, 8, 120, 70), (10, 80, 250, 250), (130, 4, 250, 60)]
    image, objects = draw(boxes, 256, 256)
    whole, around = draw([(2, 2, 254, 254)], 256, 256)
    sum(network(torch.stack([image, whole]), [objects, around]).values()).backward()  # type: ignore[union-attr]
    unreached = [
        p for p, values in network.named_parameters() if values.grad is None or not values.grad.any()
    ]
    assert unreached == []


@networks
@pytest.mark.parametrize("training", [True, False])
def test_images_without_a_building_are_learned_from(name: str, training: bool) -> None:
    network = make(name).train(training)
    images, objects = two_images()
    nothing = draw([], SIDE, SIDE)[1]
    for truth in ([nothing, nothing], [objects[0], nothing]):
        network.zero_grad()
        losses = network.losses(images, truth)
        sum(losses.values()).backward()  # type: ignore[union-attr]
        assert all(loss.isfinite() and loss >= 0 for loss in losses.values())
        assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
        assert (losses["mask"] > 0) == (losses["keypoint"] > 0) == (truth[0] is not nothing)
        assert losses["classification"] > 0


@networks
def test_an_image_is_seen_alone_as_in_a_batch_in_any_order(name: str) -> None:
    network = make(name, score_min=0.0).eval()
    images, _ = two_images()
    with torch.inference_mode():
        both, turned = network.detect(images), network.detect(images.flip(0))
        alone = [network.detect(image[None])[0] for image in images]
    for image in range(2):
        assert_same(both[image], alone[image], atol=1e-4)
        assert_same(both[image], turned[1 - image], atol=1e-4)


def test_losses_do_not_depend_on_the_order_of_images() -> None:
    """Of FCOS: Mask R-CNN draws which boxes learn, from torch's generator, image by image."""
    network = make("fcos").eval()
    images, objects = two_images()
    here, there = network.losses(images, objects), network.losses(images.flip(0), objects[::-1])
    for name, loss in here.items():
        torch.testing.assert_close(loss, there[name])


@networks
def test_more_regions_than_are_looked_at_together_make_no_difference(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make(name, score_min=0.0).eval()
    images, _ = two_images()
    with torch.inference_mode():
        together = network.detect(images)
        monkeypatch.setattr("buildmap.models.region_network._REGIONS_AT_ONCE", 3)
        apart = network.detect(images)
    assert len(together[0].boxes) > 3
    for one, other in zip(together, apart, strict=True):
        assert_same(one, other, atol=1e-5)


@networks
def test_what_is_found_is_the_same_in_lower_precision_but_for_rounding(name: str) -> None:
    """Boxes are computed in single precision: half of it knows coordinates to two pixels."""
    network = make(name, score_min=0.0).eval()
    images, objects = two_images()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = network.detect(images)
        losses = network.losses(images, objects)
    for one in found:
        assert {
            part.dtype for part in (one.boxes, one.scores, one.masks, one.heatmaps) if part is not None
        } == {torch.float32}
        assert not torch.equal(one.boxes, one.boxes.bfloat16().float())
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())


@networks
def test_weights_are_the_same_on_the_meta_device(name: str) -> None:
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in make(name).state_dict().items()}
    assert shapes == {key: value.shape for key, value in make(name).state_dict().items()}


def test_the_two_kinds_of_networks_are_told_apart() -> None:
    with pytest.raises(MismatchError, match="model lite does not find buildings one by one"):
        build_instances(Model(name="lite"), 3)
    with pytest.raises(MismatchError, match="model fcos finds buildings one by one"):
        build_model(small_model("fcos"), 3, 1)
    with pytest.raises(MismatchError, match="model fcos needs to know") as caught:
        build_instances(Model(name="fcos"), 3)
    assert caught.value.hint is not None and "[model.instances]" in caught.value.hint
    with pytest.raises(MismatchError, match="model mask-rcnn has no depth"):
        build_instances(Model(name="mask-rcnn", depth=3, instances=Instances()), 3)
    with pytest.raises(MismatchError, match="model unet has no instances"):
        build_model(Model(name="unet", instances=Instances()), 3, 1)
