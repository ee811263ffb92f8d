# SPDX-License-Identifier: Apache-2.0
"""A fine-tuning session in the cell without ROS: practice, a policy from it, and trials."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from deft_bag.dataset import Dataset
from deft_cem.optimisers.ask_tell import ResidualOptimiser
from deft_cem.policies.training import train_policy
from deft_cem.settings import LearningSettings
from deft_core.episode import Episode, Phase
from deft_core.grasp import GRASP_DIMENSION, GraspParameters, GraspPrior, GraspResidual
from deft_sim.benchmark.episodes import SEEDS, TRAIN, Decide, TaskEpisodes

FloatArray = npt.NDArray[np.float64]

_EXPLORED: Final = 3.0  # times the first spread: how far the random floor reaches


class Practice(TaskEpisodes):
    """Episodes of one task as a session records them."""

    def record(self, scene_seed: int, object_set: str, decide: Decide, index: int = 0) -> Episode:
        """Lay out a scene, propose, add the residual, execute, score as the operator would."""
        attempt, residual = self.episode(scene_seed, object_set, decide)
        scene = attempt.scene
        prior = scene.prior or self._nothing_seen()
        return Episode(
            episode_id=f'{self.task.name}/{scene_seed}/{index}',
            index=index,
            phase=Phase.FINE_TUNE,
            task=self.task.name,
            object_name=scene.object_name,
            scene_seed=scene_seed,
            prior=prior,
            residual=residual,
            executed=prior.grasp + residual,
            outcome=attempt.outcome,
            reward=attempt.score,
            reward_source='scripted_operator',
            success=attempt.success,
            first_image=scene.frame.color,
            last_image=scene.frame.color,
            rollout_video=(),
            sample_seed=0,
            calibration_id='',
            distribution_mean=np.zeros(GRASP_DIMENSION),
            distribution_std=np.zeros(GRASP_DIMENSION),
            started=0.0,
            ended=0.0,
        )

    def expert_succeeds(self, scene_seed: int, object_set: str) -> bool:
        """Whether the expert's own grasp succeeds in the same scene."""
        scene = self.lay_out(scene_seed, object_set)
        return self.attempt(scene, self.environment.cell.expert_grasp()).success

    def _nothing_seen(self) -> GraspPrior:
        return GraspPrior(
            grasp=GraspParameters(np.zeros(3), np.zeros(3), np.zeros(16)),
            contact_point=np.zeros(3),
            contact_uncertainty=0.0,
            source='none',
            task=self.task.name,
            instruction=self.task.instruction,
            calibration_id='',
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
            scene_seed = int(scenes.integers(SEEDS))
            episode = practice.record(scene_seed, TRAIN, decide, index)
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
