# SPDX-License-Identifier: Apache-2.0
"""The thirty-trial track: what an optimiser makes of thirty noisy scores of a task."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import numpy.typing as npt

from deft_cem.optimisers.cem import initial_standard_deviation
from deft_core.errors import InvalidInputError
from deft_core.grasp import GraspResidual
from deft_sim.benchmark.episodes import (
    HELD_OUT,
    SEEDS,
    TRAIN,
    TaskEpisodes,
    Trials,
    run_trials,
    trial_scenes,
)


class TrialTrack:
    """Scores residuals on training objects while the budget lasts, then tries one on both sets.

    Scenes are those of `benchmarks/nine_tasks.py` with the same task and seed, so results are
    paired with its rows. Every score is one episode in a scene of its own, coarse and noisy as a
    person's; a scene that yields none (nothing seen, physics broke down) is laid out anew.

    Example:
        >>> with TrialTrack('pick_cup', seed=0) as track:  # doctest: +SKIP
        ...     while track.left > 0:
        ...         residual = optimiser.ask()
        ...         optimiser.tell(residual, track.score(residual))
        ...     print(track.evaluate(optimiser.best))

    Attributes:
        sigma: Spread with which the paper begins to practise. Shape (22,). [m | rad | rad].
        left: Scores that are left.

    Args:
        task: File in `config/tasks` that has a simulation.
        seed: Of all scenes.
        episodes: Budget of scores.
        trials: Of `evaluate`, on each object set.
        prior: Name of the grasp predictor.
    """

    def __init__(
        self,
        task: str,
        seed: int,
        *,
        episodes: int = 30,
        trials: int = 10,
        prior: str = 'geometric',
    ) -> None:
        """Build the cell."""
        self.sigma = initial_standard_deviation()
        self.left = self._budget = episodes
        self._trial_seeds, self._scenes = trial_scenes(seed, trials)
        self._episodes = TaskEpisodes(task, prior)

    def score(self, residual: npt.ArrayLike) -> float:
        """What the operator says, 0 to 1, of one episode with prior + residual (22,).

        Raises:
            InvalidInputError: Not 22 finite numbers, or the budget is spent.
        """
        if self.left < 1:
            raise InvalidInputError(
                f'All {self._budget} trials are spent; evaluate what was found, or open a track '
                'with another seed.'
            )
        decided = GraspResidual.from_vector(residual)
        score = None
        while score is None:
            seed = int(self._scenes.integers(SEEDS))
            score = self._episodes.episode(seed, TRAIN, lambda *_: decided)[0].score
        self.left -= 1
        return score

    def evaluate(self, residual: npt.ArrayLike) -> dict[str, Trials]:
        """Try a residual (22,) in fresh scenes with training and with held-out objects."""
        decided = GraspResidual.from_vector(residual)
        return {
            chosen: run_trials(self._episodes, self._trial_seeds, chosen, lambda *_: decided)
            for chosen in (TRAIN, HELD_OUT)
        }

    def close(self) -> None:
        """Free the renderer."""
        self._episodes.close()

    def __enter__(self) -> Self:
        """Nothing more to open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """See `close`."""
        self.close()
