# SPDX-License-Identifier: Apache-2.0
"""The schedule of a session, fixed by its seed, and how far the session is in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from deft_bag.dataset import PRACTICE
from deft_cem.session.machine import Event
from deft_core.episode import Phase
from deft_core.errors import ConfigurationError

# What `evaluation_object_set` may name, and the object sets that it means.
TRIAL_OBJECTS: Final = {'train': ('train',), 'test': ('test',), 'both': ('train', 'test')}
# Scene seeds are positive 31-bit numbers, so that every simulator can take them.
_SCENE_SEED_LIMIT: Final = 2**31
_WINDOW: Final = 10  # rewards of `recent_mean`


@dataclass(frozen=True)
class ScheduledEpisode:
    """One episode as it was scheduled."""

    position: int
    phase: Phase
    object_set: str  # objects the operator may lay out: 'train' or 'test'
    scene_seed: int  # seed for the scene; operators derive object and layout from it


class Schedule:
    """All episodes of a session, fixed by its seed before the first one.

    With practice: warm-up, fine-tuning, trials of the policy, trials of the prior alone. Without
    (the baseline "affordance only"): the same trials of the prior and nothing else, so that
    sessions of equal seed and settings can be compared scene by scene.

    Practice sees training objects in fresh scenes. The trials of the policy and of the prior
    alone see the same scenes, which practice has not seen: what differs between them is the
    residual and nothing else.
    """

    def __init__(
        self,
        *,
        seed: int,
        warm_up: int,
        episodes: int,
        trials: int,
        trial_objects: str,
        practises: bool = True,
    ) -> None:
        """Lay out the session.

        Raises:
            ConfigurationError: Numbers that make no session.
        """
        if not 0 < warm_up < episodes:
            raise ConfigurationError(
                f'warm_up_episodes is {warm_up} of {episodes} episodes, '
                'expected at least 1 and fewer than all'
            )
        least = 0 if practises else 1
        if trials < least:
            raise ConfigurationError(f'evaluation_trials is {trials}, expected {least} or more')
        if trial_objects not in TRIAL_OBJECTS:
            raise ConfigurationError(
                f'evaluation_object_set is {trial_objects!r}, expected one of '
                f'{", ".join(TRIAL_OBJECTS)}'
            )
        # A stream of its own: scenes do not depend on what the optimiser draws.
        rng = np.random.default_rng([seed, 1])
        seeds = rng.choice(_SCENE_SEED_LIMIT - 1, size=episodes + trials, replace=False) + 1
        practice, first = seeds[:episodes], seeds[episodes:]
        evaluation = []
        for index, name in enumerate(TRIAL_OBJECTS[trial_objects]):
            # What comes after the first set must not change the scenes before it.
            fresh = first if index == 0 else rng.integers(1, _SCENE_SEED_LIMIT, size=trials)
            evaluation += [(name, int(scene)) for scene in fresh]
        self._practice = episodes if practises else 0
        self._trials = len(evaluation)
        self._scheduled: list[ScheduledEpisode] = []
        if practises:
            for index, scene in enumerate(practice):
                phase = Phase.WARM_UP if index < warm_up else Phase.FINE_TUNE
                self._add(phase, 'train', int(scene))
            for object_set, scene in evaluation:
                self._add(Phase.EVALUATE_POLICY, object_set, scene)
        for object_set, scene in evaluation:
            self._add(Phase.EVALUATE_PRIOR, object_set, scene)

    def _add(self, phase: Phase, object_set: str, scene_seed: int) -> None:
        self._scheduled.append(
            ScheduledEpisode(len(self._scheduled), phase, object_set, scene_seed)
        )

    def __len__(self) -> int:
        """Number of episodes that count."""
        return len(self._scheduled)

    def __getitem__(self, position: int) -> ScheduledEpisode:
        """The scheduled episode at a position."""
        return self._scheduled[position]

    @property
    def practice_count(self) -> int:
        """N: number of practice episodes; 0 without practice."""
        return self._practice

    def partner(self, position: int) -> int | None:
        """Position of the policy trial on the scene of a prior-only trial, if there is one."""
        if self._practice == 0 or self[position].phase is not Phase.EVALUATE_PRIOR:
            return None
        return position - self._trials


def derived_scene_seed(scene_seed: int, layout: int) -> int:
    """Seed of another scene for the same episode, where nothing could be grasped in the first."""
    if layout == 0:
        return scene_seed
    rng = np.random.default_rng([scene_seed, layout])
    return int(rng.integers(1, _SCENE_SEED_LIMIT))


class Progress:
    """Counts the episodes of a schedule."""

    def __init__(
        self,
        schedule: Schedule,
        warm_up: int,
        rewarded: Iterable[tuple[Phase, float]] = (),
        skipped: int = 0,
    ) -> None:
        """Take over what was done before."""
        self.schedule = schedule
        self._warm_up = warm_up
        self._rewarded = list(rewarded)
        self._skipped = skipped

    @property
    def position(self) -> int:
        """Number of episodes rewarded or skipped; the place in the schedule of the next one."""
        return len(self._rewarded) + self._skipped

    @property
    def scheduled(self) -> ScheduledEpisode:
        """The episode that is running or comes next; the last one when all are done.

        Where episodes were skipped, the warm-up lasts until M are rewarded, as it does for the
        optimiser.
        """
        scheduled = self.schedule[min(self.position, len(self.schedule) - 1)]
        if scheduled.phase not in PRACTICE:
            return scheduled
        warm = len(self.practice_rewards) < self._warm_up
        return replace(scheduled, phase=Phase.WARM_UP if warm else Phase.FINE_TUNE)

    @property
    def rewards(self) -> Sequence[float]:
        """Rewards of the rewarded episodes, in order."""
        return tuple(reward for _, reward in self._rewarded)

    @property
    def practice_rewards(self) -> Sequence[float]:
        """Rewards of the rewarded practice episodes, in order."""
        return tuple(reward for phase, reward in self._rewarded if phase in PRACTICE)

    @property
    def recent_mean(self) -> float | None:
        """Mean of the last ten rewards; None before the first."""
        return float(np.mean(self.rewards[-_WINDOW:])) if self._rewarded else None

    def reward(self, phase: Phase, reward: float) -> None:
        """Count an episode that was rewarded."""
        self._rewarded.append((phase, reward))

    def skip(self) -> None:
        """Count a place that stays empty."""
        self._skipped += 1

    def following(self, *, trained: bool) -> Event:
        """What comes next, while no episode is open."""
        practice = self.schedule.practice_count
        if practice and self.position >= practice and not trained:
            # Also without trials: the policy is what the session is for.
            return Event.PRACTICE_COMPLETE
        if self.position < len(self.schedule):
            return Event.EPISODES_REMAIN
        return Event.TRIALS_COMPLETE
