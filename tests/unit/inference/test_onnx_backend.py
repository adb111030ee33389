"""onnxruntime as a backend: the right numbers, or a clear refusal."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from buildmap.contract import METADATA_KEY, card_to_json
from buildmap.errors import InputError, MismatchError
from buildmap.inference.backend import builtin_model
from buildmap.inference.devices import BackendOptions
from buildmap.inference.onnx_backend import OnnxBackend, sigmoid
from buildmap.raster.blend import ONE
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


@pytest.mark.parametrize(("does", "says"), [(1, 4), (4, 1), (2, 4)])
def test_a_network_of_another_scale_than_its_card_says_is_refused(
    tmp_path: Path, does: int, says: int
) -> None:
    model = onnx.load(write_onnx(tmp_path / "m.onnx", make_card(scale=does)))
    onnx.helper.set_model_props(model, {METADATA_KEY: card_to_json(make_card(scale=says))})
    onnx.save(model, tmp_path / "m.onnx")
    told = (
        rf"gives \(1, 1, {32 * does}, {32 * does}\) for an image of 3 x 32 x 32; its card says scale {says}"
    )
    with pytest.raises(MismatchError, match=told):
        OnnxBackend(tmp_path / "m.onnx")


def test_a_finer_network_gives_finer_probability_and_is_cut_in_its_own_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (2, 3, 16, 32), np.uint8)
    expected = OnnxBackend(write_onnx(tmp_path / "1.onnx")).probability(images).repeat(4, 1).repeat(4, 2)
    backend = OnnxBackend(write_onnx(tmp_path / "4.onnx", make_card(scale=4)))
    np.testing.assert_allclose(backend.probability(images), expected, atol=1e-6)
    weights = rng.random((50, 90)).astype(np.float32)
    found = backend.contributions(images, (slice(3, 53), slice(30, 120)), weights)
    assert np.abs(found - ONE * weights * expected[:, 3:53, 30:120]).max() < 1.01


def test_probability_is_that_of_the_rasters_own_numbers(tmp_path: Path) -> None:
    card = make_card()
    backend = OnnxBackend(write_onnx(tmp_path / "m.onnx", card))
    images = np.random.default_rng(0).integers(0, 255, (2, 3, 16, 32), np.uint8)
    logits = 4 * ((images / 255 - 0.5) / 0.25).mean(1)
    expected = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(backend.probability(images), expected, atol=1e-6)
    cut = (slice(0, 10), slice(4, 32))
    weights = np.random.default_rng(1).random((10, 28)).astype(np.float32)
    found = backend.contributions(images, cut, weights)
    assert found.dtype == np.uint16
    lost = expected[:, :10, 4:] * weights * ONE - found
    assert ((lost > -0.01) & (lost < 1.01)).all()  # rounded down


def test_sigmoid_is_right_in_the_middle_and_never_overflows() -> None:
    logits = np.array([-1e30, -100, -20, -1, 0, 1, 20, 100, 1e30], np.float32)
    expected = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -500, 500)))
    found = sigmoid(logits)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-25)


def test_bits_do_not_depend_on_threads_lanes_or_who_calls_when() -> None:
    images = np.random.default_rng(0).integers(0, 255, (4, 3, 256, 160), np.uint8)
    settings = [BackendOptions(threads=1), BackendOptions(threads=3), BackendOptions(threads=4, lanes=1)]
    results = [OnnxBackend(builtin_model(), options).probability(images) for options in settings]
    shared = OnnxBackend(builtin_model(), BackendOptions(threads=4, lanes=4))
    assert shared.lanes == 4
    with ThreadPoolExecutor(4) as lanes:
        results.append(np.concatenate(list(lanes.map(shared.probability, images[:, None]))))
    assert len({result.tobytes() for result in results}) == 1


def test_a_window_that_does_not_fit_memory_is_an_error_with_a_hint() -> None:
    code = """if True:
        import resource, sys
        import numpy as np
        from buildmap.inference.backend import BackendOptions, builtin_model, load_backend
        from buildmap.errors import ResourceError
        backend = load_backend(builtin_model(), BackendOptions(device="cpu", threads=1))
        pages = int(open("/proc/self/statm").read().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 60 * 10**6,) * 2)
        try:
            backend.probability(np.zeros((1, 3, 1536, 1536), np.uint8))
        except ResourceError as error:
            print(error, error.hint)
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "out of memory on cpu: Failed to allocate memory" in done.stdout
    assert "--max-memory" in done.stdout
    assert done.stderr == ""
