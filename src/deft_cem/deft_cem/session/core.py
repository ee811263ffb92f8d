# SPDX-License-Identifier: Apache-2.0
"""The book-keeping of a session: schedule, optimiser, store, bag and policy, without ROS.

A change is on the disk before its method returns; a killed session goes on from there. A reward is
written once: first the episode with it into the bag, then its row in the store. What is in the
store is acknowledged; an episode that a kill left only in the bag is tried again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deft_bag.dataset import PRACTICE
from deft_bag.reader import BAG_FOLDER
from deft_bag.writer import EpisodeBag
from deft_cem import __version__
from deft_cem.optimisers.ask_tell import ResidualOptimiser, Sample
from deft_cem.policies.policy import ResidualPolicy, load_policy
from deft_cem.session.machine import Event
from deft_cem.session.run_config import Baseline, RunConfig
from deft_cem.session.run_folder import STORE_FILE, RunFolder, RunOccupiedError
from deft_cem.session.schedule import (
    Progress,
    Schedule,
    ScheduledEpisode,
    derived_scene_seed,
)
from deft_cem.session.store import SessionStore, StoredEpisode
from deft_cem.settings import LearningSettings
from deft_core.episode import Outcome, Phase
from deft_core.errors import InvalidInputError, RecordingError
from deft_core.grasp import GraspParameters, GraspPrior, GraspResidual


@dataclass(frozen=True, eq=False)
class Proposal:
    """What the open episode tries."""

    number: int
    episode_id: str
    scheduled: ScheduledEpisode
    object_name: str
    scene_seed: int  # as the operator confirmed it
    residual: GraspResidual  # epsilon (practice) or delta (trials)
    distribution_mean: npt.NDArray[np.float64]  # mean of D. Shape (22,) [m | rad | rad]
    # standard deviation of D. Shape (22,) [m | rad | rad]
    distribution_std: npt.NDArray[np.float64]


class SessionCore:
    """One session from its first proposal to its last trial, over any number of interruptions."""

    def __init__(
        self,
        run_directory: Path,
        *,
        session_id: str,
        task: str,
        seed: int,
        settings: LearningSettings,
        baseline: Baseline = Baseline.DEFT,
        predictor: str = '',
        must_exist: bool = False,
    ) -> None:
        """Begin the session, or go on with the one in the folder.

        Raises:
            RunOccupiedError: The folder holds something else, a session of another kind or one
                that is finished, or another process is at it.
            ConfigurationError: Settings that make no session.
            RecordingError: The folder cannot be written or the store is damaged.
            TrainingError: The policy that was trained is missing.
        """
        self.schedule = Schedule(
            seed=seed,
            warm_up=settings.warm_up_episodes,
            episodes=settings.episodes,
            trials=settings.evaluation_trials,
            trial_objects=settings.evaluation_object_set,
            practises=baseline.practises,
        )
        config = RunConfig(task, seed, baseline, predictor, settings.to_dict())
        self._optimiser: ResidualOptimiser = settings.make_optimiser(seed)
        self._warm_up = settings.warm_up_episodes
        self._policy: ResidualPolicy | None = None
        self._proposal: Proposal | None = None
        self._layout = 0  # how often the running episode got another scene
        self.run_directory, self.baseline, self.seed = run_directory, baseline, seed
        if must_exist and not (run_directory / STORE_FILE).is_file():
            raise RunOccupiedError(f'there is no session in {run_directory} to go on with')
        self._folder = RunFolder(run_directory)
        try:
            self.resumed = self._folder.holds_session  # begun by an earlier process
            self.store = self._open_store(config, session_id)
            try:
                self._restore()
                self.store.begin_launch(__version__)
            except BaseException:
                self.store.close()
                raise
        except BaseException:
            self._folder.release()
            raise

    def _restore(self) -> None:
        """Take over what the store holds."""
        self.session_id = self.store.session_id
        episodes = self.store.episodes()
        self._started = len(episodes)
        self.progress = Progress(
            self.schedule,
            self._warm_up,
            [(e.phase, e.reward) for e in episodes if e.reward is not None],
            len(self.store.skipped()),
        )
        origins = [(e.prior_source, e.calibration_id) for e in episodes]
        self._origin = origins[0] if origins else None
        # An episode that was open when its process ended is tried once more.
        self._repeated = self.store.pending()
        if self.store.trained:
            self._policy = load_policy(self.run_directory)
        self._bag = EpisodeBag(
            self.run_directory / BAG_FOLDER,
            [e.number for e in episodes if e.reward is not None],
        )

    def _open_store(self, config: RunConfig, session_id: str) -> SessionStore:
        """Create the store, or refuse what cannot be gone on with before it is written to."""
        path = self._folder.store
        if not self._folder.holds_session:
            return SessionStore.create(path, session_id=session_id, config=config)
        with SessionStore.read(path) as stored:
            differences = config.differences(stored.config)
            if differences:
                raise RunOccupiedError(
                    f'{self.run_directory} holds another session ({"; ".join(differences[:3])}); '
                    'go on with the same arguments or choose another run folder'
                )
            if stored.finished:
                raise RunOccupiedError(
                    f'the session in {self.run_directory} is finished; choose another run folder'
                )
            try:
                _tell_again(self._optimiser, stored.episodes())
            except InvalidInputError as error:
                raise RecordingError(
                    f'{path} cannot be gone on with: {error}; go on with the version of the '
                    'program that began it, or choose another run folder'
                ) from error
        return SessionStore.open(path)

    def close(self) -> None:
        """Close the store and let others use the folder."""
        self.store.close()
        self._folder.release()

    # Where it stands.

    @property
    def episode_id(self) -> str:
        """Name of the episode that is running or comes next."""
        open_episode = self._proposal or self._repeated
        if open_episode is not None:
            return open_episode.episode_id
        return f'{self.session_id}-{self._started:03d}'

    @property
    def scene_seed(self) -> int:
        """Seed of the scene that the operator should lay out now.

        An episode that is tried once more gets its scene again, a trial of the prior alone that
        of the policy's trial.
        """
        scheduled = self.progress.scheduled
        if self._layout:
            return derived_scene_seed(scheduled.scene_seed, self._layout)
        if self._repeated is not None and self._repeated.scene_seed >= 0:
            return self._repeated.scene_seed
        partner = self.schedule.partner(scheduled.position)
        for stored in self.store.episodes() if partner is not None else ():
            if (
                stored.position == partner
                and stored.state == 'rewarded'
                and stored.scene_seed >= 0
            ):
                return stored.scene_seed
        return scheduled.scene_seed

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

    def prediction_seed(self) -> int:
        """Seed for a grasp predictor that draws at random: one per place in the schedule.

        The same for a policy trial and the prior-only trial of the same scene, so that both
        start from the same prior.
        """
        scene = self.schedule[self.progress.scheduled.position].scene_seed
        return int(np.random.default_rng([self.seed, 3, scene]).integers(2**63))

    def following(self) -> Event:
        """What comes next, while no episode is open."""
        return self.progress.following(trained=self._policy is not None)

    # One episode.

    def another_scene(self) -> int:
        """Give the running episode another scene; returns its seed."""
        self._layout += 1
        return self.scene_seed

    def propose(
        self,
        image: npt.NDArray[np.uint8],
        prior: GraspPrior,
        object_name: str,
        scene_seed: int,
    ) -> Proposal:
        """Choose the residual of the next episode and commit it.

        An episode that is tried once more keeps its epsilon. In a trial the policy sees the new
        picture with the z it drew before.

        Args:
            image: First image, RGB. Shape (height, width, 3).
            prior: xi, and what made it.
            object_name: What lies on the table, as the operator named it.
            scene_seed: Seed of the scene as the operator confirmed it.

        Raises:
            InvalidInputError: The episode before is still open, or the prior comes from another
                predictor or camera calibration than those before.
            RecordingError: The store cannot be written.
        """
        if self._proposal is not None:
            raise InvalidInputError(f'episode {self._proposal.episode_id} is still open')
        self._require_same_origin(prior)
        scheduled = self.progress.scheduled
        mean, std = self.distribution
        sample: Sample | None = None
        if scheduled.phase in PRACTICE:
            sample = self._optimiser.pending or self._optimiser.ask()
            mean, std = sample.mean, sample.std
        residual = self._residual(scheduled, sample, image, prior.grasp)
        episode_id, repeated = self.episode_id, self._repeated
        if repeated is not None:
            self.store.record_attempt(
                episode_id,
                object_name=object_name,
                scene_seed=scene_seed,
                prior=prior.grasp.to_vector().tolist(),
                residual=residual.to_vector().tolist(),
            )
            number = repeated.number
        else:
            number = self._started
            self.store.record_ask(
                StoredEpisode(
                    number=number,
                    episode_id=episode_id,
                    position=scheduled.position,
                    phase=scheduled.phase,
                    object_name=object_name,
                    scene_seed=scene_seed,
                    sample_index=None if sample is None else sample.index,
                    prior=tuple(prior.grasp.to_vector().tolist()),
                    residual=tuple(residual.to_vector().tolist()),
                    prior_source=prior.source,
                    calibration_id=prior.calibration_id,
                )
            )
            self._started += 1
        self._repeated = None
        self._proposal = Proposal(
            number, episode_id, scheduled, object_name, scene_seed, residual, mean, std
        )
        return self._proposal

    def _require_same_origin(self, prior: GraspPrior) -> None:
        """Residuals around another prior or in another camera frame do not belong together."""
        origin = (prior.source, prior.calibration_id)
        if self._origin is None:
            self._origin = origin
        for name, mine, before in zip(
            ('prior', 'camera calibration'), origin, self._origin, strict=True
        ):
            if mine != before:
                raise InvalidInputError(
                    f'the {name} is {mine!r} and was {before!r} in the episodes before; go on '
                    'with the same one or begin another session'
                )

    def _residual(
        self,
        scheduled: ScheduledEpisode,
        sample: Sample | None,
        image: npt.NDArray[np.uint8],
        prior: GraspParameters,
    ) -> GraspResidual:
        if sample is not None:
            return GraspResidual.from_vector(sample.residual)
        if scheduled.phase is Phase.EVALUATE_PRIOR:
            return GraspResidual.zero()
        if self._policy is None:
            raise InvalidInputError('there is no trained policy yet; load it first')
        # A stream per trial: a repeated trial draws the same z.
        rng = np.random.default_rng([self.seed, 2, scheduled.position])
        return self._policy.predict(image, prior, rng)

    def finish_motion(self, outcome: Outcome) -> None:
        """Commit how the motion of the open episode ended."""
        self.store.record_outcome(self.proposal.episode_id, outcome)

    def reward(
        self,
        record: bytes,
        ended: float,
        reward: float,
        source: str,
        success: bool | None,
        scored: float | None = None,
    ) -> None:
        """Write the open episode to the bag, commit its score and let the optimiser learn.

        Args:
            record: The EpisodeRecord with the score, as CDR bytes.
            ended: When its motion ended, ROS clock. [s]
            reward: 0..1.
            source: Who scored.
            success: Task criterion met; None when not judged.
            scored: When the score came, ROS clock; None where nobody needs to know. [s]

        Raises:
            InvalidInputError: No executed episode is open, or not a reward.
            RecordingError: The disk refuses; the session must not go on.
        """
        proposal = self.proposal
        self._bag.write_episode(
            proposal.number,
            record,
            round(ended * 1e9),
            None if scored is None else round(scored * 1e9),
        )
        self.store.record_reward(proposal.episode_id, reward, source, success)
        if self._optimiser.pending is not None:
            self._optimiser.tell(self._optimiser.pending.index, reward)
        self.progress.reward(proposal.scheduled.phase, reward)
        self._proposal = None
        self._layout = 0

    def repeat(self) -> None:
        """The open episode, if any, is to be tried once more with the same residual."""
        if self._proposal is not None:
            self._repeated = self.store.pending()
            self._proposal = None

    def discard(self, reason: str) -> None:
        """Commit that the open episode, if any, does not count; its place is taken again."""
        open_episode = self._proposal or self._repeated
        if open_episode is not None:
            self._discard_sample()
            self.store.record_discard(open_episode.episode_id, reason)
        self._proposal = self._repeated = None

    def skip(self, reason: str) -> None:
        """Commit that the place of the running episode in the schedule stays empty."""
        open_episode = self._proposal or self._repeated
        scheduled = self.progress.scheduled
        self._discard_sample()
        self.store.record_skip(
            scheduled.position,
            scheduled.phase,
            None if open_episode is None else open_episode.episode_id,
            reason,
        )
        self._proposal = self._repeated = None
        self.progress.skip()
        self._layout = 0

    def _discard_sample(self) -> None:
        if self._optimiser.pending is not None:
            self._optimiser.discard(self._optimiser.pending.index)

    def take_policy(self) -> None:
        """Load the policy that was trained into the run folder.

        Raises:
            TrainingError: The files are missing or do not fit.
        """
        self._policy = load_policy(self.run_directory)
        self.store.record_training()


def _tell_again(optimiser: ResidualOptimiser, episodes: Iterable[StoredEpisode]) -> None:
    """Bring a fresh optimiser to where it was: the same samples with the same rewards."""
    for episode in episodes:
        if episode.sample_index is None:
            continue
        sample = optimiser.ask()
        if sample.index != episode.sample_index or sample.residual.tolist() != list(
            episode.residual
        ):
            raise InvalidInputError(
                f'the optimiser does not propose the sample of episode {episode.episode_id} again'
            )
        if episode.state == 'discarded':
            optimiser.discard(sample.index)
        elif episode.reward is not None:
            optimiser.tell(sample.index, episode.reward)
