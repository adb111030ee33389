"""Which trials go on: successive halving, decided by Optuna.

All trials run to the same epoch, and are then judged one by one, in an order drawn by a seed: one goes on if
it is among the best of its kind so far (asynchronous successive halving: Li et al., A System for Massively
Parallel Hyperparameter Tuning, MLSys 2020, Algorithm 2). What the judge decides follows from the scores
alone, so a search that was killed repeats its decisions, and any number of devices comes to the same.
"""

import logging
import random
from collections.abc import Mapping, Sequence

from buildmap.errors import ResourceError
from buildmap.search.plan import Halving


class Judge:
    """Remembers the scores of every judgement."""

    def __init__(self, halving: Halving, trials: int) -> None:
        """Begin without any score.

        Args:
            halving: How many go on.
            trials: Of the whole search.

        Raises:
            ResourceError: If Optuna is not installed.
        """
        try:
            import optuna  # noqa: PLC0415 (an extra)
        except ModuleNotFoundError as error:
            raise ResourceError(
                "successive halving needs Optuna, which is not installed",
                hint="pip install 'buildmap[search]', or leave [halving] out of the search",
            ) from error
        logging.getLogger("optuna").setLevel(logging.WARNING)  # it writes INFO to stderr unasked
        study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.RandomSampler(seed=halving.seed),
            pruner=optuna.pruners.SuccessiveHalvingPruner(
                min_resource=halving.min_epochs, reduction_factor=halving.reduction
            ),
        )
        self._trials = [study.ask() for _ in range(trials)]
        self._halving = halving
        self._order = random.Random(halving.seed).sample(range(trials), trials)

    def epochs(self, longest: int) -> list[int]:
        """List the epochs after which trials are judged; `longest` are those of the longest trial."""
        found, epoch = [], self._halving.min_epochs
        while epoch < longest:
            found.append(epoch)
            epoch *= self._halving.reduction
        return found

    def choose(self, curves: Mapping[int, Sequence[float]], *, epoch: int) -> set[int]:
        """Judge trials after an epoch, later than that of the judgement before.

        Args:
            curves: For each trial's number, the score of each of its epochs; higher is better.
            epoch: The last of them that counts.

        Returns:
            The numbers of those that go on.
        """
        kept = set()
        for number in self._order:
            if number in curves:
                # The best so far, as a trial keeps the weights of its best epoch.
                self._trials[number].report(max(curves[number][:epoch]), step=epoch)
                if not self._trials[number].should_prune():
                    kept.add(number)
        return kept
