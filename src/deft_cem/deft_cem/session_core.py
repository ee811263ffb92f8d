# SPDX-License-Identifier: Apache-2.0
"""The book-keeping of a session: plan, optimiser, store and policy, without ROS.

Every change is committed to the store before the method returns, so the node may act on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from deft_cem.optimisers.cem import CrossEntropyMethod
from deft_cem.optimisers.interface import Sample
from deft_cem.policy import ResidualPolicy, load_policy
from deft_cem.session_machine import Event
from deft_cem.session_plan import PlannedEpisode, SessionPlan
from deft_cem.session_store import SessionStore, StoredEpisode
from deft_cem.settings import LearningSettings
from deft_cem.summary import STORE_FILE
from deft_core.episode import Outcome, Phase
from deft_core.errors import ConfigurationError, InvalidInputError, RecordingError
from deft_core.grasp import GraspParameters, GraspResidual

# What other programs of the same launch may have put into a fresh run folder.
_TOLERATED: Final = frozenset({'bag', 'log', 'logs'})
_WINDOW: Final = 10


class RunOccupiedError(ConfigurationError):
    """The folder of the run holds another run."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """What the open episode tries.

    Attributes:
        episode_id: Unique name of the episode.
        planned: Its place in the plan.
        object_name: What lies on the table.
        scene_seed: Seed of the scene as the operator confirmed it.
        residual: epsilon (practice) or delta (trials).
        distribution_mean: Mean of D. Shape (22,). [m | rad | rad].
        distribution_std: Standard deviation of D. Shape (22,). [m | rad | rad].
    """

    episode_id: str
    planned: PlannedEpisode
    object_name: str
    scene_seed: int
    residual: GraspResidual
    distribution_mean: npt.NDArray[np.float64]
    distribution_std: npt.NDArray[np.float64]


class SessionCore:
    """One session from its first proposal to its last trial."""

    def __init__(
        self,
        run_directory: Path,
        *,
        session_id: str,
        task: str,
        seed: int,
        settings: LearningSettings,
    ) -> None:
        """Create the run folder and the store in it.

        Args:
            run_directory: Folder of the run; new, empty, or holding nothing but a fresh bag.
            session_id: Name of the session; begins every episode id.
            task: Name of the task.
            seed: Seed of all random choices.
            settings: How to practise.

        Raises:
            RunOccupiedError: The folder is occupied.
            ConfigurationError: Settings that make no session.
            RecordingError: The folder cannot be written.
        """
        self.plan = SessionPlan(
            seed=seed,
            warm_up=settings.warm_up_episodes,
            episodes=settings.episodes,
            trials=settings.evaluation_trials,
            trial_objects=settings.evaluation_object_set,
        )
        self._optimiser: CrossEntropyMethod = settings.make_optimiser(seed)
        claim_run_directory(run_directory)
        self.run_directory = run_directory
        self.session_id = session_id
        self.seed = seed
        self._store = SessionStore.create(
            run_directory / STORE_FILE,
            session_id=session_id,
            task=task,
            seed=seed,
            configuration=settings.to_dict(),
            optimiser_state=self._optimiser.state_dict(),
        )
        self._policy: ResidualPolicy | None = None
        self._proposal: Proposal | None = None
        self._sample: Sample | None = None
        self._started = 0  # episodes that were proposed, withdrawn ones included
        self._rewards: list[float] = []

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    @property
    def position(self) -> int:
        """Number of rated episodes; the place in the plan of the next one."""
        return len(self._rewards)

    @property
    def planned(self) -> PlannedEpisode:
        """The episode that is running or comes next; the last one when all are done."""
        return self.plan[min(self.position, len(self.plan) - 1)]

    @property
    def episode_id(self) -> str:
        """Name of the episode that is running or comes next."""
        if self._proposal is not None:
            return self._proposal.episode_id
        return f'{self.session_id}-{self._started:03d}'

    @property
    def proposal(self) -> Proposal:
        """What the open episode tries.

        Raises:
            InvalidInputError: No episode is open.
        """
        if self._proposal is None:
            raise InvalidInputError('no episode is open; propose a residual first')
        return self._proposal

    @property
    def distribution(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Mean and standard deviation of D as it is now. Shape (22,) each. [m | rad | rad]."""
        return self._optimiser.mean, self._optimiser.std

    @property
    def rewards(self) -> Sequence[float]:
        """Rewards of the rated episodes, in order."""
        return tuple(self._rewards)

    @property
    def recent_mean(self) -> float | None:
        """Mean of the last ten rewards; None before the first."""
        return float(np.mean(self._rewards[-_WINDOW:])) if self._rewards else None

    def prediction_seed(self) -> int:
        """Seed for a grasp predictor that draws at random: one per place in the plan.

        The same for a policy trial and the prior-only trial of the same scene, so that both
        start from the same prior.
        """
        planned = self.planned
        return int(np.random.default_rng([self.seed, 3, planned.scene_seed]).integers(2**63))

    def propose(
        self,
        image: npt.NDArray[np.uint8],
        prior: GraspParameters,
        object_name: str,
        scene_seed: int,
    ) -> Proposal:
        """Choose the residual of the next episode and commit it.

        Args:
            image: First image, RGB. Shape (height, width, 3).
            prior: xi, base frame.
            object_name: What lies on the table, as the operator named it.
            scene_seed: Seed of the scene as the operator confirmed it.

        Raises:
            InvalidInputError: The episode before is still open.
            RecordingError: The store cannot be written.
        """
        if self._proposal is not None:
            raise InvalidInputError(f'episode {self._proposal.episode_id} is still open')
        planned = self.planned
        mean, std = self.distribution
        self._sample = None
        if planned.phase in {Phase.WARM_UP, Phase.FINE_TUNE}:
            self._sample = self._optimiser.ask()
            residual = GraspResidual.from_vector(self._sample.residual)
        elif planned.phase is Phase.EVALUATE_POLICY:
            if self._policy is None:
                raise InvalidInputError('there is no trained policy yet; load it first')
            # A stream per trial: a repeated trial draws the same z.
            rng = np.random.default_rng([self.seed, 2, planned.position])
            residual = self._policy.predict(image, prior, rng)
        else:
            residual = GraspResidual.zero()
        proposal = Proposal(self.episode_id, planned, object_name, scene_seed, residual, mean, std)
        self._store.record_ask(
            StoredEpisode(
                number=self._started,
                episode_id=proposal.episode_id,
                phase=planned.phase,
                object_name=object_name,
                scene_seed=scene_seed,
                sample_index=None if self._sample is None else self._sample.index,
                prior=tuple(prior.to_vector().tolist()),
                residual=tuple(residual.to_vector().tolist()),
            ),
            self._optimiser.state_dict(),
        )
        self._started += 1
        self._proposal = proposal
        return proposal

    def finish_motion(self, outcome: Outcome) -> None:
        """Commit how the motion of the open episode ended."""
        self._store.record_outcome(self.proposal.episode_id, outcome)

    def rate(self, reward: float, source: str, success: bool | None) -> None:
        """Commit the score of the open episode and let the optimiser learn from it.

        The episode stays `proposal` until `conclude`, so that its record can be made.

        Args:
            reward: 0..1.
            source: Who scored.
            success: Task criterion met; None when not judged.

        Raises:
            InvalidInputError: No executed episode is open, or not a reward.
            RecordingError: The store cannot be written.
        """
        proposal = self.proposal
        if self._sample is not None:
            self._optimiser.tell(self._sample.index, reward)
        self._store.record_reward(
            proposal.episode_id, reward, source, success, self._optimiser.state_dict()
        )
        self._rewards.append(reward)

    def conclude(self) -> Event:
        """Close the rated episode and say what follows."""
        self._proposal = None
        self._sample = None
        if self.position == len(self.plan):
            # Without trials the policy is still trained: it is what the session is for.
            trials = len(self.plan) > self.plan.practice_count
            return Event.TRIALS_COMPLETE if trials else Event.PRACTICE_COMPLETE
        if self.position == self.plan.practice_count:
            return Event.PRACTICE_COMPLETE
        return Event.EPISODES_REMAIN

    def withdraw(self) -> None:
        """Commit that the open episode does not count; its place in the plan is taken again."""
        if self._sample is not None:
            self._optimiser.withdraw(self._sample.index)
        self._store.record_withdrawal(self.proposal.episode_id, self._optimiser.state_dict())
        self._proposal = None
        self._sample = None

    def take_policy(self) -> Event:
        """Load the policy that was trained into the run folder and say what follows.

        Raises:
            TrainingError: The files are missing or do not fit.
        """
        self._policy = load_policy(self.run_directory)
        done = self.position == len(self.plan)
        return Event.TRIALS_COMPLETE if done else Event.TRAINED

    def verdicts(self, phase: Phase) -> list[bool]:
        """Whether the task criterion was met, of the judged episodes of one part, in order."""
        return [
            stored.success
            for stored in self._store.episodes()
            if stored.phase is phase and stored.success is not None
        ]

    def rated(self, episode_id: str) -> StoredEpisode | None:
        """The stored episode of that name when it has a reward, else None."""
        for stored in self._store.episodes():
            if stored.episode_id == episode_id and stored.state == 'rated':
                return stored
        return None


def claim_run_directory(directory: Path) -> None:
    """Make the folder of a run, or refuse one that holds another run.

    Raises:
        RunOccupiedError: The folder is occupied.
        RecordingError: It cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        occupants = sorted(entry.name for entry in directory.iterdir())
    except FileExistsError as error:
        raise ConfigurationError(
            f'{directory} is a file, expected a folder for the run'
        ) from error
    except OSError as error:
        raise RecordingError(f'cannot use {directory} as run folder: {error}') from error
    occupants = [name for name in occupants if name not in _TOLERATED]
    if occupants:
        raise RunOccupiedError(
            f'the run folder {directory} is occupied ({", ".join(occupants[:3])}); '
            'choose another one or remove it'
        )


def with_overrides(
    settings: LearningSettings, *, episodes: int, warm_up: int, evaluation_trials: int
) -> LearningSettings:
    """Settings with the numbers a launch file may change; -1 keeps what the file says."""
    changes: dict[str, Any] = {
        name: value
        for name, value in (
            ('episodes', episodes),
            ('warm_up_episodes', warm_up),
            ('evaluation_trials', evaluation_trials),
        )
        if value >= 0
    }
    return replace(settings, **changes)
