"""Files of encoder weights: found under any prefix, adapted to the bands, and refused where they differ."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn

from buildmap.errors import InputError, MismatchError, MissingInput
from buildmap.models import build_model
from buildmap.models.encoder_weights import read_weights
from buildmap.models.encoders import EncoderUse, build_encoder, build_high_resolution_encoder
from buildmap.preset import Model
from tests.models.small_encoders import HRNET, MIT, RESNET, SWIN, register

register()
USE = EncoderUse(default=RESNET)
IMAGE = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def whole(name: str = RESNET, **options: object) -> nn.Module:
    """Make a classifier with weights and running means of its own."""
    torch.manual_seed(7)
    network: nn.Module = timm.create_model(name, **options).train()
    network(torch.rand(4, 3, 224, 224))
    return network.eval()


def write(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def encoder(path: Path, bands: int = 3, name: str | None = None) -> nn.Module:
    model = Model(name="unet", encoder=name, encoder_weights=str(path))
    return build_encoder(model, bands, USE).module.eval()


@pytest.mark.parametrize(
    "nest",
    [
        lambda tensors: tensors,
        lambda tensors: {"state_dict": tensors, "epoch": 3},
        lambda tensors: {"model": {f"module.{name}": tensor for name, tensor in tensors.items()}},
        lambda tensors: {f"backbone.{name}": tensor for name, tensor in tensors.items()},
        lambda tensors: (
            {f"module.encoder.model.{name}": tensor for name, tensor in tensors.items()}
            | {"module.decoder.weight": torch.zeros(3), "module.head.conv1.weight": torch.zeros(1, 2, 3, 3)}
        ),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_weights_are_found_however_they_were_saved(
    tmp_path: Path, suffix: str, nest: Callable[[dict[str, Tensor]], dict[str, object]]
) -> None:
    trained = whole()
    content, path = nest(trained.state_dict()), tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        if not all(isinstance(value, Tensor) for value in content.values()):
            pytest.skip("safetensors are flat")
        write(path, content)  # type: ignore[arg-type]
    else:
        torch.save(content, path)
    with torch.inference_mode():
        assert torch.equal(encoder(path)(IMAGE)[-1], trained.forward_features(IMAGE))  # type: ignore[operator]


@pytest.mark.parametrize("bands", [1, 3, 4, 6])
def test_the_first_convolution_is_adapted_so_that_grey_gives_what_it_gave(tmp_path: Path, bands: int) -> None:
    trained = whole()
    adapted = encoder(write(tmp_path / "w.safetensors", trained.state_dict()), bands)
    grey = IMAGE[:, :1]
    weight = adapted.model.conv1[0].weight if isinstance(adapted.model.conv1, nn.Sequential) else None  # type: ignore[union-attr]
    given = trained.conv1[0].weight if isinstance(trained.conv1, nn.Sequential) else None
    assert weight is not None
    assert given is not None
    if bands == 1:
        torch.testing.assert_close(weight, given.sum(dim=1, keepdim=True))
    else:
        for band in range(bands):
            torch.testing.assert_close(weight[:, band], given[:, band % 3] * 3 / bands)
    if bands % 3 == 0 or bands == 1:
        with torch.inference_mode():
            ours = adapted(grey.expand(-1, bands, -1, -1))[-1]
            theirs = trained.forward_features(grey.expand(-1, 3, -1, -1))  # type: ignore[operator]
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_a_file_that_has_the_right_bands_already_is_taken_as_it_is(tmp_path: Path) -> None:
    first = encoder(write(tmp_path / "3.safetensors", whole().state_dict()), 4)
    again = encoder(write(tmp_path / "4.safetensors", first.state_dict()), 4)
    assert all(torch.equal(first.state_dict()[name], tensor) for name, tensor in again.state_dict().items())


def test_a_swin_s_stages_are_found_though_they_are_named_otherwise_in_the_encoder(tmp_path: Path) -> None:
    trained = whole(SWIN)
    assert not trained.state_dict().keys() & {"layers_0.blocks.0.norm1.weight"}
    ours = encoder(write(tmp_path / "w.safetensors", trained.state_dict()), name=SWIN)
    image = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(
            ours(image)[2].permute(0, 2, 3, 1),
            trained.layers[0](trained.patch_embed(image)),  # type: ignore[operator,index]
        )


def test_an_hrnet_s_trunk_is_taken_and_its_classifier_ignored(tmp_path: Path) -> None:
    trained = whole(HRNET)
    path = write(tmp_path / "w.safetensors", trained.state_dict())
    model = Model(name="hrnet", encoder=HRNET, encoder_weights=str(path))
    ours = build_high_resolution_encoder(model, 3, USE).module.eval()
    with torch.inference_mode():
        theirs = trained.stages(
            trained.act2(
                trained.bn2(
                    trained.conv2(  # type: ignore[operator]
                        trained.act1(trained.bn1(trained.conv1(IMAGE)))
                    )
                )
            )  # type: ignore[operator]
        )
        assert all(torch.equal(one, other) for one, other in zip(ours(IMAGE), theirs, strict=True))


def test_encoders_that_timm_lacks_are_loaded_too(tmp_path: Path) -> None:
    trained = get_encoder(MIT, weights=None).eval()
    tensors = dict(trained.state_dict()) | {"head.weight": torch.zeros(2, 2), "head.bias": torch.zeros(2)}
    ours = encoder(write(tmp_path / "w.safetensors", tensors), name=MIT)
    with torch.inference_mode():
        assert torch.equal(ours(IMAGE)[-1], trained(IMAGE)[-1])


def test_the_decoder_s_weights_are_not_touched(tmp_path: Path) -> None:
    path = write(tmp_path / "w.safetensors", whole().state_dict())
    networks = []
    for weights in (str(path), None):
        torch.manual_seed(3)
        networks.append(build_model(Model(name="sci-net", encoder=RESNET, encoder_weights=weights), 3, 1))
    loaded, fresh = (network.state_dict() for network in networks)
    changed = {name.partition(".")[0] for name in fresh if not torch.equal(loaded[name], fresh[name])}
    assert changed == {"encoder"}


def test_weights_of_another_encoder_are_refused_with_what_differs(tmp_path: Path) -> None:
    path = write(tmp_path / "w.safetensors", whole("resnet10t").state_dict())
    with pytest.raises(MismatchError, match=r"another encoder: .* is \(24, 3, 3, 3\), not .*and \d+ more"):
        encoder(path)


def test_a_larger_encoder_that_contains_this_one_is_refused(tmp_path: Path) -> None:
    """Every tensor of resnet18 is in resnet34 too, in the same shape."""
    path = write(tmp_path / "w.safetensors", timm.create_model("resnet34").state_dict())
    with pytest.raises(MismatchError, match=r"layer1.2.bn1.bias is \(64,\), not absent, .* and 77 more"):
        encoder(path, name="resnet18")


def test_a_file_that_lacks_one_tensor_is_refused(tmp_path: Path) -> None:
    tensors = dict(whole().state_dict())
    del tensors["layer3.0.conv1.weight"]
    with pytest.raises(MismatchError, match=r"layer3.0.conv1.weight is absent, not \("):
        encoder(write(tmp_path / "w.safetensors", tensors))


def test_counts_of_batches_may_be_absent(tmp_path: Path) -> None:
    trained = whole()
    tensors = {n: t for n, t in trained.state_dict().items() if not n.endswith("num_batches_tracked")}
    ours = encoder(write(tmp_path / "w.safetensors", tensors))
    with torch.inference_mode():
        assert torch.equal(ours(IMAGE)[-1], trained.forward_features(IMAGE))  # type: ignore[operator]


def test_weights_of_other_bands_than_colours_are_not_guessed_at(tmp_path: Path) -> None:
    path = write(tmp_path / "w.safetensors", timm.create_model(RESNET, in_chans=5).state_dict())
    with pytest.raises(MismatchError, match=r"5, 3, 3\), not \(\d+, 4, 3, 3\)"):
        encoder(path, bands=4)


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"no\.pth do not exist"):
        encoder(tmp_path / "no.pth")


class Bomb:
    """Makes a folder when unpickled."""

    def __init__(self, crater: Path) -> None:
        self.crater = crater

    def __reduce__(self) -> tuple[object, ...]:
        return Path.mkdir, (self.crater,)


def test_nothing_in_a_pickle_is_executed(tmp_path: Path) -> None:
    crater = tmp_path / "crater"
    torch.save(
        {"state_dict": {"conv1.weight": torch.zeros(1)}, "hyper_parameters": Bomb(crater)}, tmp_path / "w.pth"
    )
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Bomb(crater)))
    for name in ("w.pth", "old.pt"):
        with pytest.raises(InputError, match="holds no encoder weights"):
            read_weights(tmp_path / name)
    assert not crater.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"a letter to a friend\n" * 50, b"\xff" * 64])
def test_other_content_holds_no_weights(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="holds no encoder weights"):
        read_weights(path)


def test_a_file_without_tensors_holds_no_weights(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("w.pth", "list.pth"):
        with pytest.raises(InputError, match="holds no encoder weights"):
            read_weights(tmp_path / name)
