"""Model files: stable bytes out, nothing but buildmap models in."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from buildmap.contract import METADATA_KEY, card_to_json
from buildmap.errors import InputError, MismatchError, MissingInput
from buildmap.models import build_model
from buildmap.models.checkpoint import fingerprint_weights, load_checkpoint, read_tensors, save_checkpoint
from buildmap.preset import Model
from tests.networks import make_card

CARD = make_card(model=Model(name="lite", width=4, depth=2), stride=4)


def weights(seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return dict(build_model(CARD.model, bands=3, classes=1).state_dict())


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "model.safetensors", weights(), CARD)
    return tmp_path / "model.safetensors"


def test_the_card_comes_back_with_the_fingerprint_of_the_weights(model_file: Path) -> None:
    _, card = load_checkpoint(model_file)
    assert card == replace(CARD, fingerprint=fingerprint_weights(weights()))


def test_the_network_comes_back_ready_to_predict(model_file: Path) -> None:
    network, _ = load_checkpoint(model_file)
    assert not any(module.training for module in network.modules())
    loaded = network.state_dict()
    assert loaded.keys() == weights().keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in weights().items())


def test_equal_weights_give_equal_bytes_in_any_order_and_memory_format(
    tmp_path: Path, model_file: Path
) -> None:
    other = tmp_path / "other.safetensors"
    tensors = {
        name: t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t
        for name, t in reversed(weights().items())
    }
    save_checkpoint(other, tensors, CARD)
    assert other.read_bytes() == model_file.read_bytes()


def test_other_weights_have_another_fingerprint() -> None:
    assert fingerprint_weights(weights(0)) != fingerprint_weights(weights(1))
    renamed = {f"x{name}": tensor for name, tensor in weights().items()}
    assert fingerprint_weights(renamed) != fingerprint_weights(weights())


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"no\.safetensors"):
        load_checkpoint(tmp_path / "no.safetensors")


@pytest.mark.parametrize("content", [b"", b"a letter to a friend\n" * 50, b"\xff" * 64])
def test_other_content_is_not_a_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a buildmap model"):
        load_checkpoint(path)


def test_a_folder_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a buildmap model"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.999])
def test_a_truncated_model_is_refused(model_file: Path, kept: float) -> None:
    whole = model_file.read_bytes()
    model_file.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(InputError, match="not a buildmap model"):
        load_checkpoint(model_file)


class Bomb:
    """Makes a folder when unpickled."""

    def __init__(self, crater: Path) -> None:
        self.crater = crater

    def __reduce__(self) -> tuple[object, ...]:
        return Path.mkdir, (self.crater,)


@pytest.mark.parametrize("with_torch", [True, False])
def test_nothing_in_a_pickle_is_executed(tmp_path: Path, with_torch: bool) -> None:
    crater, path = tmp_path / "crater", tmp_path / "model.safetensors"
    if with_torch:
        torch.save({"weights": Bomb(crater)}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb(crater)))
    with pytest.raises(InputError, match="not a buildmap model"):
        load_checkpoint(path)
    assert not crater.exists()


def test_a_changed_weight_is_noticed(model_file: Path) -> None:
    content = bytearray(model_file.read_bytes())
    content[-1] ^= 1
    model_file.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(model_file)


def test_a_stranger_s_tensors_without_a_card_are_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(save(weights()))
    with pytest.raises(InputError, match="no 'buildmap' metadata"):
        load_checkpoint(tmp_path / "m.safetensors")


def test_weights_of_another_width_are_refused_with_both_shapes(tmp_path: Path) -> None:
    save_checkpoint(
        tmp_path / "m.safetensors", weights(), replace(CARD, model=Model(name="lite", width=8, depth=2))
    )
    with pytest.raises(MismatchError, match=r"\(8, 4, 3, 3\), not \(16, 8, 3, 3\)"):
        load_checkpoint(tmp_path / "m.safetensors")


def test_a_lacking_and_a_surplus_tensor_are_named(tmp_path: Path) -> None:
    tensors = weights()
    tensors["extra"] = tensors.pop("head.0.bias")
    save_checkpoint(tmp_path / "m.safetensors", tensors, CARD)
    with pytest.raises(
        MismatchError, match=r"extra is \(4,\), not absent, head.0.bias is absent, not \(4,\)"
    ):
        load_checkpoint(tmp_path / "m.safetensors")


def test_a_card_that_asks_for_an_enormous_network_allocates_none(tmp_path: Path) -> None:
    card = replace(CARD, model=Model(name="lite", width=10**7, depth=8), stride=4)
    save_checkpoint(tmp_path / "m.safetensors", weights(), card)
    with pytest.raises(MismatchError, match="does not fit its weights"):
        load_checkpoint(tmp_path / "m.safetensors")


def test_pretrained_weights_are_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def note(model: Model, bands: int, classes: int) -> torch.nn.Module:
        asked.append(model.encoder_weights)
        return build_model(model, bands, classes)

    monkeypatch.setattr("buildmap.models.checkpoint.build_model", note)
    save_checkpoint(
        tmp_path / "m.safetensors",
        weights(),
        replace(CARD, model=replace(CARD.model, encoder_weights="imagenet")),
    )
    load_checkpoint(tmp_path / "m.safetensors")
    assert set(asked) == {None}


def test_metadata_is_the_card_alone(model_file: Path) -> None:
    _, metadata = read_tensors(model_file)
    _, card = load_checkpoint(model_file)
    assert metadata == {METADATA_KEY: card_to_json(card)}
