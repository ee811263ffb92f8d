# SPDX-License-Identifier: Apache-2.0
"""How far a session is: what was rated, what was skipped and what comes next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from deft_cem.session.machine import Event
from deft_cem.session.schedule import PlannedEpisode, SessionPlan
from deft_core.episode import Phase

PRACTICE: Final = frozenset({Phase.WARM_UP, Phase.FINE_TUNE})
_WINDOW: Final = 10


class SessionProgress:
    """Counts the episodes of a plan.

    Attributes:
        plan: All episodes.
    """

    def __init__(
        self,
        plan: SessionPlan,
        warm_up: int,
        rated: Iterable[tuple[str, Phase, float]] = (),
        skipped: int = 0,
    ) -> None:
        """Take over what was done before.

        Args:
            plan: All episodes.
            warm_up: M, rated practice episodes before the first refit.
            rated: Name, part and reward of the rated episodes, in order.
            skipped: Number of places that stay empty.
        """
        self.plan = plan
        self._warm_up = warm_up
        self._rated = list(rated)
        self._skipped = skipped

    @property
    def position(self) -> int:
        """Number of episodes rated or skipped; the place in the plan of the next one."""
        return len(self._rated) + self._skipped

    @property
    def planned(self) -> PlannedEpisode:
        """The episode that is running or comes next; the last one when all are done.

        Where episodes were skipped, the warm-up lasts until M are rated, as it does for the
        optimiser.
        """
        planned = self.plan[min(self.position, len(self.plan) - 1)]
        if planned.phase not in PRACTICE:
            return planned
        warm = len(self.practice_rewards) < self._warm_up
        return replace(planned, phase=Phase.WARM_UP if warm else Phase.FINE_TUNE)

    @property
    def rewards(self) -> Sequence[float]:
        """Rewards of the rated episodes, in order."""
        return tuple(reward for _, _, reward in self._rated)

    @property
    def practice_rewards(self) -> Sequence[float]:
        """Rewards of the rated practice episodes, in order."""
        return tuple(reward for _, phase, reward in self._rated if phase in PRACTICE)

    @property
    def recent_mean(self) -> float | None:
        """Mean of the last ten rewards; None before the first."""
        return float(np.mean(self.rewards[-_WINDOW:])) if self._rated else None

    @property
    def last_rated_id(self) -> str:
        """Name of the newest episode that has a reward; empty before the first."""
        return self._rated[-1][0] if self._rated else ''

    def rate(self, episode_id: str, phase: Phase, reward: float) -> None:
        """Count an episode that was rated."""
        self._rated.append((episode_id, phase, reward))

    def skip(self) -> None:
        """Count a place that stays empty."""
        self._skipped += 1

    def following(self, *, trained: bool) -> Event:
        """What comes next, while no episode is open.

        Args:
            trained: Whether there is a policy.
        """
        practice = self.plan.practice_count
        if practice and self.position >= practice and not trained:
            # Also without trials: the policy is what the session is for.
            return Event.PRACTICE_COMPLETE
        if self.position < len(self.plan):
            return Event.EPISODES_REMAIN
        return Event.TRIALS_COMPLETE
