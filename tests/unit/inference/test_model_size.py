"""Numbers in a model file are those that its library counts."""

import json
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from buildmap.inference.model_size import ModelSize, measure_model
from tests.networks import make_card, write_onnx

NOTHING = ModelSize(parameters=0, weights_bytes=0)


def save_onnx(path: Path, constants: list[TensorProto]) -> Path:
    graph = helper.make_graph([], "g", [], [], constants, doc_string="about " * 50)
    onnx.save(helper.make_model(graph, producer_name="someone"), path)
    return path


def save_tensors(path: Path, tensors: dict[str, tuple[str, list[int]]]) -> Path:
    header = {name: {"dtype": kind, "shape": shape} for name, (kind, shape) in tensors.items()}
    text = json.dumps({"__metadata__": {"buildmap": "{}"}} | header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    return path


def test_a_network_is_counted_as_onnx_counts_it(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "m.onnx", make_card(), kernel_px=5)
    arrays = [numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer]
    assert measure_model(path) == ModelSize(
        parameters=sum(a.size for a in arrays), weights_bytes=sum(a.nbytes for a in arrays)
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint8, np.int32])
def test_the_type_says_how_much_memory_weights_take(tmp_path: Path, dtype: type) -> None:
    array = np.ones((3, 200, 2), dtype)
    path = save_onnx(tmp_path / "m.onnx", [numpy_helper.from_array(array, "w")])
    assert measure_model(path) == ModelSize(parameters=1200, weights_bytes=array.nbytes)


def test_shapes_and_places_are_no_weights(tmp_path: Path) -> None:
    constants = [
        numpy_helper.from_array(np.ones(7, np.float32), "w"),
        numpy_helper.from_array(np.ones(4, np.int64), "shape"),
        numpy_helper.from_array(np.float32(2), "one number"),
    ]
    assert measure_model(save_onnx(tmp_path / "m.onnx", constants)).parameters == 8


def test_dims_one_by_one_count_as_those_in_a_row(tmp_path: Path) -> None:
    def field(number: int, content: bytes) -> bytes:
        assert len(content) < 128
        return bytes([number << 3 | 2, len(content)]) + content

    one_by_one = b"\x08\x03\x08\x05\x10\x01"  # dims 3, dims 5, float32
    in_a_row = field(1, b"\x03\x05") + b"\x10\x01"
    path = tmp_path / "m.onnx"
    for tensor in (one_by_one, in_a_row):
        path.write_bytes(field(7, field(5, tensor)))
        assert measure_model(path) == ModelSize(parameters=15, weights_bytes=60)


def test_a_checkpoint_is_counted_from_its_header(tmp_path: Path) -> None:
    tensors = {"a": ("F32", [3, 4]), "b": ("BF16", [5]), "scalar": ("F64", []), "seen": ("I64", [9])}
    tensors |= {"words": ("F32", ["2"]), "number": ("F32", 2), "list": (["F32"], [2])}  # type: ignore[dict-item]
    path = save_tensors(tmp_path / "m.safetensors", tensors)
    assert measure_model(path) == ModelSize(parameters=18, weights_bytes=48 + 10 + 8)


@settings(max_examples=40)
@given(content=st.binary(max_size=200))
def test_any_bytes_end_in_a_count(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("any")
    for name in ("m.onnx", "m.safetensors"):
        (folder / name).write_bytes(content)
        assert measure_model(folder / name).parameters >= 0


def test_what_is_cut_off_counts_for_nothing(tmp_path: Path) -> None:
    whole = write_onnx(tmp_path / "m.onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(whole[:60])
    assert measure_model(tmp_path / "m.onnx") == NOTHING
    (tmp_path / "m.onnx").write_bytes(b"\x3a" + b"\xff" * 9 + b"\x7f")  # a graph of 2**70 bytes
    assert measure_model(tmp_path / "m.onnx") == NOTHING
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", 2**40) + b"{}")
    assert measure_model(tmp_path / "m.safetensors") == NOTHING
