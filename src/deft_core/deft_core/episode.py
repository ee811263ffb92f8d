# SPDX-License-Identifier: Apache-2.0
"""The record of one episode: all that offline training and a report need."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from deft_core.camera import ColorImage
from deft_core.grasp import GraspParameters, GraspPrior, GraspResidual
from deft_core.validation import FloatArray


class Outcome(Enum):
    """How the motion of an episode ended; values as in deft_msgs/EpisodeRecord."""

    COMPLETED = 0
    UNREACHABLE = 1
    COLLISION = 2
    NO_OBJECT = 3
    ABORTED = 4
    FAILED = 5


class Phase(Enum):
    """Which part of a session an episode belongs to; values as in deft_msgs/EpisodeRecord."""

    WARM_UP = 0
    FINE_TUNE = 1
    EVALUATE_POLICY = 2
    EVALUATE_PRIOR = 3


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One small picture taken during an episode.

    Attributes:
        stamp: ROS clock. [s].
        jpeg: Encoded image.
    """

    stamp: float
    jpeg: bytes


@dataclass(frozen=True, eq=False)
class Episode:
    """One execution of prior + residual and what came of it (paper, Algorithm 1).

    Attributes:
        episode_id: Unique name within all sessions.
        index: Position in the session, from 0.
        phase: Part of the session.
        task: Name of the task.
        object_name: What lay on the table, as the operator named it.
        scene_seed: Seed of the scene reset; -1 where a person laid it out.
        prior: Grasp prior xi of the first image.
        residual: Residual epsilon or delta that was added.
        executed: Parameters that the arm and the hand were sent.
        outcome: How the motion ended.
        reward: Score in [0, 1]; None when nobody gave one.
        reward_source: Who scored.
        success: Task criterion met (paper, Appendix F); None when not judged.
        first_image: Before the grasp, RGB. Shape (height, width, 3).
        last_image: After the trajectory, RGB. Shape (height, width, 3).
        rollout_video: Pictures during the motion, in order.
        sample_seed: Seed of the session's generator.
        calibration_id: Camera calibration in use.
        distribution_mean: Mean of D when the residual was drawn. Shape (22,). [m, rad].
        distribution_std: Standard deviation of D then. Shape (22,). [m, rad].
        started: Beginning of the episode, ROS clock. [s].
        ended: End of the episode, ROS clock. [s].
    """

    episode_id: str
    index: int
    phase: Phase
    task: str
    object_name: str
    scene_seed: int
    prior: GraspPrior
    residual: GraspResidual
    executed: GraspParameters
    outcome: Outcome
    reward: float | None
    reward_source: str
    success: bool | None
    first_image: ColorImage
    last_image: ColorImage
    rollout_video: tuple[VideoFrame, ...]
    sample_seed: int
    calibration_id: str
    distribution_mean: FloatArray
    distribution_std: FloatArray
    started: float
    ended: float
