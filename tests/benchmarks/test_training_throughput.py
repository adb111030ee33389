"""How fast chips are made beside the same reads done by hand, and what they cost a network that learns.

By hand is what a script would do: one rasterio handle a thread, `read` with `out_shape` and averaging, the
polygons found with a tree and drawn by `rasterio.features.rasterize`, numpy to normalize. It changes no
colours and turns nothing.

`pytest -m benchmark tests/benchmarks/test_training_throughput.py -s`; `BUILDMAP_BENCH_REAL=FOLDER` adds real
rasters, FOLDER holding `accra`, `banepa` and `oam` as the preset `lite-open` names them.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import local

import numpy as np
import pytest
import rasterio
import shapely
import torch
from numpy.typing import NDArray
from pyogrio import read_dataframe
from rasterio.enums import Resampling
from rasterio.features import rasterize
from rasterio.windows import Window as FloatWindow

from buildmap.data.annotations import chip_transform
from buildmap.data.dataset import Batch, Chips
from buildmap.execution.progress import Silent
from buildmap.losses.weighted_sum import build_loss
from buildmap.models import Network, build_model
from buildmap.preset import Augment, Data, Model, Preset, Source, find_preset
from buildmap.raster.windows import Window
from buildmap.training.device import open_fabric
from buildmap.training.loop import fit
from buildmap.training.run_folder import RunFolder
from tests.networks import make_card
from tests.scenes import houses_image, write_layer, write_raster
from tests.unit.data.material import houses, to_mask, to_polygons

REAL = Path(os.environ.get("BUILDMAP_BENCH_REAL", "/none"))
SIDE_PX, HOUSES = 4096, 6000
STEPS, THREADS = 25, 2
AUGMENT = Augment(
    flip=0.5,
    half_turn=0.0,
    quarter_turns=True,
    gsd="native",
    gsd_jitter=0.15,
    brightness=0.12,
    contrast=0.25,
    color=0.12,
)
pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]
SETS = ("town", *(("accra", "banepa", "oam") if REAL.is_dir() else ()))


def make_preset(*sources: Source, data: Data | None = None) -> Preset:
    base = find_preset("lite-open")
    training = replace(base.training, steps_per_epoch=8, epochs=2, validation_share=0.05, precision="float32")
    given = data or Data(gsd_min_m=0.4, gsd_max_m=0.6, bands=(1, 2, 3), mean=(0.4,) * 3, std=(0.3,) * 3)
    return replace(base, augment=AUGMENT, data=given, training=training, sources=sources)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 4096 x 4096 pixels, tiled and deflated, with 6000 footprints."""
    folder = tmp_path_factory.mktemp("town")
    rng = np.random.default_rng(0)
    placed = houses(rng, SIDE_PX, SIDE_PX, HOUSES)
    image = houses_image(to_mask(placed, SIDE_PX, SIDE_PX), rng)
    write_raster(folder / "image.tif", image, tiled=True, blockxsize=512, blockysize=512, compress="deflate")
    write_layer(folder / "footprints.gpkg", list(to_polygons(placed)))
    return folder


def open_set(name: str, town: Path) -> tuple[Path, Preset]:
    """Give a data folder, and a preset to learn from one of its sets at the rasters' own GSD."""
    if name == "town":
        return town, make_preset(Source(image="image.tif", annotations="footprints.gpkg", use="split"))
    base = find_preset("lite-open")
    listed = tuple(
        source for source in base.sources if source.use == "train" and source.image.startswith(name)
    )
    own_gsd = replace(base.data, gsd_min_m=0.01, gsd_max_m=0.5)
    return REAL, make_preset(*listed, data=own_gsd)


@dataclass(frozen=True)
class Rate:
    """How fast something was."""

    per_s: float
    cpu_ms: float


def measure(make: Callable[[int], object], chips_each: int) -> Rate:
    """Call a function for some steps, in threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(make, range(THREADS * 2)))
        began, cpu = time.perf_counter(), time.process_time()
        list(pool.map(make, range(STEPS)))
        count = STEPS * chips_each
        return Rate(count / (time.perf_counter() - began), (time.process_time() - cpu) / count * 1000)


class ByHand:
    """Reads of the same windows, as a script would do them."""

    def __init__(self, root: Path, chips: Chips, preset: Preset) -> None:
        self._root, self._preset, self._files = root, preset, local()
        # The number of a place is that of a rectangle of training ground.
        self._owners = [i for i, source in enumerate(chips.sources) for _ in source.ground.train]
        self._sources = chips.sources
        self._trees = [self._tree(i) for i in range(len(chips.sources))]

    def _tree(self, index: int) -> shapely.STRtree | None:
        path = self._root / self._preset.sources[index].annotations
        if path.suffix == ".tif":
            return None
        return shapely.STRtree(read_dataframe(path).to_crs(self._sources[index].grid.crs).geometry.to_numpy())

    def read(self, places: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        chips = [self._chip(*place) for place in places.tolist()]
        return np.stack([image for image, _ in chips]), np.stack([target for _, target in chips])

    def _chip(self, number: int, *where: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        index, side = self._owners[number], self._preset.training.chip_px
        source, pair, data = self._sources[index], self._preset.sources[index], self._preset.data
        col, row, width, height = where
        picture = self._open(pair.image)
        scale = picture.width / source.grid.width
        window = FloatWindow(col * scale, row * scale, width * scale, height * scale)
        shape = (round(height * side / max(width, height)), round(width * side / max(width, height)))
        pixels = picture.read(window=window, out_shape=(3, *shape), resampling=Resampling.average)
        mean, std = (np.array(of, np.float32)[:, None, None] for of in (data.mean, data.std))
        image = (pixels.astype(np.float32) / 255 - mean) / std
        if not source.all_valid:
            image[:, picture.dataset_mask(window=window, out_shape=shape) == 0] = 0
        tree = self._trees[index]
        if tree is None:
            cover = self._open(pair.annotations).read(1, window=window, out_shape=shape)
            return image, (cover > 0).astype(np.float32)
        transform = chip_transform(
            source.grid, Window(col_off=col, row_off=row, width=width, height=height), shape
        )
        corners = [transform @ corner for corner in ((0, 0), (shape[1], shape[0]))]
        near = tree.geometries[tree.query(shapely.MultiPoint(corners).envelope)]
        if not len(near):
            return image, np.zeros(shape, np.float32)
        return image, rasterize(near, out_shape=shape, transform=transform).astype(np.float32)

    def _open(self, name: str) -> rasterio.DatasetReader:
        if name not in vars(self._files):
            setattr(self._files, name, rasterio.open(self._root / name))
        return getattr(self._files, name)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("where", ["memory", "disk"])
def test_chips_are_made_as_fast_as_by_hand(name: str, where: str, town: Path) -> None:
    root, preset = open_set(name, town)
    with Chips(root, preset, memory_bytes=2**31 if where == "memory" else 0) as chips:
        batches = [chips.training_batch(step) for step in range(STEPS)]
        script = ByHand(root, chips, preset)
        by_hand = measure(lambda step: script.read(batches[step].places), preset.training.batch_size)
        ours = measure(chips.training_batch, preset.training.batch_size)
    ratio = ours.per_s / by_hand.per_s
    print(
        f"{name:>7}, {where:>6}: {ours.per_s:5.0f} chips/s ({ours.cpu_ms:5.2f} ms of CPU each), "
        f"by hand from disk {by_hand.per_s:5.0f} ({by_hand.cpu_ms:5.2f}): {ratio:4.2f}"
    )
    assert ratio > 0.5


def bare_chips_per_s(network: Network, batch: Batch, preset: Preset, steps: int) -> float:
    """Go forward and backward on one batch, again and again, and no more."""
    network.train()
    image = torch.from_numpy(batch.image).contiguous(memory_format=torch.channels_last)
    target, valid, loss = (
        torch.from_numpy(batch.target),
        torch.from_numpy(batch.valid),
        build_loss(preset.loss),
    )
    began = 0.0
    for step in range(steps + 2):
        began = time.perf_counter() if step == 2 else began
        network.zero_grad()
        loss(network(image), target, valid).backward()
    return steps * len(image) / (time.perf_counter() - began)


@pytest.mark.parametrize(
    "model", [Model(name="lite", width=24, depth=5), Model(name="unet", encoder="resnet18")]
)
def test_a_network_learns_nearly_as_fast_as_it_goes_forward_and_backward(
    model: Model, town: Path, tmp_path: Path
) -> None:
    root, preset = open_set("town", town)
    preset = replace(preset, model=model)
    network = build_model(model, 3, 1).to(memory_format=torch.channels_last)
    with Chips(root, preset) as chips:
        batch, steps = chips.training_batch(0), preset.training.steps_per_epoch
        before = bare_chips_per_s(network, batch, preset, steps)
        records = fit(
            network,
            chips,
            preset,
            make_card(model=model),
            RunFolder(tmp_path / "bench.run", {}),
            fabric=open_fabric("cpu", precision="float32"),
            progress=Silent(),
        )
        after = bare_chips_per_s(network, batch, preset, steps)
    bare, learning = max(before, after), records[-1].chips_per_s
    print(
        f"{model.name:>7}: {learning:5.1f} chips/s with everything, {bare:5.1f} forward and backward alone: "
        f"{learning / bare:4.2f}; waited for chips {records[-1].read_wait_share:.1%} of the time"
    )
    assert learning > 0.85 * bare
