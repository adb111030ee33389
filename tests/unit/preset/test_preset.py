"""Presets: every shipped file loads, and mistakes are named."""

import tomllib
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildmap.errors import MismatchError
from buildmap.preset import LOSSES, change_preset, find_preset, load_preset, preset_paths

LITE = Path("presets/lite.toml")


@pytest.mark.parametrize("path", sorted(Path("presets").glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_preset_loads_and_fits_itself(path: Path) -> None:
    preset = load_preset(path)
    assert preset.title
    assert preset.predict.window_px > 2 * preset.predict.halo_px
    assert preset == find_preset(path.stem) == find_preset(str(path))


def test_the_shipped_presets_are_those_in_the_folder_and_go_into_the_wheel() -> None:
    assert sorted(preset_paths()) == sorted(path.stem for path in Path("presets").glob("*.toml"))
    project = tomllib.loads(Path("pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"presets": "buildmap/presets"}


@pytest.mark.parametrize(
    ("edit", "message", "hint"),
    [
        (("gsd_min_m", "gds_min_m"), "data: unknown key 'gds_min_m'", "did you mean 'gsd_min_m'?"),
        (("bands = [1, 2, 3]", ""), "data: missing bands", None),
        (("bands = [1, 2, 3]", "bands = [1, 2]"), "data: bands, mean and std differ in length", None),
        (("bands = [1, 2, 3]", "bands = [0, 1, 2]"), "data: bands [0, 1, 2] are not counted from 1", None),
        (("std = [0.25", "std = [0.0"), "data: std [0.0, 0.25, 0.25] is not positive", None),
        (("threshold = 0.5", "threshold = 50"), "predict: threshold 50.0 is not a probability", None),
        (("gsd_min_m = 0.2", "gsd_min_m = 0.9"), "data: gsd_min_m 0.9 is not in 0..gsd_max_m 0.6", None),
        (('name = "lite"', 'name = "light"'), "name is 'light', not one of lite", "did you mean 'lite'?"),
        (("seed = 0", "seed = 0.5"), "training: seed is 0.5, not int", None),
        (("[data]", "[data"), "p.toml is not TOML: ", None),
        (("[predict]", "[[predict]]"), "predict is [", None),
    ],
)
def test_mistakes_are_named(tmp_path: Path, edit: tuple[str, str], message: str, hint: str | None) -> None:
    path = tmp_path / "p.toml"
    text = LITE.read_text()
    assert edit[0] in text
    path.write_text(text.replace(*edit, 1))
    with pytest.raises(MismatchError) as caught:
        load_preset(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert caught.value.hint == hint


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x00"])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(content)
    with pytest.raises(MismatchError, match=r"p\.toml"):
        load_preset(path)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("lit", "did you mean 'lite'?"), ("zzzzz", "shipped presets: "), ("gone.toml", None)],
)
def test_an_unknown_preset_is_refused_with_what_there_is(name: str, hint: str | None) -> None:
    with pytest.raises(MismatchError, match=name) as caught:
        find_preset(name)
    assert caught.value.hint == hint if hint is None else str(caught.value.hint).startswith(hint)


def test_a_file_that_is_not_there_or_is_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match=r"gone\.toml cannot be read: No such file"):
        find_preset(str(tmp_path / "gone.toml"))
    (tmp_path / "p.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(MismatchError, match=r"p\.toml is not TOML"):
        load_preset(tmp_path / "p.toml")


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("training.seed", "7", 7),
        ("training.learning_rate", "1e-3", 0.001),
        ("training.optimizer", "sgd", "sgd"),
        ("training.optimizer", '"sgd"', "sgd"),
        ("augment.quarter_turns", "false", False),
        ("data.bands", "[3, 2, 1]", (3, 2, 1)),
        ("model.width", "", None),
    ],
)
def test_one_value_of_a_preset_can_be_changed(key: str, text: str, value: object) -> None:
    lite = load_preset(LITE)
    section, name = key.split(".")
    expected = asdict(lite) | {section: asdict(getattr(lite, section)) | {name: value}}
    assert asdict(change_preset(lite, {key: text})) == expected


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_chosen_by_its_name(name: str) -> None:
    lite = load_preset(LITE)
    assert change_preset(lite, {"loss": name}) == replace(lite, loss=LOSSES[name])


@pytest.mark.parametrize(
    ("key", "text", "message", "hint"),
    [
        ("loss", "bd+lac+wdice", "no loss 'bd+lac+wdice'", "did you mean 'bd+lace+wdice'?"),
        ("training.seeed", "1", "training.seeed=1: unknown key 'seeed'", "did you mean 'seed'?"),
        ("training.seed", "one", "seed is 'one', not int", None),
        ("training.seed", "", "seed is None, not int", None),
        ("training.epochs", "0", "epochs 0 is not positive", None),
        ("loss.bce", "-1", "loss weights are negative", None),
    ],
)
def test_a_wrong_change_is_named(key: str, text: str, message: str, hint: str | None) -> None:
    with pytest.raises(MismatchError) as caught:
        change_preset(load_preset(LITE), {key: text})
    assert message in str(caught.value)
    assert caught.value.hint == hint


def test_weights_of_a_combination_may_be_zero_one_by_one() -> None:
    lite = load_preset(LITE)
    ce = change_preset(lite, {"loss": "ce"})
    with pytest.raises(MismatchError, match="all zero"):
        change_preset(ce, {"loss.bce": "0"})
    changed = change_preset(ce, {"loss.bce": "0", "loss.dice": "0.0", "loss.boundary_alignment": "0.1"})
    assert (changed.loss.bce, changed.loss.dice, changed.loss.boundary_alignment) == (0, 0, 0.1)
    with pytest.raises(MismatchError, match=r"loss\.bce=0, loss\.dice=0: loss weights are .*all zero"):
        change_preset(lite, {"loss.bce": "0", "loss.dice": "0"})


def test_a_loss_by_name_comes_before_its_weights() -> None:
    lite = load_preset(LITE)
    changed = change_preset(lite, {"loss.temperature": "2", "loss": "lace"})
    assert (changed.loss.lace, changed.loss.bce, changed.loss.temperature) == (1, 0, 2)


@given(st.permutations(["training.seed=3", "training.epochs=7", "loss.bce=0.25", "title=x", "model.width=6"]))
def test_together_is_the_same_as_one_after_the_other(pairs: list[str]) -> None:
    lite = load_preset(LITE)
    settings = dict(pair.split("=") for pair in pairs)
    expected = lite
    for key, text in settings.items():
        expected = change_preset(expected, {key: text})
    assert change_preset(lite, settings) == expected
