"""Opening a model in onnxruntime: on which provider, with how many threads, in how much memory."""

import contextlib
import io
import logging
import os
from pathlib import Path

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at import: it would report to its maker
import onnxruntime as ort
from onnxruntime.capi.onnxruntime_pybind11_state import (
    EngineError,
    EPFail,
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NotImplemented,  # noqa: A004
    RuntimeException,
)

from buildmap.contract import ModelCard
from buildmap.errors import InputError, ResourceError
from buildmap.inference.devices import BackendOptions, split_device

REFUSALS = (Fail, InvalidArgument, RuntimeException, ValueError)
"""What `run` raises."""
_UNREADABLE = (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NotImplemented)
_UNUSABLE = (*REFUSALS, EPFail, EngineError, NotImplemented, RuntimeError)
_FATAL = 4
_PROVIDERS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}

logger = logging.getLogger(__name__)


def open_on_cpu(model: Path, *, cores: int, lanes: int) -> ort.InferenceSession:
    """Open a model for `lanes` threads that call it at the same time.

    A session's pool is shared by its callers, who compute as well. Pool threads that wait do not spin:
    other lanes and the readers need the cores. Memory patterns would double the peak, because the first
    window's memory, taken piece by piece, does not serve the second's single block.

    Args:
        model: An ONNX file.
        cores: Threads that compute, callers included.
        lanes: Callers.

    Raises:
        InputError: If it is not ONNX, or wants files of its own.
    """
    options = _session_options()
    options.intra_op_num_threads = max(1, cores - lanes + 1)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        # From bytes: a path would let the file name other files to read.
        return ort.InferenceSession(model.read_bytes(), options, providers=["CPUExecutionProvider"])
    except _UNREADABLE as error:
        raise InputError(f"{model} is not a buildmap model: onnxruntime cannot read it") from error


def choose_gpu(device: str) -> str | None:
    """Give the GPU to take, 'cuda:0' or 'tensorrt:1'; None for the CPU.

    TensorRT takes minutes to build its engines, so 'auto' never does.

    Raises:
        ResourceError: If this onnxruntime has not been built for the device.
    """
    kind, number = split_device(device)
    available = ort.get_available_providers()
    if kind == "auto":
        return "cuda:0" if _PROVIDERS["cuda"] in available else None
    if kind == "cpu":
        return None
    if _PROVIDERS[kind] not in available:
        raise ResourceError(
            f"device {kind} asked for, but onnxruntime has {', '.join(available)}",
            hint="pip install onnxruntime-gpu, or --device cpu",
        )
    return f"{kind}:{number}"


def open_on_gpu(
    model: Path, card: ModelCard, device: str, *, image_name: str, options: BackendOptions
) -> ort.InferenceSession:
    """Open a model, known to be a good one, on a GPU.

    Args:
        model: An ONNX file.
        card: Its card.
        device: As `choose_gpu` gives it.
        image_name: The graph's input.
        options: Precision and memory.

    Raises:
        ResourceError: If the provider cannot work here, for want of a driver, a library or a device.
    """
    kind, number = split_device(device)
    _load_libraries()
    ort.set_default_logger_severity(_FATAL)  # it writes to stderr what is raised here
    cuda = (_PROVIDERS["cuda"], _cuda_options(number, options))
    tensorrt = (_PROVIDERS["tensorrt"], _tensorrt_options(number, card, image_name, options))
    side = 2 * card.stride
    image = np.zeros((1, len(card.data.bands), side, side), np.float32)
    try:
        session = ort.InferenceSession(
            model.read_bytes(),
            _session_options(),
            providers=[cuda] if kind == "cuda" else [tensorrt, cuda],
            enable_fallback=0,
        )
        if _PROVIDERS[kind] in (taken := session.get_providers()):
            session.run(None, {image_name: image})  # some libraries are missed only now
            return session
    except _UNUSABLE as error:
        raise _unusable(device, " ".join(str(error).split())) from error
    raise _unusable(device, f"onnxruntime could not load its libraries and took {taken[0]}")


def _session_options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL  # the rest is raised
    options.enable_mem_pattern = False
    return options


def _cuda_options(number: int, options: BackendOptions) -> dict[str, str]:
    # The default search for convolutions runs again for every new shape, and its choice is not repeatable.
    cuda = {
        "device_id": str(number),
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": str(int(options.precision != "fp32")),
    }
    if options.max_vram_bytes is not None:
        cuda["gpu_mem_limit"] = str(options.max_vram_bytes)
    return cuda


def _tensorrt_options(
    number: int, card: ModelCard, image_name: str, options: BackendOptions
) -> dict[str, str]:
    def shape(windows: int, side: int) -> str:
        return f"{image_name}:{windows}x{len(card.data.bands)}x{side}x{side}"

    # Without a profile the engine is built anew whenever a window is larger than those before.
    largest = shape(options.batch or 1, options.sized(card).window_px)
    return {
        "device_id": str(number),
        "trt_profile_min_shapes": shape(1, card.stride),
        "trt_profile_opt_shapes": largest,
        "trt_profile_max_shapes": largest,
        "trt_fp16_enable": str(int(options.precision == "fp16")),
        "trt_bf16_enable": str(int(options.precision == "bf16")),
    }


def _load_libraries() -> None:
    """Load CUDA and cuDNN from their own packages, if they are installed so."""
    if hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()) as told:  # it prints what it misses
            ort.preload_dlls()
        logger.debug("onnxruntime: %s", told.getvalue().strip())


def _unusable(device: str, reason: str) -> ResourceError:
    return ResourceError(
        f"device {device} cannot be used: {reason[:300]}",
        hint="pip install 'onnxruntime-gpu[cuda,cudnn]', see `nvidia-smi`, or --device cpu",
    )
