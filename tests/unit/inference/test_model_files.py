"""A card is read without the library of its file, and what is no model has none."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from buildmap.contract import METADATA_KEY, card_to_json
from buildmap.errors import InputError, MismatchError
from buildmap.inference.backend import builtin_model
from buildmap.inference.model_files import read_card
from buildmap.inference.onnx_backend import OnnxBackend
from tests.networks import make_card, write_onnx
from tests.unit.inference.instance_models import instance_card, write_instances

CARD = make_card(training_data="Wälder, 建物 and more" * 100)


def test_the_card_of_an_onnx_file_is_what_onnxruntime_reads(tmp_path: Path) -> None:
    assert read_card(write_onnx(tmp_path / "m.onnx", CARD)) == CARD
    assert read_card(write_instances(tmp_path / "i.onnx")) == instance_card()
    assert read_card(builtin_model()) == OnnxBackend(builtin_model()).card


def test_the_card_of_a_safetensors_file_is_what_its_library_wrote(tmp_path: Path) -> None:
    weights = {"a": torch.zeros(3, 4), "b": torch.ones(5)}
    save_file(weights, tmp_path / "m.safetensors", metadata={METADATA_KEY: card_to_json(CARD), "other": "x"})
    assert read_card(tmp_path / "m.safetensors") == CARD
    save_file(weights, tmp_path / "n.safetensors", metadata={"other": "x"})
    assert read_card(tmp_path / "n.safetensors") is None
    save_file(weights, tmp_path / "o.safetensors")
    assert read_card(tmp_path / "o.safetensors") is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".onnx", ".safetensors"]))
def test_what_is_no_model_has_no_card(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)
    assert read_card(path) is None


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 2**63),
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 4) + b"\xff\xfe\xfd\xfc",
        struct.pack("<Q", 18) + b'{"__metadata__":1}',
        struct.pack("<Q", 60) + json.dumps({"a": 1}).encode(),
    ],
)
def test_a_header_that_is_none_has_no_card(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    assert read_card(tmp_path / "m.safetensors") is None


def test_a_truncated_file_has_no_card(tmp_path: Path) -> None:
    whole = write_onnx(tmp_path / "m.onnx", CARD).read_bytes()
    start = whole.index(METADATA_KEY.encode())
    for stop in range(0, start, 29):
        (tmp_path / "t.onnx").write_bytes(whole[:stop])
        assert read_card(tmp_path / "t.onnx") is None
    (tmp_path / "t.onnx").write_bytes(whole[: start + 200])
    with pytest.raises(InputError, match="is not a buildmap model"):
        read_card(tmp_path / "t.onnx")


def test_a_card_of_other_fields_is_refused(tmp_path: Path) -> None:
    table = json.loads(card_to_json(CARD)) | {"surprise": 1}
    np_weights = {"a": torch.from_numpy(np.zeros(1))}
    save_file(np_weights, tmp_path / "m.safetensors", metadata={METADATA_KEY: json.dumps(table)})
    with pytest.raises(MismatchError, match="surprise"):
        read_card(tmp_path / "m.safetensors")
