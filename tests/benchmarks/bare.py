# ruff: noqa: PLC0415  a process holds onnxruntime or torch, not both
"""The networks without an engine around them: opened, timed on windows in memory, run on a whole image."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import module_from_spec, spec_from_file_location
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

import buildmap
from buildmap.contract import METADATA_KEY, ModelCard, card_from_json
from buildmap.inference.backend import load_backend
from buildmap.raster.windows import plan_evenly

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from torch import Tensor, nn

WINDOW_PX = 512
OVERLAP_PX = 128
STEP_PX = WINDOW_PX - OVERLAP_PX
_STEPS = 254
_CLASSES = {"lite": "Lite", "unet": "UNet"}


def backend_alone(raster: Path, _: Path, model: Path) -> None:
    """Run buildmap's back end on buildmap's windows, by as many threads as it likes."""
    backend = load_backend(model)
    image, shapes = _windows(raster, backend.card)

    def run(shape: tuple[int, int]) -> None:
        backend.probability(image[..., : shape[0], : shape[1]])

    _run_all(run, shapes, lanes=backend.lanes)


def onnx_alone(raster: Path, _: Path, model: Path) -> None:
    """Run one session with a thread for every core on buildmap's windows."""
    _run_onnx(raster, model, lanes=1)


def onnx_alone_in_lanes(raster: Path, _: Path, model: Path) -> None:
    """Run as many windows at a time as there are cores, each on one thread."""
    _run_onnx(raster, model, lanes=os.cpu_count() or 1)


def _run_onnx(raster: Path, model: Path, *, lanes: int) -> None:
    session, card = _session(model, threads=0 if lanes == 1 else 1)
    pixels, shapes = _windows(raster, card)
    image, name = scaled(pixels[0], card), session.get_inputs()[0].name

    def run(shape: tuple[int, int]) -> None:
        session.run(None, {name: np.ascontiguousarray(image[..., : shape[0], : shape[1]])})

    _run_all(run, shapes, lanes=lanes)


def _run_all(run: Callable[[tuple[int, int]], None], shapes: list[tuple[int, int]], *, lanes: int) -> None:
    with ThreadPoolExecutor(lanes) as pool:
        for _ in pool.map(run, shapes):
            pass


def _windows(raster: Path, card: ModelCard) -> tuple[NDArray[np.uint8], list[tuple[int, int]]]:
    """Give one window, (1, bands, rows, cols), and the (rows, cols) of all that buildmap would predict."""
    with rasterio.open(raster) as dataset:
        plan = plan_evenly(
            width=dataset.width,
            height=dataset.height,
            window_px=card.window_px,
            halo_px=card.halo_px,
            stride=card.stride,
        )
        pixels = read(dataset, 0, 0, card.window_px)
    missing = [(0, card.window_px - side) for side in pixels.shape[1:]]
    sides = [(planned.read.height, planned.read.width) for planned in plan]
    shapes = [(rows + -rows % card.stride, cols + -cols % card.stride) for rows, cols in sides]
    return np.pad(pixels, [(0, 0), *missing])[None], shapes


def torch_alone(raster: Path, _: Path, model: Path) -> None:
    """Run the network on as many windows as the loops below read."""
    predict, _card = predictor(model)
    with rasterio.open(raster) as dataset:
        window = read(dataset, 0, 0, WINDOW_PX)
        for _place in product(starts(dataset.height), starts(dataset.width)):
            predict(window)


def whole_image(raster: Path, output: Path, model: Path, side_px: int) -> None:
    """Predict the upper left of a raster at once; saves uint8, (rows, cols), as `.npy`."""
    with rasterio.open(raster) as dataset:
        pixels = read(dataset, 0, 0, side_px)
    rows, cols = pixels.shape[1:]
    if model.suffix == ".onnx":
        session, card = _session(model, threads=0)
        image = _aligned(scaled(pixels, card), card)
        logits = session.run(None, {session.get_inputs()[0].name: image})[0][0, 0, :rows, :cols]
        probability = 1 / (1 + np.exp(-logits))
    else:
        predict, _ = predictor(model)
        probability = predict(pixels)
    np.save(output, encode(probability))


def _session(model: Path, *, threads: int) -> "tuple[InferenceSession, ModelCard]":
    """Open an ONNX model with onnxruntime's own settings; 0 threads leaves their number to it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    return session, card_from_json(metadata[METADATA_KEY], where=str(model))


def torch_network(model: Path) -> "tuple[nn.Module, ModelCard]":
    """Open a checkpoint as its user would, who has the network's code and no other's."""
    import torch
    from safetensors import safe_open

    with safe_open(model, framework="pt") as file:
        card = card_from_json(file.metadata()[METADATA_KEY], where=str(model))
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    # By its path: the package `models` would import the libraries of all networks.
    path = Path(buildmap.__file__).parent / "models" / f"{card.model.name}.py"
    spec = spec_from_file_location("network", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    made = getattr(module, _CLASSES[card.model.name])
    network: nn.Module = made(card.model, len(card.data.bands), 1)
    network.load_state_dict(weights)
    return network.eval().to(memory_format=torch.channels_last), card


def predictor(model: Path) -> tuple[Callable[["NDArray[np.uint8] | Tensor"], NDArray[np.float32]], ModelCard]:
    """Give a function from pixels (bands, rows, cols) to probability (rows, cols)."""
    import torch

    network, card = torch_network(model)

    def predict(pixels: "NDArray[np.uint8] | Tensor") -> NDArray[np.float32]:
        rows, cols = pixels.shape[1:]
        image = torch.from_numpy(_aligned(scaled(np.asarray(pixels), card), card))
        with torch.inference_mode():
            logits = network(image.contiguous(memory_format=torch.channels_last))
            return logits.sigmoid()[0, 0, :rows, :cols].numpy()

    return predict, card


def scaled(pixels: NDArray[np.uint8], card: ModelCard) -> NDArray[np.float32]:
    """Turn pixels (bands, rows, cols) into a batch of one, as the network has learned them."""
    mean, std = (np.asarray(of, np.float32)[:, None, None] for of in (card.data.mean, card.data.std))
    return (pixels[None].astype(np.float32) * (1 / (255 * std)) - mean / std).astype(np.float32, copy=False)


def _aligned(image: NDArray[np.float32], card: ModelCard) -> NDArray[np.float32]:
    rows, cols = image.shape[2:]
    padding = [(0, 0), (0, 0), (0, -rows % card.stride), (0, -cols % card.stride)]
    return np.pad(image, padding, mode="edge") if any(after for _, after in padding) else image


def read(dataset: rasterio.DatasetReader, row: int, col: int, side_px: int) -> NDArray[np.uint8]:
    place = Window(col, row, min(side_px, dataset.width - col), min(side_px, dataset.height - row))
    pixels: NDArray[np.uint8] = dataset.read(window=place)
    return pixels


def starts(extent: int) -> Iterator[int]:
    """Step over an axis; the last window ends where the raster does."""
    yield from range(0, extent - WINDOW_PX, STEP_PX)
    yield extent - WINDOW_PX


def encode(probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(probability * _STEPS).astype(np.uint8)
