"""onnxruntime as a backend: the right numbers, or a clear refusal."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from buildmap.contract import METADATA_KEY, card_to_json
from buildmap.errors import InputError, MismatchError, ResourceError
from buildmap.inference.onnx_backend import OnnxBackend
from tests.networks import make_card, write_onnx


def test_logits_and_card_come_from_the_one_file(tmp_path: Path) -> None:
    backend = OnnxBackend(write_onnx(tmp_path / "m.onnx"))
    images = np.random.default_rng(0).standard_normal((2, 3, 16, 32)).astype(np.float32)
    np.testing.assert_allclose(
        backend.logits(images), 4 * images.mean(1, keepdims=True), rtol=1e-4, atol=1e-6
    )
    assert backend.card == make_card()


def test_a_text_file_and_a_foreign_onnx_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_text("not a model")
    with pytest.raises(InputError, match="not a buildmap model"):
        OnnxBackend(path)
    model = onnx.load(write_onnx(path))
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(InputError, match="carries no 'buildmap' metadata"):
        OnnxBackend(path)


def test_a_card_of_another_version_names_the_key(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.metadata_props[0].value = model.metadata_props[0].value.replace('"stride"', '"strides"')
    onnx.save(model, path)
    with pytest.raises(MismatchError, match="unknown key 'strides'"):
        OnnxBackend(path)


def test_weights_outside_the_file_are_never_read(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "m.onnx")
    model = onnx.load(path)
    (tmp_path / "secret.bin").write_bytes(np.ones(3, np.float32).tobytes())
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="secret.bin")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError):
        OnnxBackend(path)


def test_cuda_that_is_not_there_is_an_error_and_never_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ResourceError, match="device cuda asked for"):
        OnnxBackend(write_onnx(tmp_path / "m.onnx"), device="cuda")
    with pytest.raises(ResourceError, match="no device 'tpu'"):
        OnnxBackend(write_onnx(tmp_path / "n.onnx"), device="tpu")


def test_loading_a_model_leaves_nothing_in_the_home_folder(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    model = write_onnx(tmp_path / "m.onnx")
    code = (
        "import sys; from buildmap.inference import backend; backend.load_backend(backend.Path(sys.argv[1]))"
    )
    home = {"HOME": str(tmp_path / "home")}
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    subprocess.run([sys.executable, "-c", code, model], env=environment | home, check=True, timeout=60)
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize(
    ("operation", "inputs"), [("Identity", ["image"]), ("ReduceMean", ["image"]), ("Add", ["image", "other"])]
)
def test_a_network_that_is_not_what_its_card_says_is_refused_when_loaded(
    tmp_path: Path, operation: str, inputs: list[str]
) -> None:
    def info(name: str) -> onnx.ValueInfoProto:
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)

    node = onnx.helper.make_node(operation, inputs, ["logits"])
    graph = onnx.helper.make_graph([node], "other", [info(name) for name in inputs], [info("logits")])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    onnx.helper.set_model_props(model, {METADATA_KEY: card_to_json(make_card())})
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(MismatchError, match=r"m\.onnx (gives|does not run)"):
        OnnxBackend(tmp_path / "m.onnx")
