"""A search from end to end, with trainings whose scores are known."""

import csv
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from buildmap.errors import DivergedError, InputError, ResourceError
from buildmap.preset import change_preset, load_preset
from buildmap.search.heatmap import draw
from buildmap.search.plan import Halving, SearchPlan
from buildmap.search.run import SearchSummary, search
from buildmap.train import TrainOptions
from tests.unit.search.fakes import (
    DIVERGING,
    FAKE,
    HUNGRY,
    INTERRUPTED,
    LATE,
    WRONG,
    epochs_run,
    final_score,
    found_in,
    learn,
    paths_aside,
    score,
)

PAPER = {
    "loss.bce": ["0.4", "0.5", "0.6"],
    "loss.dice": ["0.2", "0.3", "0.4"],
    "loss.boundary_alignment": ["0.0", "0.1", "0.2"],
    "training.learning_rate": ["1e-05", "0.0001", "0.001"],
}
WINNER = {
    "loss.bce": "0.5",
    "loss.dice": "0.4",
    "loss.boundary_alignment": "0.1",
    "training.learning_rate": "0.0001",
}
SMALL = {"loss.bce": ["0.4", "0.5"], "loss.dice": ["0.2", "0.4"]}
HALVING = Halving(min_epochs=2, reduction=3, seed=0)


@pytest.fixture(autouse=True, scope="module")
def _no_picture() -> Iterator[None]:
    """Spare the seconds of drawing, also a fixture's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("buildmap.search.run.draw", lambda *_: True)
        yield


@pytest.fixture
def _picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw where the picture is looked at."""
    monkeypatch.setattr("buildmap.search.run.draw", draw)


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SearchSummary]:
    """Race the paper's grid."""
    folder = tmp_path_factory.mktemp("halved")
    return folder, found_in(folder, PAPER, HALVING)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SearchSummary:
    """Run the paper's grid whole."""
    return found_in(tmp_path_factory.mktemp("whole"), PAPER)


def test_the_whole_grid_finds_the_best_of_81(whole: SearchSummary) -> None:
    assert whole.best == WINNER
    assert len(whole.trials) == 81
    assert (whole.epochs, whole.grid_epochs, whole.stopped, whole.failed) == (1620, 1620, 0, 0)
    model = Path(whole.output)
    assert model.read_text() == f"{','.join(f'{k}={v}' for k, v in WINNER.items())} after epoch 15"
    expected = max(whole.trials, key=lambda trial: final_score(change_preset(FAKE, trial.settings)))
    assert whole.best == expected.settings


def test_halving_finds_the_same_with_far_fewer_epochs(
    halved: tuple[Path, SearchSummary], whole: SearchSummary
) -> None:
    folder, found = halved
    assert_same_with_fewer_epochs(folder, found, whole, share=0.35)


def test_so_does_halving_of_another_pace_and_seed(tmp_path: Path, whole: SearchSummary) -> None:
    found = found_in(tmp_path, PAPER, Halving(min_epochs=1, reduction=4, seed=1))
    assert_same_with_fewer_epochs(tmp_path, found, whole, share=0.25)


def assert_same_with_fewer_epochs(
    folder: Path, found: SearchSummary, whole: SearchSummary, *, share: float
) -> None:
    assert found.best == whole.best
    assert Path(found.output).read_text() == Path(whole.output).read_text()
    assert found.grid_epochs == 1620
    assert found.epochs == len(epochs_run(folder)) < share * 1620
    assert found.stopped == sum(trial.epochs < 20 for trial in found.trials) > 40


def test_early_on_other_settings_lead(whole: SearchSummary) -> None:
    first = max(whole.trials, key=lambda trial: score(change_preset(FAKE, trial.settings), 1))
    assert first.settings != WINNER


def test_no_epoch_is_run_twice(halved: tuple[Path, SearchSummary]) -> None:
    folder, found = halved
    counts = Counter(epochs_run(folder))
    assert set(counts.values()) == {1}
    for trial in found.trials:
        name = Path(trial.model or "").stem
        assert [epoch for one, epoch in counts if one == name] == list(range(1, trial.epochs + 1))


def test_a_trial_that_goes_on_ends_as_in_the_whole_grid(
    halved: tuple[Path, SearchSummary], whole: SearchSummary
) -> None:
    _, found = halved
    pairs = [
        (ours, theirs) for ours, theirs in zip(found.trials, whole.trials, strict=True) if not ours.stopped
    ]
    assert 1 < len(pairs) < 20
    for ours, theirs in pairs:
        assert replace(ours, model=None) == replace(theirs, model=None)


@pytest.mark.parametrize("halving", [None, HALVING])
def test_a_search_that_was_interrupted_goes_on(tmp_path: Path, halving: Halving | None) -> None:
    grid = SMALL | {"training.learning_rate": ["0.0001", str(INTERRUPTED), "0.001"]}
    with pytest.raises(KeyboardInterrupt):
        found_in(tmp_path, grid, halving)
    assert not (tmp_path / "m.safetensors").exists()
    before = epochs_run(tmp_path)
    again = found_in(tmp_path, grid, halving)
    assert 0 < len(before) < len(epochs_run(tmp_path))
    assert set(Counter(epochs_run(tmp_path)).values()) == {1}
    other = tmp_path / "other"
    other.mkdir()
    (other / "happened").touch()
    assert paths_aside(found_in(other, grid, halving)) == paths_aside(again)


@pytest.mark.parametrize("halving", [None, HALVING])
def test_a_search_that_is_given_again_runs_no_epoch(tmp_path: Path, halving: Halving | None) -> None:
    first = found_in(tmp_path, SMALL, halving)
    ran = epochs_run(tmp_path)
    assert found_in(tmp_path, SMALL, halving, overwrite=True) == first
    assert epochs_run(tmp_path) == ran


def test_a_search_that_begins_anew_runs_every_epoch_once_more(tmp_path: Path) -> None:
    first = found_in(tmp_path, SMALL, HALVING)
    ran = epochs_run(tmp_path)
    assert found_in(tmp_path, SMALL, HALVING, overwrite=True, restart=True) == first
    assert epochs_run(tmp_path) == ran * 2


def test_a_race_of_a_few_after_the_whole_grid_needs_no_epoch(tmp_path: Path) -> None:
    first = found_in(tmp_path, SMALL)
    ran = epochs_run(tmp_path)
    assert found_in(tmp_path, SMALL, HALVING, overwrite=True).best == first.best
    assert epochs_run(tmp_path) == ran


def test_the_winners_preset_is_written_as_toml(whole: SearchSummary) -> None:
    assert load_preset(Path(whole.preset)) == change_preset(FAKE, WINNER)
    assert whole.preset == str(Path(whole.output).with_suffix(".grid") / "best.toml")


@pytest.mark.usefixtures("_picture")
def test_the_table_and_the_picture_have_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *a, **k: (figures.append(figure), save(figure, *a, **k))
    )
    found = found_in(tmp_path, SMALL)
    with Path(found.table).open(newline="") as file:
        table = list(csv.DictReader(file))
    image = next(child for child in figures[0].axes[0].get_children() if isinstance(child, AxesImage))
    drawn = [float(value) for line in image.get_array() for value in line]  # type: ignore[union-attr]
    assert drawn == [float(line["iou"]) for line in table] == [row.iou for row in found.rows]
    assert found.heatmap == str(tmp_path / "m.grid" / "heatmap.png")
    assert Path(found.heatmap).stat().st_size > 1000


def test_the_presets_metric_chooses(tmp_path: Path) -> None:
    preset = replace(FAKE, training=replace(FAKE.training, metric="balanced_accuracy"))
    plan = SearchPlan(grid={"loss.bce": ["0.5", "0.9"]})
    found = search(
        tmp_path, tmp_path / "m.safetensors", preset, plan, TrainOptions(device="cpu"), learn=learn
    )
    assert found.best == {"loss.bce": "0.9"}
    assert [row.score for row in found.rows] == [trial.balanced_accuracy for trial in found.trials]


@pytest.mark.usefixtures("_picture")
def test_seeds_are_no_keys_of_the_picture(tmp_path: Path) -> None:
    found = found_in(tmp_path, {"training.seed": ["0", "1"]})
    assert (found.heatmap, len(found.rows), found.rows[0].trials) == (None, 1, 2)
    assert found.best == {"training.seed": "1"}


@pytest.mark.parametrize("halving", [None, Halving(min_epochs=1)])
def test_trials_without_a_model_are_gaps(tmp_path: Path, halving: Halving | None) -> None:
    rates = [str(DIVERGING), "0.0001", str(HUNGRY)]
    found = found_in(tmp_path, {"training.learning_rate": rates}, halving)
    assert (found.diverged, found.failed) == (1, 1)
    assert found.best == {"training.learning_rate": "0.0001"}
    assert [trial.model is None for trial in found.trials] == [True, False, True]


@pytest.mark.parametrize(
    ("rates", "kind", "message"),
    [
        ([DIVERGING], DivergedError, "every trial of the grid diverged"),
        ([DIVERGING, HUNGRY], ResourceError, "no trial has a model: too little memory"),
        ([1e-4, WRONG], InputError, "a raster is broken"),
    ],
)
def test_a_search_without_a_model_is_an_error(
    tmp_path: Path, rates: list[float], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        found_in(tmp_path, {"training.learning_rate": list(map(str, rates))})
    assert not (tmp_path / "m.safetensors").exists()


def test_if_those_that_went_on_fail_the_best_of_the_stopped_is_the_best(tmp_path: Path) -> None:
    seed = next(seed for seed in range(9) if random.Random(seed).sample(range(2), 2) == [0, 1])
    halving = Halving(min_epochs=3, reduction=2, seed=seed)
    found = found_in(tmp_path, {"training.learning_rate": [str(LATE), "1e-20"]}, halving)
    assert [trial.model is None for trial in found.trials] == [True, False]
    assert (found.best, found.stopped) == ({"training.learning_rate": "1e-20"}, 1)
    assert (tmp_path / "m.safetensors").read_text().endswith(" after epoch 1")


def test_trials_that_end_early_of_themselves_stay_in_the_race(tmp_path: Path) -> None:
    grid = {"training.epochs": ["4", "20"], "loss.bce": ["0.5", "0.6"]}
    found = found_in(tmp_path, grid, Halving(min_epochs=6, reduction=3))
    assert [trial.epochs for trial in found.trials[:2]] == [4, 4]
    assert [trial.stopped for trial in found.trials[:2]] == [False, False]
    assert found.best == {"training.epochs": "20", "loss.bce": "0.5"}
    assert found.grid_epochs == 48
