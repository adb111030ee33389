"""One training of a search, and how it may end."""

from dataclasses import replace
from pathlib import Path

import pytest

from buildmap.errors import DivergedError, InputError, MismatchError
from buildmap.search.trial import Job, scores_by_epoch
from buildmap.train import TrainOptions
from buildmap.training.record import to_line
from tests.unit.search.fakes import DIVERGING, FAKE, HUNGRY, WRONG, learn, score
from tests.unit.training.epochs import records, without_validation


def job(folder: Path, *, rate: float = 1e-4, stop_after: int | None = None) -> Job:
    return Job(
        number=0,
        settings={"training.learning_rate": str(rate)},
        data=folder,
        model=folder / "m.safetensors",
        preset=replace(FAKE, training=replace(FAKE.training, learning_rate=rate)),
        options=TrainOptions(stop_after=stop_after),
        learn=learn,
    )


def test_a_trial_says_what_its_best_epoch_came_to(tmp_path: Path) -> None:
    found = job(tmp_path).run(None)
    assert (found.best_epoch, found.epochs, found.seconds) == (15, 20, 20.0)
    assert found.iou == pytest.approx(score(job(tmp_path).preset, 15))
    assert (found.f1, found.balanced_accuracy) == (found.iou / 2, 1 - found.iou)
    assert (found.model, found.diverged, found.failure) == (str(tmp_path / "m.safetensors"), False, None)


def test_a_diverged_or_starved_trial_has_no_model_and_its_epochs_count(tmp_path: Path) -> None:
    diverged, starved = (job(tmp_path, rate=rate).run(None) for rate in (DIVERGING, HUNGRY))
    assert (diverged.model, diverged.diverged, diverged.failure, diverged.epochs) == (None, True, None, 1)
    assert (starved.model, starved.diverged, starved.epochs) == (None, False, 2)
    assert starved.failure == "too little memory; lower batch_size"


def test_what_would_end_every_trial_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a raster is broken"):
        job(tmp_path, rate=WRONG).run(None)
    assert not issubclass(InputError, DivergedError)


def test_scores_are_read_epoch_by_epoch(tmp_path: Path) -> None:
    one = job(tmp_path, stop_after=7)
    one.run(None)
    scores = scores_by_epoch(one.model, "iou")
    assert scores == pytest.approx([score(one.preset, epoch) for epoch in range(1, 8)])
    assert scores_by_epoch(one.model, "f1") == pytest.approx([value / 2 for value in scores])


def test_without_validation_ground_there_is_nothing_to_judge_by(tmp_path: Path) -> None:
    (tmp_path / "m.run").mkdir()
    lines = [to_line(without_validation(one)) for one in records(2)]
    (tmp_path / "m.run" / "metrics.jsonl").write_text("\n".join(lines))
    with pytest.raises(MismatchError, match="no validation ground") as caught:
        scores_by_epoch(tmp_path / "m.safetensors", "iou")
    assert "validation_share" in (caught.value.hint or "")
