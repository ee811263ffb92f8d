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
    """One small picture taken during an episode."""

    stamp: float  # ROS clock [s]
    jpeg: bytes  # encoded image


@dataclass(frozen=True, eq=False)
class Episode:
    """One execution of prior + residual and what came of it (paper, Algorithm 1)."""

    episode_id: str  # unique name within all sessions
    index: int  # position in the session, from 0
    phase: Phase  # part of the session
    task: str  # name of the task
    object_name: str  # what lay on the table, as the operator named it
    scene_seed: int  # seed of the scene reset; -1 where a person laid it out
    prior: GraspPrior  # grasp prior xi of the first image
    residual: GraspResidual  # residual epsilon or delta that was added
    executed: GraspParameters  # parameters that the arm and the hand were sent
    outcome: Outcome  # how the motion ended
    reward: float | None  # score in [0, 1]; None when nobody gave one
    reward_source: str  # who scored
    success: bool | None  # task criterion met (paper, Appendix F); None when not judged
    first_image: ColorImage  # before the grasp, RGB, shape (height, width, 3)
    last_image: ColorImage  # after the trajectory, RGB, shape (height, width, 3)
    rollout_video: tuple[VideoFrame, ...]  # pictures during the motion, in order
    sample_seed: int  # seed of the session's generator
    calibration_id: str  # camera calibration in use
    distribution_mean: FloatArray  # mean of D when the residual was drawn, shape (22,) [m, rad]
    distribution_std: FloatArray  # standard deviation of D then, shape (22,) [m, rad]
    started: float  # beginning of the episode, ROS clock [s]
    ended: float  # end of the episode, ROS clock [s]
