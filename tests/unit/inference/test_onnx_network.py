"""An ONNX file on the device that was asked for, or a clear refusal."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from buildmap.contract import METADATA_KEY, ModelCard, card_to_json
from buildmap.errors import MismatchError, ResourceError
from buildmap.inference.backend import builtin_model
from buildmap.inference.devices import DEFAULTS, BackendOptions
from buildmap.inference.onnx_network import OnnxNetwork
from tests.networks import make_card, write_onnx


def moved(model: Path, options: BackendOptions = DEFAULTS) -> OnnxNetwork:
    network = OnnxNetwork(model, options)
    network.move(lambda side: network.run(np.zeros((1, 3, side, side), np.float32)))
    return network


def test_a_graph_gives_the_outputs_that_are_named(tmp_path: Path) -> None:
    network = moved(write_onnx(tmp_path / "m.onnx"), BackendOptions(device="cpu"))
    image = np.random.default_rng(0).random((2, 3, 16, 32)).astype(np.float32)
    (all_of_them,), (named,) = network.run(image), network.run(image, network.outputs)
    assert network.outputs == ["logits"]
    assert all_of_them.shape == (2, 1, 16, 32)
    assert np.array_equal(all_of_them, named)


def test_a_graph_of_other_bands_than_its_card_says_does_not_run(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "m.onnx")
    model, card = onnx.load(path), make_card()
    four = replace(card, data=replace(card.data, bands=(1, 2, 3, 4), mean=(0.5,) * 4, std=(0.25,) * 4))
    onnx.helper.set_model_props(model, {METADATA_KEY: card_to_json(four)})
    onnx.save(model, path)
    with pytest.raises(MismatchError, match="does not run on 4 bands, as its card says"):
        OnnxNetwork(path, DEFAULTS).run_small()


class Listed:
    """Says it has CUDA; the machine has not, so onnxruntime quietly takes the CPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
        monkeypatch.setattr("onnxruntime.get_available_providers", lambda: providers)
        monkeypatch.setattr("onnxruntime.preload_dlls", lambda: None)


def test_cuda_that_is_not_there_is_an_error_and_never_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ResourceError, match="device cuda asked for"):
        moved(write_onnx(tmp_path / "m.onnx"), BackendOptions(device="cuda"))
    with pytest.raises(ResourceError, match="no device 'tpu'"):
        moved(write_onnx(tmp_path / "n.onnx"), BackendOptions(device="tpu"))


def test_lanes_follow_the_memory_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []

    def window_bytes(run: Callable[[int], object], card: ModelCard) -> int:
        run(card.stride)
        measured.append(card.window_px)
        return 200 * 10**6

    monkeypatch.setattr("buildmap.inference.onnx_network.window_bytes", window_bytes)

    def lanes(megabytes: int, window_px: int | None = None) -> int:
        options = BackendOptions(
            device="cpu", threads=3, lanes=3, max_memory_bytes=megabytes * 10**6, window_px=window_px
        )
        return moved(builtin_model(), options).lanes

    assert [lanes(megabytes) for megabytes in (10_000, 599, 399)] == [3, 2, 1]
    with pytest.raises(ResourceError, match="needs 200 MB for one window, 199 MB are left"):
        lanes(199)
    assert lanes(399, window_px=250) == 1
    assert measured == [1536] * 4 + [256]


def test_cuda_that_fails_to_load_is_an_error_where_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Listed(monkeypatch)
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(ResourceError, match=r"device cuda:0 cannot be used: .* took CPU"),
    ):
        moved(write_onnx(tmp_path / "m.onnx"), BackendOptions(device="cuda"))


def test_cuda_that_fails_to_load_leaves_auto_on_the_cpu_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Listed(monkeypatch)
    with (
        caplog.at_level(logging.WARNING, "buildmap"),
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
    ):
        network = moved(write_onnx(tmp_path / "m.onnx"))
    assert network.device == "cpu"
    assert "cannot be used" in caplog.text
    assert "going on with the CPU" in caplog.text
    (logits,) = network.run(np.zeros((1, 3, 16, 16), np.float32))
    assert logits.shape == (1, 1, 16, 16)


def test_half_precision_is_refused_where_the_file_decides(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="precision bf16 asked for, but onnxruntime on cpu keeps"):
        moved(write_onnx(tmp_path / "m.onnx"), BackendOptions(device="cpu", precision="bf16"))
