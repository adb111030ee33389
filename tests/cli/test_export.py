"""`buildmap export`, seen from a shell."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from buildmap.cli.app import app
from buildmap.errors import InputError
from buildmap.export import preset_for
from buildmap.inference.onnx_backend import OnnxBackend, sigmoid
from buildmap.models import build_model
from buildmap.models.checkpoint import load_checkpoint, save_checkpoint
from buildmap.preset import Instances, Model, find_preset
from tests.networks import make_card, write_onnx
from tests.unit.data.material import write_pair

MODEL = Model(name="lite", width=4, depth=2)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    card = make_card(model=MODEL, stride=4)
    save_checkpoint(tmp_path / "m.safetensors", build_model(MODEL, 3, 1).state_dict(), card)
    return tmp_path / "m.safetensors"


@pytest.fixture
def bright(tmp_path: Path) -> Path:
    """An ONNX model that finds the houses of `town`."""
    return write_onnx(tmp_path / "bright.onnx", make_card(window_px=64, halo_px=16), kernel_px=3)


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Houses to measure on, and few chips to calibrate on."""
    monkeypatch.setattr("buildmap.inference.quantize.CALIBRATION_CHIPS", 4)
    write_pair(tmp_path / "town", "centre", height=320, width=400)
    return tmp_path / "town"


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_the_onnx_file_says_the_same_of_itself(trained: Path, tmp_path: Path) -> None:
    code, out, _ = run(trained, tmp_path / "m.onnx", "--json")
    assert code == 0
    summary = json.loads(out)
    assert summary["largest_difference"] < 1e-5
    assert summary["int8"] is None
    assert summary["halo_table"] == []
    assert "not measured without --data" in summary["halo"]
    network, card = load_checkpoint(trained)
    assert summary["parameters"] == sum(p.numel() for p in network.parameters())
    assert OnnxBackend(tmp_path / "m.onnx").card == card


def test_a_model_that_changes_on_export_is_not_published(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildmap.inference.onnx_export.largest_difference", lambda *_: 0.02)
    code, _, err = run(trained, tmp_path / "m.onnx")
    assert code == 78
    assert "differs from torch by 0.02" in err
    assert not (tmp_path / "m.onnx").exists()


def test_what_is_no_model_and_what_exists_are_refused(trained: Path, tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1)}, tmp_path / "pickle.safetensors")
    assert run(tmp_path / "pickle.safetensors", tmp_path / "m.onnx")[0] == 65
    (tmp_path / "m.onnx").write_text("old")
    code, _, err = run(trained, tmp_path / "m.onnx")
    assert code == 73
    assert "pass --overwrite" in err
    assert (tmp_path / "m.onnx").read_text() == "old"


def test_without_torch_or_onnx_it_says_what_to_install(
    trained: Path, bright: Path, town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildmap.export.find_spec", lambda _name: None)
    code, _, err = run(trained, tmp_path / "m.onnx")
    assert code == 69
    assert "pip install 'buildmap[torch]'" in err
    code, _, err = run(bright, tmp_path / "m.onnx", "--data", town)
    assert code == 69
    assert "export needs onnx, which is not installed" in err


def test_a_model_under_another_suffix_is_refused(trained: Path, tmp_path: Path) -> None:
    code, _, err = run(trained, tmp_path / "m.txt")
    assert code == 73
    assert "m.txt does not end in .onnx" in err


def test_the_halo_is_measured_and_kept_in_the_card(bright: Path, town: Path, tmp_path: Path) -> None:
    code, out, _ = run(bright, tmp_path / "m.onnx", "--data", town, "--json")
    assert code == 0
    summary = json.loads(out)
    (row,) = summary["halo_table"]
    assert (row["window_px"], row["halo_px"], row["cost"]) == (64, 16, 4.0)
    assert row["u8_changed"] < 0.01
    assert (summary["halo"], summary["window_px"], summary["halo_px"]) == ("measured", 64, 16)
    card = OnnxBackend(tmp_path / "m.onnx").card
    assert [row.window_px for row in card.halo_table] == [64]
    assert card == make_card(window_px=64, halo_px=16, halo_table=card.halo_table)


def test_the_table_is_laid_out_and_the_row_in_use_is_starred(
    bright: Path, town: Path, tmp_path: Path
) -> None:
    code, out, _ = run(bright, tmp_path / "m.onnx", "--data", town)
    assert code == 0
    lines = out.splitlines()
    assert lines[-2].split("  ")[-1] == "flips per million"
    assert lines[-1].split()[:3] == ["64", "16", "4.00"]
    assert lines[-1].endswith("*")
    assert "halo table" not in out


def test_int8_reports_what_it_costs_and_what_it_gives(bright: Path, town: Path, tmp_path: Path) -> None:
    code, out, _ = run(bright, tmp_path / "q.onnx", "--int8", "--data", town, "--json")
    assert code == 0
    summary = json.loads(out)
    int8 = summary["int8"]
    assert int8["iou_float"] > 0.5
    assert int8["iou_int8"] == pytest.approx(int8["iou_float"] - int8["loss_points"] / 100, abs=2e-5)
    assert int8["speed_ratio"] > 0
    assert summary["size_mb"] == round((tmp_path / "q.onnx").stat().st_size / 1e6, 3)
    assert summary["model"].endswith("(int8)")
    assert [path.name for path in tmp_path.iterdir() if "q.onnx" in path.name] == ["q.onnx"]


def test_int8_that_loses_too_much_writes_nothing(
    bright: Path, town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildmap.inference.quantize.MOST_LOSS_POINTS", -200.0)
    code, _, err = run(bright, tmp_path / "q.onnx", "--int8", "--data", town)
    assert code == 78
    assert "points of IoU" in err
    assert "hint: export without --int8" in err
    assert not (tmp_path / "q.onnx").exists()


def test_int8_without_real_images_is_a_usage_error(trained: Path, tmp_path: Path) -> None:
    code, _, err = run(trained, tmp_path / "m.onnx", "--int8")
    assert code == 2
    assert "--int8 needs --data DIR" in " ".join(err.split())
    assert run(trained, tmp_path / "m.onnx", "--preset", "lite")[0] == 2


def test_a_model_that_is_onnx_already_needs_something_to_do(bright: Path, tmp_path: Path) -> None:
    code, _, err = run(bright, tmp_path / "m.onnx")
    assert code == 65
    assert "is ONNX already" in err
    assert "--data DIR" in err


def test_a_model_for_deepness_has_a_fixed_window_and_gives_probability(bright: Path, tmp_path: Path) -> None:
    code, _, err = run(bright, tmp_path / "d.onnx", "--deepness")
    assert code == 0, err
    session = onnxruntime.InferenceSession(tmp_path / "d.onnx")
    (taken,) = session.get_inputs()
    assert taken.shape[1:] == [3, 64, 64]
    keys = session.get_modelmeta().custom_metadata_map
    assert (json.loads(keys["model_type"]), json.loads(keys["tile_size"])) == ("Segmentor", 64)
    image = np.random.default_rng(0).random((1, 3, 64, 64)).astype(np.float32)
    (probability,) = session.run(None, {taken.name: image})
    np.testing.assert_allclose(probability, sigmoid(OnnxBackend(bright).logits(image)), atol=1e-6)
    with pytest.raises(InputError, match="no 'buildmap' metadata"):
        OnnxBackend(tmp_path / "d.onnx")


def test_chips_of_a_preset_that_do_not_fit_the_network_grow_to_whole_strides() -> None:
    def chip_px(stride: int) -> int:
        card = make_card(stride=stride, window_px=6 * stride, halo_px=stride)
        return preset_for(card, None).training.chip_px

    assert find_preset("lite").training.chip_px == 256
    assert [chip_px(stride) for stride in (16, 24, 257)] == [256, 264, 257]


def test_what_is_measured_on_probability_is_refused_for_networks_that_find_buildings_one_by_one(
    tmp_path: Path, town: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model(name="mask-rcnn", instances=Instances())
    card = make_card(model=model, window_px=64, halo_px=16)
    write_onnx(tmp_path / "m.onnx", card)
    monkeypatch.setattr("buildmap.inference.backend.open_models", lambda *_: SimpleNamespace(card=card))
    code, _, err = run(tmp_path / "m.onnx", tmp_path / "n.onnx", "--data", town)
    assert code == 78
    assert "finds buildings one by one; halo and int8 are measured on probability" in err
    assert not (tmp_path / "n.onnx").exists()
