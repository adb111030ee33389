"""What the QGIS plugin Deepness makes of our files; its rules are written out here, after its source."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from buildmap.contract import ModelCard
from buildmap.errors import InputError, MismatchError
from buildmap.inference.deepness import DEEPNESS_KEYS, deepness_keys, fit_deepness
from buildmap.inference.onnx_backend import OnnxBackend
from buildmap.inference.onnx_card import write_card
from buildmap.preset import Instances
from buildmap.raster.normalize import scale_pixels
from tests.networks import make_card, write_onnx

SIDE = 64


def read(keys: dict[str, str], name: str) -> object:
    return json.loads(keys[name])


def prepared(tiles: NDArray[np.generic], keys: dict[str, str]) -> NDArray[np.float32]:
    """Scale (n, bands, rows, cols) as the plugin does."""
    mean, std = (np.array(read(keys, f"standardization_{name}"), np.float32) for name in ("mean", "std"))
    unit = np.float32(tiles * 1.0 / 255.0)
    return np.float32((unit - mean[:, None, None]) / std[:, None, None])


def masked(output: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Give the buildings as the plugin does, for a network with one class."""
    kept = output.copy()
    kept[kept < threshold] = 0.0
    return kept[:, 0] != 0


def plugin_run(path: Path, tiles: NDArray[np.generic]) -> NDArray[np.bool_]:
    session = ort.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    keys = session.get_modelmeta().custom_metadata_map
    (image,) = session.get_inputs()
    output = session.run(None, {image.name: prepared(tiles, keys)})[0]
    return masked(output, float(read(keys, "seg_thresh")))  # type: ignore[arg-type]


def tiles_of(card: ModelCard, dtype: str = "uint8") -> NDArray[np.generic]:
    rng = np.random.default_rng(3)
    shape = (2, len(card.data.bands), card.window_px, card.window_px)
    if dtype == "float32":
        return rng.random(shape, np.float32)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype)


def test_the_keys_say_what_the_card_says() -> None:
    keys = deepness_keys(make_card(classes=("building",)))
    assert keys.keys() == DEEPNESS_KEYS
    assert read(keys, "model_type") == "Segmentor"
    assert read(keys, "class_names") == [{"0": "background", "1": "building"}]
    assert (
        read(keys, "resolution") == 42.43
    )  # cm: between 0.3 and 0.6 m, as many times from the one as the other
    assert read(keys, "tile_size") == read(keys, "tiles_size") == 128
    assert read(keys, "seg_small_segment") == 0


def test_rasters_of_one_gsd_are_read_at_it() -> None:
    card = make_card()
    only = replace(card, data=replace(card.data, gsd_min_m=0.1, gsd_max_m=0.1))
    assert read(deepness_keys(only), "resolution") == 10


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_the_plugin_scales_pixels_as_we_do(dtype: str) -> None:
    data = replace(make_card().data, dtype=dtype, mean=(0.1, 0.45, 0.7), std=(0.2, 0.25, 0.31))
    card = make_card(data=data)
    tiles = tiles_of(card, dtype)
    np.testing.assert_allclose(
        prepared(tiles, deepness_keys(card)), scale_pixels(tiles, data), rtol=1e-4, atol=1e-4
    )


@settings(max_examples=40)
@given(window=st.integers(2, 128), halo=st.integers(0, 63))
def test_windows_overlap_by_no_less_than_two_halos(window: int, halo: int) -> None:
    card = make_card(stride=16, window_px=window * 16, halo_px=min(halo, (window - 1) // 2) * 16)
    percent = read(deepness_keys(card), "tiles_overlap")
    assert isinstance(percent, int)
    assert percent <= 99
    overlap_px = int(card.window_px * percent / 100 * 2) // 2
    assert percent == 99 or overlap_px >= 2 * card.halo_px - 1
    assert overlap_px - 2 * card.halo_px <= 0.01 * card.window_px + 1


@settings(max_examples=40)
@given(threshold=st.floats(0.01, 0.99), logit=st.floats(-8, 8))
def test_a_threshold_of_logits_parts_pixels_as_one_of_probability_does(
    threshold: float, logit: float
) -> None:
    limit = read(deepness_keys(make_card(threshold=threshold)), "seg_thresh")
    assert isinstance(limit, float)
    probability = 1 / (1 + np.exp(-logit))
    if abs(probability - threshold) > 1e-6:
        assert (logit >= limit) == (probability >= threshold)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_a_threshold_without_a_logit_still_gives_a_number(threshold: float) -> None:
    assert abs(float(deepness_keys(make_card(threshold=threshold))["seg_thresh"])) == pytest.approx(
        13.8, abs=0.1
    )


def test_networks_the_plugin_has_no_type_for_get_no_keys() -> None:
    card = make_card()
    finder = replace(card, model=replace(card.model, name="fcos", instances=Instances()))
    assert deepness_keys(finder) == deepness_keys(make_card(scale=4)) == {}
    with pytest.raises(MismatchError, match="Deepness cannot run 'bright is building'"):
        fit_deepness(onnx.ModelProto(), finder)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.62])
def test_the_plugin_finds_the_same_buildings(tmp_path: Path, threshold: float) -> None:
    card = make_card(window_px=SIDE, halo_px=16, threshold=threshold)
    plain = write_onnx(tmp_path / "plain.onnx", card, kernel_px=3)
    write_card(plain, card)
    fitted = tmp_path / "fitted.onnx"
    onnx.save(fit_deepness(onnx.load(plain), card), fitted)
    tiles = tiles_of(card)
    ours = OnnxBackend(plain).probability(tiles) >= threshold
    assert 0.02 < ours.mean() < 0.98
    np.testing.assert_array_equal(plugin_run(plain, tiles), ours)
    np.testing.assert_array_equal(plugin_run(fitted, tiles), ours)


def test_a_fitted_network_has_a_size_gives_probability_and_is_no_model_of_ours(tmp_path: Path) -> None:
    card = make_card(window_px=SIDE, halo_px=16, threshold=0.62)
    model = onnx.load(write_onnx(tmp_path / "plain.onnx", card))
    before = model.SerializeToString(deterministic=True)
    fitted = fit_deepness(model, card)
    assert model.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(fitted, full_check=True)
    path = tmp_path / "fitted.onnx"
    onnx.save(fitted, path)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["b", 3, SIDE, SIDE]
    assert session.get_outputs()[0].shape == ["b", 1, SIDE, SIDE]
    output = session.run(None, {"image": np.full((1, 3, SIDE, SIDE), 0.1, np.float32)})[0]
    np.testing.assert_allclose(output, 1 / (1 + np.exp(-0.4)), rtol=1e-6)
    assert read(session.get_modelmeta().custom_metadata_map, "seg_thresh") == 0.62
    with pytest.raises(InputError, match="carries no 'buildmap' metadata"):
        OnnxBackend(path)
