"""Eight bits: as good as float32 on real chips, or not written."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from buildmap.data.dataset import Batch, Chips
from buildmap.errors import InputError, MismatchError
from buildmap.execution.progress import Silent
from buildmap.inference import quantize as module
from buildmap.inference.backend import builtin_model
from buildmap.inference.onnx_backend import OnnxBackend
from buildmap.inference.onnx_card import fingerprint_onnx
from buildmap.inference.quantize import (
    CALIBRATION_CHIPS,
    MOST_LOSS_POINTS,
    ON_CPU,
    Trial,
    calibration_images,
    choose_trial,
    count_by_source,
    layer_ends,
    quantize,
    speed_ratio,
    to_int8,
)
from buildmap.metrics.confusion import Confusion
from tests.networks import make_card, write_onnx
from tests.unit.data.material import make_preset, write_pair


@pytest.fixture
def chips(tmp_path: Path) -> Iterator[Chips]:
    write_pair(tmp_path / "data", "town")
    with Chips(tmp_path / "data", make_preset(data=make_card().data)) as opened:
        yield opened


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_onnx(tmp_path / "m.onnx", kernel_px=3)


def test_an_int8_model_is_as_good_and_knows_what_it_is(model: Path, chips: Chips, tmp_path: Path) -> None:
    before = model.read_bytes()
    result = quantize(model, tmp_path / "q.onnx", chips, progress=Silent())
    assert result.iou_float > 0.5
    assert result.loss_points == pytest.approx(100 * (result.iou_float - result.iou_int8), abs=2e-3)
    assert result.loss_points < MOST_LOSS_POINTS
    assert result.loss_points_by_source.keys() == {"images/town"}
    assert result.float_layers == ()
    assert result.speed_ratio > 0
    assert model.read_bytes() == before
    card = OnnxBackend(tmp_path / "q.onnx", ON_CPU).card
    assert card.title == "bright is building (int8)"
    with pytest.raises(InputError, match=r"'bright is building \(int8\)' is int8 already"):
        quantize(tmp_path / "q.onnx", tmp_path / "r.onnx", chips, progress=Silent())
    assert card.fingerprint == fingerprint_onnx(tmp_path / "q.onnx") != fingerprint_onnx(model)


def test_weights_have_seven_bits_so_that_pairs_of_products_fit_sixteen(
    model: Path, chips: Chips, tmp_path: Path
) -> None:
    to_int8(model, tmp_path / "q.onnx", calibration_images(chips))
    found = [onnx.numpy_helper.to_array(t) for t in onnx.load(tmp_path / "q.onnx").graph.initializer]
    weights = [array for array in found if array.dtype == np.int8 and array.ndim == 4]
    assert len(weights) == 1
    largest = int(np.abs(weights[0].astype(int)).max())
    assert 60 < largest <= 64
    assert 2 * 255 * largest < 2**15


def test_probabilities_stay_close_and_excluded_layers_exact(
    model: Path, chips: Chips, tmp_path: Path
) -> None:
    images = calibration_images(chips)
    assert images.shape == (CALIBRATION_CHIPS, 3, 32, 32)
    np.testing.assert_array_equal(images, calibration_images(chips))
    to_int8(model, tmp_path / "q.onnx", images)
    expected = OnnxBackend(model, ON_CPU).logits(images)
    difference = np.abs(OnnxBackend(tmp_path / "q.onnx", ON_CPU).logits(images) - expected)
    assert 0 < difference.max() < 0.25
    to_int8(model, tmp_path / "f.onnx", images, excluded=["conv"])
    np.testing.assert_allclose(OnnxBackend(tmp_path / "f.onnx", ON_CPU).logits(images), expected, atol=1e-5)


def test_a_model_that_loses_too_much_is_refused_with_both_numbers(
    model: Path, chips: Chips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(source: Path, output: Path, *_: object, **__: object) -> None:
        spoilt = onnx.load(source)
        weights = -onnx.numpy_helper.to_array(spoilt.graph.initializer[0])
        spoilt.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "weight"))
        onnx.save(spoilt, output)

    monkeypatch.setattr(module, "to_int8", spoil)
    with pytest.raises(
        MismatchError, match=r"int8 loses \d+\.\d+ points of IoU \(0\.\d+ in float32, 0\."
    ) as e:
        quantize(model, tmp_path / "q.onnx", chips, progress=Silent())
    assert e.value.hint == "export without --int8"
    assert not (tmp_path / "q.onnx").exists()


def test_a_finer_model_has_no_truth_to_be_judged_on(chips: Chips, tmp_path: Path) -> None:
    finer = write_onnx(tmp_path / "m.onnx", make_card(scale=4))
    with pytest.raises(InputError, match="predicts at scale 4") as caught:
        quantize(finer, tmp_path / "q.onnx", chips, progress=Silent())
    assert caught.value.hint == "export without --int8"
    assert not (tmp_path / "q.onnx").exists()


def test_without_validation_ground_nothing_can_be_judged(model: Path, tmp_path: Path) -> None:
    write_pair(tmp_path / "data", "town")
    preset = make_preset(data=make_card().data, validation_share=0.0)
    with (
        Chips(tmp_path / "data", preset) as chips,
        pytest.raises(InputError, match="no validation ground"),
    ):
        quantize(model, tmp_path / "q.onnx", chips, progress=Silent())


def trial(name: str, **tp: int) -> Trial:
    """Give a trial whose sources have 100 building pixels each, of which `tp` were found."""
    by_source = {source: Confusion(tp=found, fn=100 - found) for source, found in tp.items()}
    return Trial(path=Path(name), float_layers=(), by_source=by_source)


def test_the_first_trial_in_which_no_source_loses_is_taken_and_no_more_are_made() -> None:
    expected = trial("float", a=90, b=50).by_source

    def trials() -> Iterator[Trial]:
        yield trial("worse in b", a=91, b=49)
        yield trial("good", a=90, b=50)
        raise AssertionError("not needed")

    assert choose_trial(trials(), expected).path == Path("good")


def test_where_every_trial_loses_somewhere_the_best_over_all_is_taken() -> None:
    expected = trial("float", a=90, b=50).by_source
    trials = [trial("1", a=85, b=50), trial("2", a=92, b=49), trial("3", a=88, b=50)]
    assert choose_trial(trials, expected).path == Path("2")


def test_counts_follow_the_cards_threshold_and_leave_out_what_is_invalid(tmp_path: Path) -> None:
    image = np.zeros((2, 3, 16, 16), np.float32)
    image[0, :, :, :8] = 0.25  # logit 1, probability 0.73
    target = np.zeros((2, 16, 16), np.float32)
    target[0, :8] = 1
    valid = np.ones((2, 16, 16), np.bool_)
    valid[1, :4] = False
    batch = Batch(image=image, target=target, valid=valid, names=("a", "b"))
    low = OnnxBackend(write_onnx(tmp_path / "low.onnx", make_card(threshold=0.7)), ON_CPU)
    high = OnnxBackend(write_onnx(tmp_path / "high.onnx", make_card(threshold=0.8)), ON_CPU)
    assert count_by_source(low, [batch, batch]) == {
        "a": Confusion(tp=128, fp=128, fn=128, tn=128),
        "b": Confusion(tn=384),
    }
    assert count_by_source(high, [batch])["a"] == Confusion(fn=128, tn=128)


def test_the_first_layer_sees_the_image_and_the_last_gives_the_logits() -> None:
    first, last = layer_ends(builtin_model())
    nodes = {node.name: node for node in onnx.load(builtin_model()).graph.node}
    assert "image" in nodes[first].input
    (after,) = [node for node in nodes.values() if nodes[last].output[0] in node.input]
    assert (after.op_type, after.output[0]) == ("DepthToSpace", "logits")


def test_a_model_is_about_as_fast_as_itself(model: Path) -> None:
    backends = [OnnxBackend(model, ON_CPU) for _ in range(2)]
    ratio = speed_ratio(*backends, np.zeros((3, 32, 48), np.float32))
    assert 0 < ratio < np.inf
