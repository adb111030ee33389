"""Sessions take the threads, the memory and the provider that were asked for, or say why not."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from buildmap.errors import InputError, ResourceError
from buildmap.inference import onnx_session
from buildmap.inference.devices import BackendOptions
from buildmap.inference.onnx_session import choose_gpu, open_on_cpu, open_on_gpu
from tests.networks import make_card, write_onnx

Listing = pytest.MonkeyPatch


def list_providers(monkeypatch: Listing, *names: str) -> None:
    providers = [*(f"{name}ExecutionProvider" for name in names), "CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: providers)


@pytest.mark.parametrize(
    ("cores", "lanes", "threads"), [(1, 1, 1), (2, 2, 1), (8, 2, 7), (1, 4, 1), (4, 1, 4)]
)
def test_pool_and_callers_together_are_the_cores(
    tmp_path: Path, cores: int, lanes: int, threads: int
) -> None:
    session = open_on_cpu(write_onnx(tmp_path / "m.onnx"), cores=cores, lanes=lanes)
    options = session.get_session_options()
    assert options.intra_op_num_threads == threads
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert not options.enable_mem_pattern
    assert session.get_providers() == ["CPUExecutionProvider"]


def test_a_file_that_is_not_onnx_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no")
    with pytest.raises(InputError, match=r"m\.onnx is not a buildmap model"):
        open_on_cpu(tmp_path / "m.onnx", cores=1, lanes=1)


def test_auto_takes_cuda_where_it_is_listed_and_never_tensorrt(monkeypatch: Listing) -> None:
    list_providers(monkeypatch, "Tensorrt", "CUDA")
    assert choose_gpu("auto") == "cuda:0"
    assert choose_gpu("cpu") is None
    assert choose_gpu("cuda:2") == "cuda:2"
    assert choose_gpu("tensorrt") == "tensorrt:0"
    list_providers(monkeypatch)
    assert choose_gpu("auto") is None
    with pytest.raises(ResourceError, match="device tensorrt asked for, but onnxruntime has CPU"):
        choose_gpu("tensorrt:1")


class Session:
    """Remembers what it was asked for, and loads CUDA only."""

    asked: list[tuple[str, dict[str, str]]]

    def __init__(self, *_: object, providers: list[tuple[str, dict[str, str]]], enable_fallback: int) -> None:
        assert enable_fallback == 0
        Session.asked = providers

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def run(self, _outputs: None, images: dict[str, NDArray[np.float32]]) -> None:
        ((name, image),) = images.items()
        if name != "image":
            raise RuntimeError("libcudnn is missing")
        assert image.shape == (1, 3, 32, 32)


def test_cuda_is_asked_for_by_number_with_its_memory_bounded(tmp_path: Path, monkeypatch: Listing) -> None:
    monkeypatch.setattr(onnx_session.ort, "InferenceSession", Session)
    monkeypatch.setattr(onnx_session.ort, "preload_dlls", lambda: None)
    options = BackendOptions(max_vram_bytes=10**9, precision="fp32")
    open_on_gpu(write_onnx(tmp_path / "m.onnx"), make_card(), "cuda:1", image_name="image", options=options)
    ((name, cuda),) = Session.asked
    assert name == "CUDAExecutionProvider"
    assert (cuda["device_id"], cuda["gpu_mem_limit"], cuda["use_tf32"]) == ("1", "1000000000", "0")


def test_cuda_that_fails_in_its_first_run_is_found_when_loading(tmp_path: Path, monkeypatch: Listing) -> None:
    monkeypatch.setattr(onnx_session.ort, "InferenceSession", Session)
    monkeypatch.setattr(onnx_session.ort, "preload_dlls", lambda: None)
    model = write_onnx(tmp_path / "m.onnx")
    with pytest.raises(ResourceError, match="cuda:0 cannot be used: libcudnn is missing"):
        open_on_gpu(model, make_card(), "cuda:0", image_name="x", options=BackendOptions())


def test_tensorrt_is_told_the_sizes_to_build_for_and_not_replaced_by_cuda(
    tmp_path: Path, monkeypatch: Listing
) -> None:
    monkeypatch.setattr(onnx_session.ort, "InferenceSession", Session)
    monkeypatch.setattr(onnx_session.ort, "preload_dlls", lambda: None)
    with pytest.raises(ResourceError, match=r"device tensorrt:0 cannot be used: .* took CUDA"):
        open_on_gpu(
            write_onnx(tmp_path / "m.onnx"),
            make_card(),
            "tensorrt:0",
            image_name="x",
            options=BackendOptions(batch=4, precision="fp16"),
        )
    (name, tensorrt), _ = Session.asked
    assert name == "TensorrtExecutionProvider"
    assert tensorrt["trt_profile_min_shapes"] == "x:1x3x16x16"
    assert tensorrt["trt_profile_max_shapes"] == "x:4x3x128x128"
    assert (tensorrt["trt_fp16_enable"], tensorrt["trt_bf16_enable"]) == ("1", "0")


def test_what_loading_cuda_prints_never_reaches_stdout(
    tmp_path: Path, monkeypatch: Listing, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnx_session.ort, "InferenceSession", Session)
    monkeypatch.setattr(onnx_session.ort, "preload_dlls", lambda: print("Failed to load libcudnn"))  # noqa: T201
    model = write_onnx(tmp_path / "m.onnx")
    open_on_gpu(model, make_card(), "cuda:0", image_name="image", options=BackendOptions())
    assert capsys.readouterr().out == ""
