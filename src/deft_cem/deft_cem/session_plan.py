# SPDX-License-Identifier: Apache-2.0
"""Which episode comes next: warm-up, fine-tuning, policy trials, prior-only trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from deft_core.episode import Phase
from deft_core.errors import ConfigurationError

# Scene seeds are positive 31-bit numbers, so that every simulator can take them.
_SCENE_SEED_LIMIT: Final = 2**31


@dataclass(frozen=True)
class PlannedEpisode:
    """One episode as it was planned.

    Attributes:
        position: Position among the episodes that count, from 0.
        phase: Part of the session.
        object_set: Objects the operator may lay out: 'train' or 'test'.
        scene_seed: Seed for the scene; operators derive object and layout from it.
    """

    position: int
    phase: Phase
    object_set: str
    scene_seed: int


class SessionPlan:
    """All episodes of a session, fixed by its seed before the first one.

    Practice sees training objects in fresh scenes. The trials of the policy and of the prior
    alone see the same scenes, which practice has not seen: what differs between them is the
    residual and nothing else.
    """

    def __init__(
        self, *, seed: int, warm_up: int, episodes: int, trials: int, trial_objects: str
    ) -> None:
        """Lay out the session.

        Args:
            seed: Seed of the session.
            warm_up: M, episodes drawn from the first distribution.
            episodes: N, all practice episodes.
            trials: Evaluation trials with the policy; as many with the prior alone.
            trial_objects: Object set of the trials, 'train' or 'test'.

        Raises:
            ConfigurationError: Numbers that make no session.
        """
        if not 0 < warm_up < episodes:
            raise ConfigurationError(
                f'warm_up_episodes is {warm_up} of {episodes} episodes, '
                'expected at least 1 and fewer than all'
            )
        if trials < 0:
            raise ConfigurationError(f'evaluation_trials is {trials}, expected 0 or more')
        if trial_objects not in {'train', 'test'}:
            raise ConfigurationError(
                f"evaluation_object_set is {trial_objects!r}, expected 'train' or 'test'"
            )
        # A stream of its own: scenes do not depend on what the optimiser draws.
        rng = np.random.default_rng([seed, 1])
        seeds = rng.choice(_SCENE_SEED_LIMIT - 1, size=episodes + trials, replace=False) + 1
        practice, evaluation = seeds[:episodes], seeds[episodes:]
        self._practice = episodes
        self._planned: list[PlannedEpisode] = []
        for index, scene in enumerate(practice):
            phase = Phase.WARM_UP if index < warm_up else Phase.FINE_TUNE
            self._add(phase, 'train', int(scene))
        for phase in (Phase.EVALUATE_POLICY, Phase.EVALUATE_PRIOR):
            for scene in evaluation:
                self._add(phase, trial_objects, int(scene))

    def _add(self, phase: Phase, object_set: str, scene_seed: int) -> None:
        self._planned.append(PlannedEpisode(len(self._planned), phase, object_set, scene_seed))

    def __len__(self) -> int:
        """Number of episodes that count."""
        return len(self._planned)

    def __getitem__(self, position: int) -> PlannedEpisode:
        """The planned episode at a position."""
        return self._planned[position]

    @property
    def practice_count(self) -> int:
        """N: number of practice episodes."""
        return self._practice
