"""A card is replaced without touching the network; a fingerprint is the network's alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from buildmap.inference.deepness import DEEPNESS_KEYS, deepness_keys
from buildmap.inference.onnx_backend import OnnxBackend
from buildmap.inference.onnx_card import fingerprint_onnx, write_card
from buildmap.preset import Instances
from tests.networks import make_card, write_onnx


def test_a_new_card_leaves_network_and_foreign_metadata_alone(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "m.onnx", kernel_px=3)
    model = onnx.load(path)
    onnx.helper.set_model_props(
        model, {model.metadata_props[0].key: model.metadata_props[0].value, "by": "x"}
    )
    onnx.save(model, path)
    before = onnx.load(path)
    card = replace(make_card(), title="über 建物", halo_px=16)
    write_card(path, card)
    after = onnx.load(path)
    assert after.graph == before.graph
    assert {entry.key for entry in after.metadata_props} == {"buildmap", "by", *DEEPNESS_KEYS}
    assert OnnxBackend(path).card == card


def test_what_deepness_reads_follows_the_card(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "m.onnx")
    card = make_card(halo_px=16, threshold=0.4)
    write_card(path, card)
    told = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert {key: told[key] for key in DEEPNESS_KEYS} == deepness_keys(card)
    write_card(path, replace(card, model=replace(card.model, name="fcos", instances=Instances())))
    assert [entry.key for entry in onnx.load(path).metadata_props] == ["buildmap"]


def test_the_fingerprint_follows_weights_and_nothing_else(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "m.onnx", kernel_px=3)
    first = fingerprint_onnx(path)
    assert len(first) == 16
    write_card(path, make_card(title="another"))
    assert fingerprint_onnx(path) == first
    model = onnx.load(path)
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights[0, 0, 0, 0] = np.nextafter(weights[0, 0, 0, 0], np.float32(1))
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "weight"))
    onnx.save(model, path)
    assert fingerprint_onnx(path) != first
