"""The last judgement, against counting by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from buildmap.data.dataset import Chips
from buildmap.data.triplets import Triplets
from buildmap.models.network import Network
from buildmap.preset import Source, find_preset
from buildmap.training.device import find_devices
from buildmap.training.testing import test as judge
from tests.scenes import blocks_mask, write_raster

LITE = find_preset("lite")


class Bright(Network):
    """Takes bright pixels for buildings."""

    stride = 1

    def forward(self, image: Tensor) -> Tensor:
        return image[:, :1]


def test_only_ground_for_the_test_counts_and_none_gives_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    mask, seen = blocks_mask(rng, 64, 96, 30), blocks_mask(rng, 64, 96, 30)
    write_raster(tmp_path / "image.tif", np.repeat(seen[None] * 255, 3, axis=0))
    write_raster(tmp_path / "mask.tif", mask)
    parts = {"train": (0, 0, 32, 64), "validation": (32, 0, 32, 64), "test": (64, 0, 32, 64)}
    sources = {
        use: Source(image="image.tif", annotations="mask.tif", use=use, window_px=window)  # type: ignore[arg-type]
        for use, window in parts.items()
    }
    preset = replace(
        LITE,
        data=replace(LITE.data, gsd_min_m=0.5, gsd_max_m=0.5),
        training=replace(LITE.training, chip_px=16, batch_size=2),
        sources=tuple(sources.values()),
    )
    network, devices = Bright().eval(), find_devices("cpu")
    with Chips(tmp_path, preset, triplets=Triplets()) as chips:
        scores = judge(network, chips, preset, devices)
        assert [batch.target.shape for batch in chips.test_batches()] == [(2, 16, 16)] * 4
    assert not network.training
    found, true = seen[:, 64:] == 1, mask[:, 64:] == 1
    both, either = (found & true).sum(), (found | true).sum()
    assert scores is not None
    assert scores.iou == pytest.approx(both / either, abs=1e-6)
    background = (~found & ~true).sum() / (~found | ~true).sum()
    assert scores.mean_iou == pytest.approx((both / either + background) / 2, abs=1e-6)
    without = replace(preset, sources=preset.sources[:2])
    with Chips(tmp_path, without) as chips:
        assert judge(network, chips, without, devices) is None
