# SPDX-License-Identifier: Apache-2.0
"""What is known of the running episode, and the record it becomes."""

from __future__ import annotations

from dataclasses import dataclass, field

from deft_cem import __version__
from deft_cem.episode_timing import EpisodeClock
from deft_cem.nodes.session_setup import SessionSetup
from deft_core.camera import ColorImage
from deft_core.decode import color_from_msg
from deft_core.episode import Episode, FilmFrame, Outcome
from deft_core.grasp import GraspPrior
from deft_core.nodes.encode import episode_to_msg
from deft_msgs.msg import EpisodeRecord, ObjectObservation


@dataclass
class RunningEpisode:
    """What is known of the running episode; filled in as it goes on.

    Attributes:
        started: When its scene was ready, ROS clock. [s].
        ended: When its motion ended, ROS clock. [s].
        object_name: What lies on the table.
        scene_seed: Seed of the scene; -1 where a person laid it out.
        observation: What was seen of it.
        prior: xi.
        outcome: How its motion ended.
        outcome_message: The same in words.
        film: Pictures of the motion.
        last_image: After the motion. Shape (height, width, 3).
        clock: Where its time goes.
    """

    started: float = 0.0
    ended: float = 0.0
    object_name: str = ''
    scene_seed: int = -1
    observation: ObjectObservation | None = None
    prior: GraspPrior | None = None
    outcome: Outcome = Outcome.COMPLETED
    outcome_message: str = ''
    film: tuple[FilmFrame, ...] = ()
    last_image: ColorImage | None = None
    clock: EpisodeClock = field(default_factory=EpisodeClock)

    def record(self, setup: SessionSetup) -> EpisodeRecord:
        """The finished episode as it goes to the recorder, still without its score.

        Args:
            setup: The session, with the proposal that was tried.
        """
        core = setup.core
        proposal = core.proposal
        assert self.observation is not None, 'recorded before observing'
        assert self.prior is not None, 'recorded before predicting'
        assert self.last_image is not None, 'recorded before the last image'
        episode = Episode(
            episode_id=proposal.episode_id,
            index=proposal.planned.position,
            phase=proposal.planned.phase,
            task=setup.task.name,
            object_name=proposal.object_name,
            scene_seed=proposal.scene_seed,
            prior=self.prior,
            residual=proposal.residual,
            executed=self.prior.grasp + proposal.residual,
            outcome=self.outcome,
            reward=None,
            reward_source='',
            success=None,
            first_image=color_from_msg(self.observation.color),
            last_image=self.last_image,
            film=self.film,
            sample_seed=core.seed,
            calibration_id=self.prior.calibration_id,
            distribution_mean=proposal.distribution_mean,
            distribution_std=proposal.distribution_std,
            started=self.started,
            ended=self.ended,
        )
        return episode_to_msg(episode, core.session_id, self.outcome_message, __version__)
