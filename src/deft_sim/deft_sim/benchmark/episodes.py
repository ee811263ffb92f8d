# SPDX-License-Identifier: Apache-2.0
"""Episodes of one task as every method meets them: a scene, the prior for it, one grasp."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from deft_affordance.predictors import predictor
from deft_core.camera import ColorImage, RgbdFrame
from deft_core.configuration import config_directory
from deft_core.episode import Outcome
from deft_core.errors import InvalidInputError, NoObjectError
from deft_core.grasp import GraspParameters, GraspPrior, GraspResidual
from deft_perception.segmentation.plane_segmentation import PlaneSegmentation
from deft_perception.segmentation.settings import SegmentationSettings
from deft_sim.environment import TableTopEnvironment

TRAIN: Final = 'train'
HELD_OUT: Final = 'test'
SEEDS: Final = 2**31  # scene seeds are drawn below it

Decide = Callable[[ColorImage, GraspParameters], GraspResidual]
"""Residual for the first picture and the prior, base frame."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What lies on the table, and what is known of it before anything moves."""

    seed: int
    object_name: str
    frame: RgbdFrame  # first picture
    prior: GraspPrior | None  # base frame; None where nothing was found to grasp


@dataclass(frozen=True, eq=False)
class Attempt:
    """One grasp in a scene and what came of it."""

    scene: Scene
    outcome: Outcome
    score: float | None  # 0 to 1 as the operator says; None where the grasp was not tried
    success: bool  # the paper's criterion (Appendix F), after the hold
    success_once: bool  # the same at some instant before
    explanation: str  # one sentence


class TaskEpisodes:
    """Scenes and grasps of one task; equal calls give equal results, bit for bit.

    Args:
        task: File in `config/tasks` that has a simulation.
        prior: Name of the grasp predictor.

    Raises:
        ConfigurationError: There is no such task, simulation or predictor.
    """

    def __init__(self, task: str, prior: str = 'geometric') -> None:
        """Build the cell; the first picture opens the renderer."""
        self._predict = predictor(prior)
        self.environment = TableTopEnvironment.open(task)
        self.task = self.environment.task
        self._trajectory = self.task.load_trajectory(config_directory())
        self._segmentation = PlaneSegmentation(SegmentationSettings())

    def lay_out(self, seed: int, object_set: str, object_name: str | None = None) -> Scene:
        """Bring the robot home, lay out a scene, and propose a grasp for what is seen.

        Args:
            seed: Of everything that is random in the scene, and of the object.
            object_set: `TRAIN` or `HELD_OUT`.
            object_name: One of the task's instead of a drawn one.

        Raises:
            InvalidInputError: Unknown set or object, or a negative seed.
            DeviceError: No offscreen OpenGL on this machine.
        """
        sets = self.task.object_sets
        if object_set not in sets or not isinstance(seed, int | np.integer) or seed < 0:
            raise InvalidInputError(
                f'A scene needs one of the object sets {", ".join(sets)} and a whole number of 0 '
                f'or more as its seed, got {object_set!r} and {seed!r}.'
            )
        rng = np.random.default_rng(seed)
        drawn = sets[object_set][int(rng.integers(len(sets[object_set])))]
        name = drawn if object_name is None else object_name
        frame = self.environment.reset(seed, name)
        try:
            observation = self._segmentation.segment(
                frame,
                self.environment.settings.calibration.T_base_camera,
                rng,
                rule=self.task.object,
            )
            prior = self._predict(observation, self.task, rng)
        except (NoObjectError, InvalidInputError):
            prior = None
        return Scene(seed, name, frame, prior)

    def attempt(self, scene: Scene, grasp: GraspParameters | None) -> Attempt:
        """Execute a grasp in the scene that was laid out last; None: nothing to grasp was found.

        Where physics broke down, the attempt says nothing about the grasp and has no score.
        """
        if grasp is None:
            said = 'nothing was found to grasp'
            return Attempt(scene, Outcome.NO_OBJECT, None, False, False, said)
        outcome = self.environment.execute(grasp, self._trajectory)
        verdict = self.environment.score()
        return Attempt(
            scene=scene,
            outcome=outcome,
            score=None if outcome is Outcome.FAILED else verdict.score,
            success=verdict.success,
            success_once=verdict.success or self.environment.success_once,
            explanation=verdict.explanation,
        )

    def episode(self, seed: int, object_set: str, decide: Decide) -> tuple[Attempt, GraspResidual]:
        """Lay out, propose, add the residual that is decided, execute; the residual is told."""
        scene = self.lay_out(seed, object_set)
        if scene.prior is None:
            return self.attempt(scene, None), GraspResidual.zero()
        residual = decide(scene.frame.color, scene.prior.grasp)
        return self.attempt(scene, scene.prior.grasp + residual), residual

    def close(self) -> None:
        """Free the renderer."""
        self.environment.close()


@dataclass(frozen=True)
class Trials:
    """Attempts in scenes that nothing was learned from; what was not seen counts as failed."""

    successes: int
    trials: int
    reward: float  # mean score; 0 for what was not tried
    outcomes: list[str]


def run_trials(
    episodes: TaskEpisodes, seeds: Iterable[int], object_set: str, decide: Decide
) -> Trials:
    """One episode in each scene."""
    done = [episodes.episode(seed, object_set, decide)[0] for seed in seeds]
    return Trials(
        successes=sum(attempt.success for attempt in done),
        trials=len(done),
        reward=float(np.mean([attempt.score or 0.0 for attempt in done])),
        outcomes=[attempt.outcome.name.lower() for attempt in done],
    )


def trial_scenes(seed: int, trials: int) -> tuple[list[int], np.random.Generator]:
    """Scene seeds of the trials after a practice, and the generator of those it practises in.

    Whoever practises with the same seed is tried in the same scenes: results are paired.
    """
    scenes = np.random.default_rng([seed, 0])
    return [int(scenes.integers(SEEDS)) for _ in range(trials)], scenes
