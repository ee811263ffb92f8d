# SPDX-License-Identifier: Apache-2.0
"""The book-keeping of a session: plan, optimiser, store and policy, without ROS.

A change is committed before its method returns; a killed session goes on from the last commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deft_cem import __version__
from deft_cem.episode_timing import Stretch
from deft_cem.optimisers.interface import ResidualOptimiser, Sample
from deft_cem.policies.policy import ResidualPolicy, load_policy
from deft_cem.proposal import Proposal
from deft_cem.run_folder import STORE_FILE, RunFolder, RunOccupiedError
from deft_cem.session_identity import SessionIdentity
from deft_cem.session_machine import Event
from deft_cem.session_methods import Method
from deft_cem.session_opening import open_store
from deft_cem.session_plan import PlannedEpisode, SessionPlan, derived_scene_seed
from deft_cem.session_progress import PRACTICE, SessionProgress
from deft_cem.settings import LearningSettings
from deft_cem.stored_episode import StoredEpisode
from deft_core.episode import Outcome, Phase
from deft_core.errors import InvalidInputError
from deft_core.grasp import GraspParameters, GraspPrior, GraspResidual


class SessionCore:
    """One session from its first proposal to its last trial, over any number of interruptions.

    Attributes:
        plan: All its episodes.
        progress: Which of them are done.
        store: What is committed; everything here, and what the recorder confirmed.
        run_directory: Its folder.
        session_id: Its name.
        method: DEFT or one of its baselines.
        seed: Seed of all random choices.
        resumed: Whether it was begun by an earlier process.
    """

    def __init__(
        self,
        run_directory: Path,
        *,
        session_id: str,
        task: str,
        seed: int,
        settings: LearningSettings,
        method: Method = Method.DEFT,
        predictor: str = '',
        must_exist: bool = False,
    ) -> None:
        """Begin the session, or go on with the one in the folder.

        Args:
            run_directory: Folder of the run; new, empty, or that of an interrupted session with
                the same task, seed, method, predictor and settings.
            session_id: Name of a new session; begins every episode id.
            task: Name of the task.
            seed: Seed of all random choices.
            settings: How to practise.
            method: DEFT or one of its baselines.
            predictor: Grasp predictor to ask for; empty for that of the affordance node.
            must_exist: Refuse to begin a new session.

        Raises:
            RunOccupiedError: The folder holds something else, a session of another kind or one
                that is finished, or another process is at it.
            ConfigurationError: Settings that make no session.
            RecordingError: The folder cannot be written or the store is damaged.
            TrainingError: The policy that was trained is missing.
        """
        self.plan = SessionPlan(
            seed=seed,
            warm_up=settings.warm_up_episodes,
            episodes=settings.episodes,
            trials=settings.evaluation_trials,
            trial_objects=settings.evaluation_object_set,
            practises=method.practises,
        )
        identity = SessionIdentity(task, seed, method, predictor, settings.to_dict())
        self._optimiser: ResidualOptimiser = settings.make_optimiser(seed)
        self._warm_up = settings.warm_up_episodes
        self._policy: ResidualPolicy | None = None
        self._proposal: Proposal | None = None
        self._timing: tuple[int, tuple[Stretch, ...]] = (0, ())
        self._layout = 0  # how often the running episode got another scene
        self.run_directory, self.method, self.seed = run_directory, method, seed
        if must_exist and not (run_directory / STORE_FILE).is_file():
            raise RunOccupiedError(f'there is no session in {run_directory} to go on with')
        self._folder = RunFolder(run_directory)
        try:
            self.resumed = self._folder.holds_session
            self.store = open_store(self._folder, identity, session_id, self._optimiser)
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
        self.progress = SessionProgress(
            self.plan,
            self._warm_up,
            [(e.episode_id, e.phase, e.reward) for e in episodes if e.reward is not None],
            len(self.store.skipped()),
        )
        origins = [(e.prior_source, e.calibration_id) for e in episodes]
        self._origin = origins[0] if origins else None
        # An episode that was open when its process ended is tried once more.
        self._repeated = self.store.pending()
        if self.store.trained:
            self._policy = load_policy(self.run_directory)

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
        planned = self.progress.planned
        if self._layout:
            return derived_scene_seed(planned.scene_seed, self._layout)
        if self._repeated is not None and self._repeated.scene_seed >= 0:
            return self._repeated.scene_seed
        partner = self.plan.partner(planned.position)
        for stored in self.store.episodes() if partner is not None else ():
            if stored.position == partner and stored.state == 'rated' and stored.scene_seed >= 0:
                return stored.scene_seed
        return planned.scene_seed

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
        """Seed for a grasp predictor that draws at random: one per place in the plan.

        The same for a policy trial and the prior-only trial of the same scene, so that both
        start from the same prior.
        """
        scene = self.plan[self.progress.planned.position].scene_seed
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
        planned = self.progress.planned
        mean, std = self.distribution
        sample: Sample | None = None
        if planned.phase in PRACTICE:
            sample = self._optimiser.pending or self._optimiser.ask()
            mean, std = sample.mean, sample.std
        residual = self._residual(planned, sample, image, prior.grasp)
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
                    position=planned.position,
                    phase=planned.phase,
                    object_name=object_name,
                    scene_seed=scene_seed,
                    sample_index=None if sample is None else sample.index,
                    prior=tuple(prior.grasp.to_vector().tolist()),
                    residual=tuple(residual.to_vector().tolist()),
                    prior_source=prior.source,
                    calibration_id=prior.calibration_id,
                ),
                self._optimiser.state_dict(),
            )
            self._started += 1
        self._repeated = None
        self._proposal = Proposal(
            number, episode_id, planned, object_name, scene_seed, residual, mean, std
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
        planned: PlannedEpisode,
        sample: Sample | None,
        image: npt.NDArray[np.uint8],
        prior: GraspParameters,
    ) -> GraspResidual:
        if sample is not None:
            return GraspResidual.from_vector(sample.residual)
        if planned.phase is Phase.EVALUATE_PRIOR:
            return GraspResidual.zero()
        if self._policy is None:
            raise InvalidInputError('there is no trained policy yet; load it first')
        # A stream per trial: a repeated trial draws the same z.
        rng = np.random.default_rng([self.seed, 2, planned.position])
        return self._policy.predict(image, prior, rng)

    def finish_motion(self, outcome: Outcome) -> None:
        """Commit how the motion of the open episode ended."""
        self.store.record_outcome(self.proposal.episode_id, outcome)

    def keep_record(self, record: bytes) -> None:
        """Commit what the executed episode left, while the operator looks at it.

        Args:
            record: The episode as it goes into the bag, still without its score.
        """
        self.store.record_evidence(self.proposal.episode_id, record)

    def rate(self, reward: float, source: str, success: bool | None) -> None:
        """Commit the score of the open episode and let the optimiser learn from it.

        The episode stays `proposal` until `conclude`.

        Args:
            reward: 0..1.
            source: Who scored.
            success: Task criterion met; None when not judged.

        Raises:
            InvalidInputError: No executed episode is open, it has no record, or not a reward.
            RecordingError: The store cannot be written; the session must not go on.
        """
        name, phase = self.proposal.episode_id, self.proposal.planned.phase
        if phase in PRACTICE:
            assert self._optimiser.pending is not None, 'rated without a sample'
            self._optimiser.tell(self._optimiser.pending.index, reward)
        self.store.record_reward(name, reward, source, success, self._optimiser.state_dict())
        self.progress.rate(name, phase, reward)

    def conclude(self, stretches: Sequence[Stretch] = ()) -> None:
        """Close the rated episode.

        Args:
            stretches: Where its time went, for `save_timing`.
        """
        self._timing = (self.proposal.number, tuple(stretches))
        self._proposal = None
        self._layout = 0

    def save_timing(self) -> None:
        """Commit where the time of the last episode went; it can wait until the arm moves."""
        number, stretches = self._timing
        if stretches:
            self.store.record_timing(number, stretches)
        self._timing = (number, ())

    def repeat(self) -> None:
        """The open episode, if any, is to be tried once more with the same residual."""
        if self._proposal is not None:
            self._repeated = self.store.pending()
            self._proposal = None

    def withdraw(self, reason: str) -> None:
        """Commit that the open episode, if any, does not count; its place is taken again.

        Args:
            reason: Why, for the store.
        """
        open_episode = self._proposal or self._repeated
        if open_episode is not None:
            self._withdraw_sample()
            self.store.record_withdrawal(
                open_episode.episode_id, reason, self._optimiser.state_dict()
            )
        self._proposal = self._repeated = None

    def skip(self, reason: str) -> None:
        """Commit that the place of the running episode in the plan stays empty.

        Args:
            reason: Why, for the store.
        """
        open_episode = self._proposal or self._repeated
        planned = self.progress.planned
        self._withdraw_sample()
        self.store.record_skip(
            planned.position,
            planned.phase,
            None if open_episode is None else open_episode.episode_id,
            reason,
            self._optimiser.state_dict(),
        )
        self._proposal = self._repeated = None
        self.progress.skip()
        self._layout = 0

    def _withdraw_sample(self) -> None:
        if self._optimiser.pending is not None:
            self._optimiser.withdraw(self._optimiser.pending.index)

    def take_policy(self) -> None:
        """Load the policy that was trained into the run folder.

        Raises:
            TrainingError: The files are missing or do not fit.
        """
        self._policy = load_policy(self.run_directory)
        self.store.record_training()
