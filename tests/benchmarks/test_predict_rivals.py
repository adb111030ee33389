"""`predict` against the network alone and against what else its users run: wall, CPU, memory, seams.

    pip install pytorch-toolbelt monai tiler 'dask[array]'
    BUILDMAP_BENCH_RASTER=accra.tif pytest -m benchmark tests/benchmarks/test_predict_rivals.py -s

A rival that is not installed is left out. The environment chooses, all optional:
`BUILDMAP_BENCH_RASTER`, three bands of uint8, repeated to size, the demo scene if absent;
`BUILDMAP_BENCH_SIDE` and `BUILDMAP_BENCH_UNET_SIDE`, pixels, for `lite` and for the U-Net;
`BUILDMAP_BENCH_REPEATS`, of which the fastest counts; `BUILDMAP_BENCH_INT8`, `lite` quantized, `.onnx`;
`BUILDMAP_BENCH_GROWTH`, sides such as 8192,20000,40000 on which only `predict`'s memory is measured.
"""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from buildmap.demo import SCENE
from buildmap.inference.backend import builtin_model
from tests.benchmarks.measure import CommandFailed, Cost, SeamError, measured, seam_error
from tests.benchmarks.mosaic import write_mosaic
from tests.benchmarks.rivals import RIVALS

# Read now: in a test the environment has no variable of buildmap's.
RASTER = Path(os.environ.get("BUILDMAP_BENCH_RASTER", builtin_model().parents[1] / "scene" / SCENE))
INT8 = Path(os.environ["BUILDMAP_BENCH_INT8"]) if "BUILDMAP_BENCH_INT8" in os.environ else None
SIDE_PX = int(os.environ.get("BUILDMAP_BENCH_SIDE", "4096"))
UNET_SIDE_PX = int(os.environ.get("BUILDMAP_BENCH_UNET_SIDE", "2048"))
REPEATS = int(os.environ.get("BUILDMAP_BENCH_REPEATS", "2"))
GROWTH_PX = [int(side) for side in os.environ.get("BUILDMAP_BENCH_GROWTH", "").split(",") if side]
NARROW_PX = 32
"""Halo with which the seams are still better than those of a loop by hand."""
COMPARED_PX = 3072
"""Side of the square that is compared with a whole image's prediction."""
BEYOND_PX = 512
"""Context of that square in the whole image, more than any network sees."""
HEAD = (
    f"{'':30} {'wall s':>8} {'x floor':>8} {'Mpx/s':>7} {'CPU s':>8} {'peak MB':>8} {'u8 %':>7} {'flips':>7}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One row of the table."""

    title: str
    """Name in the table."""
    arguments: tuple[str, ...]
    """Of Python."""
    model: Path
    """Network it runs; rows of one model file share their floor and their whole image."""
    output: Path | None
    """What it writes; None for a floor: the bare network, in one of several ways."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What it came to."""

    cost: Cost
    """The fastest of its runs, with the highest of their peaks."""
    seams: SeamError | None
    """None for a floor."""


def contenders(
    folder: Path, raster: Path, checkpoint: Path, onnx: Path, int8: Path | None
) -> list[Contender]:
    """List all that is installed; say what is not."""
    rows = [_ours("buildmap", folder, raster, onnx)]
    rows.append(_ours(f"buildmap, halo {NARROW_PX}", folder, raster, onnx, "--halo-px", str(NARROW_PX)))
    if int8 is not None:
        rows.append(_ours("buildmap, int8", folder, raster, int8))
        title = f"buildmap, int8, halo {NARROW_PX}"
        rows.append(_ours(title, folder, raster, int8, "--halo-px", str(NARROW_PX)))
    for name, rival in RIVALS.items():
        if rival.needs and find_spec(rival.needs) is None:
            print(f"{rival.title}: {rival.needs} is not installed")
            continue
        for model in [checkpoint] if rival.suffix == ".safetensors" else filter(None, [onnx, int8]):
            output = folder / f"{name}.tif"
            command = ("-m", "tests.benchmarks.rivals", name, str(raster), str(output), str(model))
            title = f"{rival.title}, int8" if model == int8 else rival.title
            written = output if rival.writes else None
            rows.append(Contender(title=title, arguments=command, model=model, output=written))
    return rows


def _ours(title: str, folder: Path, raster: Path, model: Path, *more: str) -> Contender:
    output = folder / f"{title}.tif"
    command = ("-m", "buildmap", "predict", str(raster), str(output), "--model", str(model))
    options = ("--no-resample", "--overwrite", "--quiet")
    return Contender(title=title, arguments=command + options + more, model=model, output=output)


def compared(rows: list[Contender], raster: Path, side_px: int) -> dict[str, Result]:
    """Run all in turn, several times over; print the table."""
    runs: dict[str, list[Cost]] = {row.title: [] for row in rows}
    for _ in range(REPEATS):
        for row in rows:
            try:
                cost = measured(list(row.arguments))
            except CommandFailed as error:
                print(f"{row.title}: {error}")
            else:
                print(f"{row.title}: {cost.wall_s:.1f} s", flush=True)
                runs[row.title].append(cost)
    wholes = {row.model: _whole(raster, row.model, side_px) for row in rows if row.output}
    results = {}
    for row in rows:
        if costs := runs[row.title]:
            best = min(costs, key=lambda cost: cost.wall_s)
            peak_mb = max(cost.peak_mb for cost in costs)
            cost = Cost(wall_s=best.wall_s, cpu_s=best.cpu_s, peak_mb=peak_mb)
            seams = seam_error(row.output, wholes[row.model]) if row.output else None
            results[row.title] = Result(cost=cost, seams=seams)
    _print_table(rows, results, side_px)
    return results


def _whole(raster: Path, model: Path, side_px: int) -> NDArray[np.uint8]:
    """Predict the compared square as part of one image."""
    saved = raster.with_name(f"{model.stem}{model.suffix}.npy")
    context_px = min(side_px, COMPARED_PX + BEYOND_PX)
    paths = [str(path) for path in (raster, saved, model)]
    measured(["-m", "tests.benchmarks.rivals", "whole", *paths, str(context_px)])
    inner_px = side_px if side_px <= context_px else COMPARED_PX
    whole: NDArray[np.uint8] = np.load(saved)
    return whole[:inner_px, :inner_px]


def floor_s(rows: list[Contender], results: dict[str, Result], model: Path) -> float:
    """Give the wall time of the bare network, however it is fastest."""
    floors = [row.title for row in rows if row.model == model and row.output is None]
    return min(results[title].cost.wall_s for title in floors)


def _print_table(rows: list[Contender], results: dict[str, Result], side_px: int) -> None:
    print(f"\n{side_px} x {side_px} pixels, best of {REPEATS}, {os.cpu_count()} cores; flips per million")
    print(HEAD)
    for row in rows:
        if row.title in results:
            cost, seams = results[row.title].cost, results[row.title].seams
            ratio = cost.wall_s / floor_s(rows, results, row.model)
            errors = f"{seams.changed_percent:7.2f} {seams.flips_per_million:7.1f}" if seams else ""
            print(
                f"{row.title:30} {cost.wall_s:8.1f} {ratio:8.2f} {side_px**2 / cost.wall_s / 1e6:7.2f} "
                f"{cost.cpu_s:8.1f} {cost.peak_mb:8.0f} {errors}"
            )


def broken_promises(
    rows: list[Contender], results: dict[str, Result], least_speedups: dict[str, float]
) -> list[str]:
    """Compare with the network alone, with the loop by hand, and with everybody's memory.

    Args:
        rows: As run; the first is `predict` with its default settings.
        results: Of the rows that ended.
        least_speedups: How many times faster than the loop by hand a row must be, where it was run.
    """
    ours, by_hand = results[rows[0].title], results["loop by hand"]
    rivals = [row.title for row in rows if row.output and not row.title.startswith("buildmap")]
    broken = []
    if ours.cost.wall_s > 1.05 * floor_s(rows, results, rows[0].model):
        broken.append("at most 1.05 times the network alone")
    if ours.cost.peak_mb > min(results[title].cost.peak_mb for title in rivals if title in results):
        broken.append("the smallest peak memory")
    for title, least in least_speedups.items():
        if title in results:
            result = results[title]
            if by_hand.cost.wall_s < least * result.cost.wall_s:
                broken.append(f"{title}: {least} times faster than the loop by hand")
            if not _no_worse(result.seams, by_hand.seams):
                broken.append(f"{title}: seams no worse than those of the loop by hand")
    return broken


def _no_worse(ours: SeamError | None, theirs: SeamError | None) -> bool:
    assert ours is not None and theirs is not None
    return (
        ours.changed_percent <= theirs.changed_percent and ours.flips_per_million <= theirs.flips_per_million
    )


@pytest.mark.benchmark
def test_lite_is_ahead_of_every_rival(tmp_path: Path) -> None:
    raster = write_mosaic(RASTER, tmp_path / "raster.vrt", width=SIDE_PX, height=SIDE_PX)
    checkpoint = tmp_path / "lite.safetensors"
    measured(["-m", "tests.benchmarks.models", "lite", str(raster), str(checkpoint)])
    rows = contenders(tmp_path, raster, checkpoint, builtin_model(), INT8)
    results = compared(rows, raster, SIDE_PX)
    broken = broken_promises(
        rows, results, {f"buildmap, halo {NARROW_PX}": 2.3, f"buildmap, int8, halo {NARROW_PX}": 4}
    )
    assert not broken, "; ".join(broken)


@pytest.mark.benchmark
def test_a_unet_costs_little_more_than_its_network_alone(tmp_path: Path) -> None:
    raster = write_mosaic(RASTER, tmp_path / "raster.vrt", width=UNET_SIDE_PX, height=UNET_SIDE_PX)
    checkpoint, onnx = tmp_path / "unet.safetensors", tmp_path / "unet.onnx"
    measured(["-m", "tests.benchmarks.models", "unet", str(raster), str(checkpoint)])
    measured(["-m", "buildmap", "export", str(checkpoint), str(onnx)])
    rows = contenders(tmp_path, raster, checkpoint, onnx, None)
    results = compared(rows, raster, UNET_SIDE_PX)
    print("the U-Net's weights are random: its seams say nothing of a trained one's")
    broken = broken_promises(rows, results, {})
    assert not broken, "; ".join(broken)


@pytest.mark.benchmark
@pytest.mark.skipif(not GROWTH_PX, reason="BUILDMAP_BENCH_GROWTH names no sides")
def test_peak_memory_grows_no_faster_than_the_rasters_width(tmp_path: Path) -> None:
    peaks_mb = []
    for side_px in GROWTH_PX:
        raster = write_mosaic(RASTER, tmp_path / f"{side_px}.vrt", width=side_px, height=side_px)
        cost = measured(list(_ours("buildmap", tmp_path, raster, builtin_model()).arguments))
        peaks_mb.append(cost.peak_mb)
        print(f"{side_px:>7} px: {cost.peak_mb:6.0f} MB, {cost.wall_s:7.1f} s, {cost.cpu_s:7.1f} CPU s")
    for (narrow_px, low_mb), (wide_px, high_mb) in pairwise(zip(GROWTH_PX, peaks_mb, strict=True)):
        assert high_mb <= low_mb * wide_px / narrow_px
