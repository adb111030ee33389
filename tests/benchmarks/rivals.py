# ruff: noqa: PLC0415  a rival's memory holds its own libraries only
"""How else a raster is predicted: `python -m tests.benchmarks.rivals NAME RASTER OUTPUT MODEL`.

Each function reads a raster and writes its probability as uint8, with windows of 512 every 384 pixels, one
at a time (larger batches are slower on a CPU), and blends as its documentation shows. The bare networks
neither read nor write.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from buildmap.raster.windows import plan_evenly
from tests.benchmarks.bare import (
    OVERLAP_PX,
    STEP_PX,
    WINDOW_PX,
    backend_alone,
    encode,
    onnx_alone,
    onnx_alone_in_lanes,
    predictor,
    read,
    scaled,
    starts,
    torch_alone,
    torch_network,
    whole_image,
)

_CROP_PX = OVERLAP_PX // 2


def loop(raster: Path, output: Path, model: Path) -> None:
    """Write the usual loop by hand: windowed reads, Hann weights, sums of the whole raster."""
    predict, _ = predictor(model)
    weights = _hann()
    with rasterio.open(raster) as dataset:
        total, weight = np.zeros((2, *dataset.shape), np.float32)
        for row, col in product(starts(dataset.height), starts(dataset.width)):
            place = (slice(row, row + WINDOW_PX), slice(col, col + WINDOW_PX))
            total[place] += predict(read(dataset, row, col, WINDOW_PX)) * weights
            weight[place] += weights
        _write(output, dataset, total / weight)


def loop_at_our_windows(raster: Path, output: Path, model: Path) -> None:
    """Write the loop for exactness: the model's window and halo, every pixel from one window's core."""
    predict, card = predictor(model)
    with rasterio.open(raster) as dataset:
        whole = np.zeros(dataset.shape, np.float32)
        plan = plan_evenly(
            width=dataset.width,
            height=dataset.height,
            window_px=card.window_px,
            halo_px=card.halo_px,
            stride=card.stride,
        )
        for planned in plan:
            core, read = planned.core, planned.read
            pixels = dataset.read(window=Window(read.col_off, read.row_off, read.width, read.height))
            probability = predict(pixels)
            top, left = core.row_off - read.row_off, core.col_off - read.col_off
            whole[core.row_off : core.row_off + core.height, core.col_off : core.col_off + core.width] = (
                probability[top : top + core.height, left : left + core.width]
            )
        _write(output, dataset, whole)


def data_loader(raster: Path, output: Path, model: Path) -> None:
    """Read the windows of the loop in two worker processes."""
    from torch.utils.data import DataLoader, Dataset

    class Windows(Dataset[tuple[NDArray[np.uint8], int, int]]):
        def __init__(self, height: int, width: int) -> None:
            self.places = list(product(starts(height), starts(width)))
            self.dataset: rasterio.DatasetReader | None = None

        def __len__(self) -> int:
            return len(self.places)

        def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int, int]:
            self.dataset = self.dataset or rasterio.open(raster)
            row, col = self.places[index]
            return read(self.dataset, row, col, WINDOW_PX), row, col

    predict, _ = predictor(model)
    weights = _hann()
    with rasterio.open(raster) as dataset:
        total, weight = np.zeros((2, *dataset.shape), np.float32)
        for pixels, row, col in DataLoader(Windows(*dataset.shape), batch_size=None, num_workers=2):
            place = (slice(row, row + WINDOW_PX), slice(col, col + WINDOW_PX))
            total[place] += predict(pixels) * weights
            weight[place] += weights
        _write(output, dataset, total / weight)


def toolbelt(raster: Path, output: Path, model: Path) -> None:
    """Slice and merge with pytorch-toolbelt, as its README does."""
    import torch
    from pytorch_toolbelt.inference.tiles import ImageSlicer, TileMerger
    from pytorch_toolbelt.utils.torch_utils import image_to_tensor
    from torch.utils.data import DataLoader

    predict, _ = predictor(model)
    with rasterio.open(raster) as dataset:
        image = np.moveaxis(dataset.read(), 0, -1)
        slicer = ImageSlicer(
            image.shape, tile_size=(WINDOW_PX,) * 2, tile_step=(STEP_PX,) * 2, weight="pyramid"
        )
        tiles = [image_to_tensor(tile) for tile in slicer.split(image)]
        merger = TileMerger(slicer.target_shape, 1, slicer.weight)
        for pixels, places in DataLoader(list(zip(tiles, slicer.crops, strict=True)), batch_size=1):
            merger.integrate_batch(torch.from_numpy(predict(pixels[0]))[None, None], places)
        _write(output, dataset, slicer.crop_to_orignal_size(merger.merge()[0].numpy()))


def monai(raster: Path, output: Path, model: Path) -> None:
    """Slide MONAI's window over the whole image."""
    import torch
    from monai.inferers import sliding_window_inference

    network, card = torch_network(model)
    with rasterio.open(raster) as dataset, torch.inference_mode():
        probability = sliding_window_inference(
            torch.from_numpy(scaled(dataset.read(), card)),
            WINDOW_PX,
            sw_batch_size=1,
            predictor=lambda window: network(window.contiguous(memory_format=torch.channels_last)).sigmoid(),
            overlap=OVERLAP_PX / WINDOW_PX,
            mode="gaussian",
        )
        _write(output, dataset, probability[0, 0].numpy())


def tiler(raster: Path, output: Path, model: Path) -> None:
    """Slice and merge with tiler, by its overlap-tile strategy: the middle of every window counts."""
    from tiler import Merger, Tiler

    predict, _ = predictor(model)
    frame = [(_CROP_PX, _CROP_PX)] * 2
    with rasterio.open(raster) as dataset:
        image = np.pad(dataset.read(), [(0, 0), *frame], mode="reflect")
        window = (WINDOW_PX, WINDOW_PX)
        slicer = Tiler(image.shape, (len(image), *window), overlap=OVERLAP_PX, channel_dimension=0)
        merger = Merger(Tiler(image.shape[1:], window, overlap=OVERLAP_PX), window="overlap-tile")
        for number, pixels in slicer(image):
            merger.add(number, predict(pixels))
        _write(output, dataset, merger.merge(extra_padding=frame))


def dask_overlap(raster: Path, output: Path, model: Path) -> None:
    """Let dask cut blocks with a halo and run one network on every core."""
    import dask.array as da
    import torch

    torch.set_num_threads(1)
    predict, _ = predictor(model)

    class Source:
        def __init__(self, dataset: rasterio.DatasetReader) -> None:
            self.dataset, self.ndim, self.dtype = dataset, 3, np.dtype(np.uint8)
            self.shape = (dataset.count, *dataset.shape)

        def __getitem__(self, place: tuple[slice, slice, slice]) -> NDArray[np.uint8]:
            return self.dataset.read(window=Window.from_slices(*place[1:]))

    def crop(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return predict(pixels)[_CROP_PX:-_CROP_PX, _CROP_PX:-_CROP_PX]

    with rasterio.open(raster) as dataset:
        blocks = da.from_array(
            Source(dataset), chunks=(-1, STEP_PX, STEP_PX), lock=True, meta=np.empty(0, "u1")
        )
        depth = {1: _CROP_PX, 2: _CROP_PX}
        probability = da.map_overlap(
            crop,
            blocks,
            depth=depth,
            boundary="reflect",
            trim=False,
            drop_axis=0,
            chunks=blocks.chunks[1:],
            meta=np.empty((0, 0), np.float32),
        )
        _write(output, dataset, probability.compute(scheduler="threads"))


def _hann() -> NDArray[np.float32]:
    rise = np.hanning(WINDOW_PX + 2)[1:-1].astype(np.float32)  # without the zeros: the border has one window
    return np.outer(rise, rise)


def _write(output: Path, source: rasterio.DatasetReader, probability: NDArray[np.float32]) -> None:
    rows, cols = probability.shape
    profile = {"width": cols, "height": rows, "count": 1, "dtype": "uint8", "nodata": 255}
    blocks = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "zstd", "zstd_level": 1}
    place = {"crs": source.crs, "transform": source.transform}
    with rasterio.open(output, "w", driver="GTiff", **profile, **blocks, **place) as dataset:
        dataset.write(encode(probability), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """Another way to predict."""

    run: Callable[[Path, Path, Path], None]
    """Takes raster, output, model."""
    title: str
    """Row of the table."""
    suffix: str = ".safetensors"
    """Kind of model file."""
    needs: str | None = None
    """Module that must be installed."""
    writes: bool = True
    """Whether there is an output."""


RIVALS = {
    "backend": Rival(run=backend_alone, title="buildmap's back end alone", suffix=".onnx", writes=False),
    "onnx": Rival(run=onnx_alone, title="onnxruntime alone", suffix=".onnx", writes=False),
    "onnx-lanes": Rival(
        run=onnx_alone_in_lanes, title="onnxruntime alone, in lanes", suffix=".onnx", writes=False
    ),
    "torch": Rival(run=torch_alone, title="torch alone", writes=False),
    "loop": Rival(run=loop, title="loop by hand"),
    "large": Rival(run=loop_at_our_windows, title="loop, our windows"),
    "loader": Rival(run=data_loader, title="DataLoader, 2 workers"),
    "toolbelt": Rival(run=toolbelt, title="pytorch-toolbelt", needs="pytorch_toolbelt"),
    "monai": Rival(run=monai, title="MONAI", needs="monai"),
    "tiler": Rival(run=tiler, title="tiler", needs="tiler"),
    "dask": Rival(run=dask_overlap, title="dask map_overlap", needs="dask"),
}

if __name__ == "__main__":
    chosen, *paths = sys.argv[1:]
    if chosen == "whole":
        whole_image(*map(Path, paths[:3]), side_px=int(paths[3]))
    else:
        RIVALS[chosen].run(*map(Path, paths))
