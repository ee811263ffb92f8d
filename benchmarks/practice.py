# SPDX-License-Identifier: Apache-2.0
"""A fine-tuning session in the cell without ROS: practice, a policy from it, and trials."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from deft_affordance.predictors import predictor
from deft_bag.dataset import Dataset
from deft_cem.optimisers.ask_tell import ResidualOptimiser
from deft_cem.policies.training import train_policy
from deft_cem.settings import LearningSettings
from deft_core.camera import ColorImage
from deft_core.configuration import config_directory
from deft_core.episode import Episode, Outcome, Phase
from deft_core.errors import InvalidInputError, NoObjectError
from deft_core.grasp import GRASP_DIMENSION, GraspParameters, GraspPrior, GraspResidual
from deft_perception.segmentation.plane_segmentation import PlaneSegmentation
from deft_perception.segmentation.settings import SegmentationSettings
from deft_sim.environment import TableTopEnvironment

FloatArray = npt.NDArray[np.float64]
Decide = Callable[[ColorImage, GraspParameters], GraspResidual]
"""Residual for the first picture and the prior, base frame."""

TRAIN, HELD_OUT = 'train', 'test'
_EXPLORED: Final = 3.0  # times the first spread: how far the random floor reaches


class Practice:
    """Episodes of one task as a session runs them; equal arguments give equal episodes.

    Args:
        task: File in `config/tasks`.
        prior: Name of the grasp predictor.
    """

    def __init__(self, task: str, prior: str) -> None:
        """Build the cell."""
        self.environment = TableTopEnvironment.open(task)
        self.task = self.environment.task
        self._predict = predictor(prior)
        self._trajectory = self.task.load_trajectory(config_directory())
        self._segmentation = PlaneSegmentation(SegmentationSettings())

    def episode(self, scene_seed: int, object_set: str, decide: Decide, index: int = 0) -> Episode:
        """Lay out a scene, propose, add the residual, execute, score as the operator would."""
        environment = self.environment
        rng = np.random.default_rng(scene_seed)
        names = self.task.object_sets[object_set]
        name = names[int(rng.integers(len(names)))]
        frame = environment.reset(scene_seed, name)
        try:
            prior = self._prior(frame, rng)
        except (NoObjectError, InvalidInputError):
            return self._unseen(scene_seed, name, frame.color, index)
        residual = decide(frame.color, prior.grasp)
        executed = prior.grasp + residual
        outcome = environment.execute(executed, self._trajectory)
        verdict = environment.score()
        withdrawn = outcome is Outcome.FAILED  # physics broke down: it says nothing
        return self._record(
            scene_seed, name, frame.color, index, prior, residual, outcome,
            None if withdrawn else verdict.score, success=verdict.success,
        )  # fmt: skip

    def expert_episode(self, scene_seed: int, object_set: str) -> bool:
        """Whether the expert's own grasp succeeds in the same scene."""
        rng = np.random.default_rng(scene_seed)
        names = self.task.object_sets[object_set]
        self.environment.reset(scene_seed, names[int(rng.integers(len(names)))])
        self.environment.execute(self.environment.cell.expert_grasp(), self._trajectory)
        return self.environment.score().success

    def close(self) -> None:
        """Free the renderer."""
        self.environment.close()

    def _prior(self, frame: Any, rng: np.random.Generator) -> GraspPrior:
        T_base_camera = self.environment.settings.calibration.T_base_camera
        observation = self._segmentation.segment(frame, T_base_camera, rng, rule=self.task.object)
        return self._predict(observation, self.task, rng)

    def _unseen(self, seed: int, name: str, image: ColorImage, index: int) -> Episode:
        """Nothing was found: nothing moves, and nothing is earned."""
        nowhere = GraspParameters(np.zeros(3), np.zeros(3), np.zeros(16))
        prior = GraspPrior(
            grasp=nowhere,
            contact_point=np.zeros(3),
            contact_uncertainty=0.0,
            source='none',
            task=self.task.name,
            instruction=self.task.instruction,
            calibration_id='',
        )
        residual = GraspResidual.zero()
        return self._record(
            seed, name, image, index, prior, residual, Outcome.NO_OBJECT, None, success=False
        )

    def _record(
        self,
        seed: int,
        name: str,
        first: ColorImage,
        index: int,
        prior: GraspPrior,
        residual: GraspResidual,
        outcome: Outcome,
        reward: float | None,
        *,
        success: bool,
    ) -> Episode:
        return Episode(
            episode_id=f'{self.task.name}/{seed}/{index}',
            index=index,
            phase=Phase.FINE_TUNE,
            task=self.task.name,
            object_name=name,
            scene_seed=seed,
            prior=prior,
            residual=residual,
            executed=prior.grasp + residual,
            outcome=outcome,
            reward=reward,
            reward_source='scripted_operator',
            success=success,
            first_image=first,
            last_image=first,
            rollout_video=(),
            sample_seed=0,
            calibration_id='',
            distribution_mean=np.zeros(GRASP_DIMENSION),
            distribution_std=np.zeros(GRASP_DIMENSION),
            started=0.0,
            ended=0.0,
        )


def practise(
    practice: Practice, settings: LearningSettings, seed: int, scenes: np.random.Generator
) -> tuple[list[Episode], ResidualOptimiser]:
    """Algorithm 1 on training objects; a scene that gave no score is laid out anew."""
    optimiser = settings.make_optimiser(seed)
    sigma = settings.initial_std
    episodes: list[Episode] = []
    for index in range(settings.episodes):
        sample = optimiser.ask()
        decide = constant(sample.residual)
        while True:
            scene_seed = int(scenes.integers(2**31))
            episode = practice.episode(scene_seed, TRAIN, decide, index)
            if episode.reward is not None:
                break
        optimiser.tell(sample.index, episode.reward)
        episodes.append(dataclasses.replace(episode, distribution_std=sigma))
    return episodes, optimiser


def trained(
    episodes: Sequence[Episode], settings: LearningSettings, method: str, seed: int
) -> tuple[Decide, str]:
    """What a policy of a method decides after this practice, and what was deployed.

    Returns:
        The policy, and the kind of it: with 'auto' that of the choice, else the method.

    Raises:
        TrainingError: It cannot be trained.
    """
    dataset = Dataset()
    dataset.add(episodes, 'practice')
    policy_settings = dataclasses.replace(settings.policy, method=method, gate=method == 'auto')
    with tempfile.TemporaryDirectory() as folder:
        report = train_policy(
            dataset, Path(folder), dataclasses.replace(settings, policy=policy_settings), seed=seed
        )
    rng = np.random.default_rng([seed, 5])
    return lambda image, prior: report.policy.predict(image, prior, rng), report.choice.kind


def constant(residual: npt.ArrayLike) -> Decide:
    """The same residual for whatever is seen."""
    decided = GraspResidual.from_vector(residual)
    return lambda *_: decided


def at_random(sigma: FloatArray, rng: np.random.Generator) -> Decide:
    """A residual from a box about the prior; the floor below everything that learns."""
    reach = _EXPLORED * sigma
    return lambda *_: GraspResidual.from_vector(rng.uniform(-reach, reach))


def trials(
    practice: Practice, fresh: Sequence[int], object_set: str, decide: Decide
) -> dict[str, Any]:
    """Successes and rewards over scenes that nothing was learned from."""
    done = [practice.episode(seed, object_set, decide) for seed in fresh]
    return {
        'successes': sum(bool(episode.success) for episode in done),
        'trials': len(done),
        'reward': float(np.mean([episode.reward or 0.0 for episode in done])),
        'outcomes': [episode.outcome.name.lower() for episode in done],
    }
