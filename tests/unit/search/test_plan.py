"""Which trainings a search tries."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildmap.errors import MismatchError
from buildmap.preset import change_preset, find_preset
from buildmap.search.plan import (
    Halving,
    find_plan,
    load_plan,
    plan_of,
    plan_paths,
    to_text,
    trial_name,
)

LITE = find_preset("lite")


def written(folder: Path, text: str) -> Path:
    path = folder / "s.toml"
    path.write_text(text)
    return path


def test_keys_may_be_dotted_quoted_or_tables(tmp_path: Path) -> None:
    lines = ("loss.bce = [0.5, 1]", '"loss.bce" = [0.5, 1]', "[grid.loss]\nbce = [0.5, 1]")
    plans = [load_plan(written(tmp_path, f"[grid]\n{line}")) for line in lines]
    assert [plan.grid for plan in plans] == [{"loss.bce": ["0.5", "1"]}] * 3
    assert [plan.halving for plan in plans] == [None] * 3


def test_the_last_key_changes_fastest(tmp_path: Path) -> None:
    plan = load_plan(written(tmp_path, "[grid]\ntraining.seed = [0, 1]\nloss = ['ce', 'bd+dice']"))
    assert plan.combinations() == [
        {"training.seed": seed, "loss": loss} for seed in "01" for loss in ("ce", "bd+dice")
    ]


def test_values_of_every_type_arrive_in_the_preset(tmp_path: Path) -> None:
    text = """
    [grid]
    training.learning_rate = [1e-5]
    training.seed = [7]
    augment.quarter_turns = [false]
    data.bands = [[3, 2, 1]]
    training.optimizer = ["sgd"]
    title = ["true", '"quoted"']
    """
    plan = load_plan(written(tmp_path, text))
    first, second = (change_preset(LITE, settings) for settings in plan.combinations())
    assert (first.training.learning_rate, first.training.seed, first.training.optimizer) == (1e-5, 7, "sgd")
    assert (first.augment.quarter_turns, first.data.bands) == (False, (3, 2, 1))
    assert (first.title, second.title) == ("true", '"quoted"')


def test_a_table_is_a_value_and_nothing_makes_a_key_absent(tmp_path: Path) -> None:
    text = """
    [grid]
    model.involution = ["", {kernel = 7, group_channels = 16, reduction = 4}]
    training.clip_norm = ["", 1.0]
    """
    plan = load_plan(written(tmp_path, text.replace("model.involution", "title")))
    assert plan.grid["title"] == ["", "{kernel = 7, group_channels = 16, reduction = 4}"]
    assert plan.grid["training.clip_norm"] == ["", "1.0"]
    base = replace(LITE, training=replace(LITE.training, clip_norm=3.0))
    changed = [change_preset(base, {"training.clip_norm": text}) for text in ("", "1.0")]
    assert [preset.training.clip_norm for preset in changed] == [None, 1.0]
    parts = change_preset(LITE, {"model.involution": plan.grid["title"][1]}).model.involution
    assert parts is not None and (parts.kernel, parts.group_channels, parts.reduction) == (7, 16, 4)


@given(
    st.recursive(
        st.one_of(
            st.booleans(),
            st.integers(),
            st.floats(allow_nan=False),
            st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1),
        ),
        lambda values: st.lists(values, max_size=3),
        max_leaves=5,
    )
)
def test_a_value_from_toml_reads_the_same_as_text(value: object) -> None:
    text = to_text(value)
    try:
        read: object = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        read = text
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        ({"training.sead": "1"}, "unknown key 'sead'", "did you mean 'seed'?"),
        ({"trainin.seed": "1"}, "unknown key 'trainin'", "did you mean 'training'?"),
        ({"training.seed.x": "1"}, "'seed' has no parts", None),
        ({"training.seed": "x"}, "seed is 'x', not int", None),
        ({"loss": "nonsense"}, "no loss 'nonsense'", "losses: ce"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    settings: dict[str, str], message: str, hint: str | None
) -> None:
    with pytest.raises(MismatchError, match=message) as caught:
        change_preset(LITE, settings)
    assert hint in (caught.value.hint or "") if hint else caught.value.hint is None


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[grid", "is not TOML", "[grid]"),
        ("", "nothing to try", "[grid]"),
        ("[grid]", "nothing to try", "[grid]"),
        ("[gird]\ntraining.seed = [0]", "unknown key 'gird'", "did you mean 'grid'?"),
        ("training.seed = [0]", "unknown key 'training'", "[grid]"),
        ("grid = [1]", "grid is [1], not a table", "[grid]"),
        ("[grid]\ntraining.seed = 0", "training.seed is 0, not a list", "training.seed = [0]"),
        ("[grid]\ntraining.seed = []", "training.seed has no values", "leave training.seed out"),
        ("[grid]\nloss.bce = [0.1, 0.2, 0.10]", "loss.bce has 0.1 twice", "leave one"),
        ("[grid]\nloss.bce = [1, 1.0]", "loss.bce has 1.0 twice", "leave one"),
        ("[grid]\nloss = ['ce', 'ce']", "loss has ce twice", "leave one"),
        ("[grid]\ndata.bands = [[1, 2], [1, 2]]", "data.bands has [1, 2] twice", "leave one"),
        (
            "[grid]\nloss.bce = [1]\n[halving]\nmin_epoch = 3",
            "unknown key 'min_epoch'",
            "did you mean 'min_epochs'?",
        ),
        ("[grid]\nloss.bce = [1]\n[halving]\nreduction = 1", "reduction 1 is below 2", None),
        ("[grid]\nloss.bce = [1]\n[halving]\nmin_epochs = 0", "min_epochs 0 is not positive", None),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, message: str, hint: str | None) -> None:
    with pytest.raises(MismatchError) as caught:
        load_plan(written(tmp_path, text))
    assert message in str(caught.value) and "s.toml" in str(caught.value)
    assert hint in (caught.value.hint or "") if hint else caught.value.hint is None


def test_true_and_one_are_two_values() -> None:
    assert plan_of({"title": ["true", "1"]}, where="here").grid == {"title": ["true", "1"]}


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match="No such file") as caught:
        find_plan(str(tmp_path / "s.toml"))
    assert "hr-mamba-loss" in (caught.value.hint or "")
    with pytest.raises(MismatchError, match="no search 'hr-mamba-los'") as caught:
        find_plan("hr-mamba-los")
    assert caught.value.hint == "did you mean 'hr-mamba-loss'?"


def test_the_papers_search_has_its_81_combinations() -> None:
    plan = find_plan("hr-mamba-loss")
    expected = {
        (bce, dice, boundary, rate)
        for bce in (0.4, 0.5, 0.6)
        for dice in (0.2, 0.3, 0.4)
        for boundary in (0.0, 0.1, 0.2)
        for rate in (1e-5, 1e-4, 1e-3)
    }
    presets = [change_preset(LITE, settings) for settings in plan.combinations()]
    found = {(p.loss.bce, p.loss.dice, p.loss.boundary_distance, p.training.learning_rate) for p in presets}
    assert (len(presets), found, plan.halving) == (81, expected, None)


def test_the_shipped_halving_is_of_the_same_grid() -> None:
    assert set(plan_paths()) == {"hr-mamba-loss", "hr-mamba-loss-halving"}
    plan = find_plan("hr-mamba-loss-halving")
    assert plan.grid == find_plan("hr-mamba-loss").grid
    assert plan.halving == Halving(min_epochs=5, reduction=3, seed=0)


def test_names_of_trials_are_readable_short_and_never_the_same() -> None:
    assert trial_name({"loss": "bd+dice", "training.seed": "1"}) == "loss=bd+dice,training.seed=1"
    pairs = [
        {"model.encoder_weights": "a/b"},
        {"model.encoder_weights": "a_b"},
        {"title": "x" * 300},
        {"title": "x" * 301},
    ]
    names = [trial_name(settings) for settings in pairs]
    assert len(set(names)) == 4
    assert all(len(name) <= 130 and "/" not in name for name in names)
