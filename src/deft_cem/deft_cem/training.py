# SPDX-License-Identifier: Apache-2.0
"""Trains the residual policy from the bag of a session, and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from deft_cem.bag_parts import BAG_FOLDER
from deft_cem.condition import BlockProjection, ConditionProjection, prior_features
from deft_cem.image_encoder import make_encoder
from deft_cem.policy import ResidualVaePolicy
from deft_cem.practice_set import PRACTICE, PracticeSet
from deft_cem.residual_vae import VaeFit, fit_residual_vae
from deft_cem.settings import LearningSettings
from deft_core.episode import Episode
from deft_core.errors import TrainingError

MINIMUM_ELITES: Final = 3


@dataclass(frozen=True, eq=False)
class TrainingReport:
    """What a training run made.

    Attributes:
        policy: The trained policy.
        elite_ids: Episodes it was trained on, best first.
        practice_count: Rated practice episodes in the bag.
        truncated: The bag ends early; the episodes before were used.
        fit: Errors on left-out elites.
    """

    policy: ResidualVaePolicy
    elite_ids: tuple[str, ...]
    practice_count: int
    truncated: bool
    fit: VaeFit

    @property
    def skill(self) -> float:
        """1 - error / error of the constant elite mean, on left-out elites, z = 0."""
        return 1.0 - self.fit.left_out_error / max(self.fit.constant_error, 1e-12)


def rank_elites(episodes: Sequence[Episode], count: int) -> list[Episode]:
    """Best `count` rated practice episodes, ties in order of trial, as the optimiser ranks.

    Args:
        episodes: Episodes of one session.
        count: E.
    """
    rated = [(e.reward, e) for e in episodes if e.phase in PRACTICE and e.reward is not None]
    return [episode for _, episode in sorted(rated, key=lambda pair: -pair[0])[:count]]


def train_policy(run_directory: Path, settings: LearningSettings, *, seed: int) -> TrainingReport:
    """Train on the elites of a recorded session and save the policy beside the bag.

    Args:
        run_directory: Folder of the run; reads bag/, writes policy.safetensors and policy.json.
        settings: Number of elites, encoder, network.
        seed: Of initial weights and noise; equal seeds give equal files.

    Returns:
        The policy and its errors.

    Raises:
        RecordingError: There is no bag or it cannot be read.
        TrainingError: Too few rated episodes, episodes that do not belong together, or a
            folder that cannot be written.
    """
    practice = PracticeSet()
    truncated = practice.add_run(run_directory / BAG_FOLDER)
    return train_on_practice(practice, run_directory, settings, seed=seed, truncated=truncated)


def train_on_practice(
    collected: PracticeSet,
    directory: Path,
    settings: LearningSettings,
    *,
    seed: int,
    truncated: bool = False,
) -> TrainingReport:
    """Train on the elites of collected episodes, wherever they came from, and save the policy.

    Args:
        collected: Practice of one or more sessions, from bags or from a replay.
        directory: Where policy.safetensors and policy.json go.
        settings: Number of elites, encoder, network.
        seed: Of initial weights and noise; equal seeds and episodes give equal files.
        truncated: A bag ended early; only for the report.

    Raises:
        TrainingError: Too few rated episodes, or a folder that cannot be written.
    """
    # One thread: the tensors are tiny, and the graph needs the other cores.
    torch.set_num_threads(1)
    practice = collected.episodes
    elites = rank_elites(practice, settings.elites)
    if len(elites) < MINIMUM_ELITES:
        raise TrainingError(
            f'{collected.source} holds {len(practice)} rated practice episodes, '
            f'a policy needs at least {MINIMUM_ELITES}; practise first'
        )
    policy_settings = settings.policy
    encoder = make_encoder(policy_settings.encoder)
    # The spread of the first draw is sigma of Algorithm 1, whatever the settings say now.
    sigma = np.array(min(practice, key=lambda e: e.index).distribution_std)
    if not np.all(sigma > 0.0):
        raise TrainingError('the first episode in the bag has a spread of zero in a parameter')
    images = {e.episode_id: encoder.encode(e.first_image) for e in practice}
    priors = {e.episode_id: prior_features(e.prior.grasp, sigma) for e in practice}
    projection = ConditionProjection(
        BlockProjection.fit(np.stack(list(images.values())), policy_settings.image_components),
        BlockProjection.fit(np.stack(list(priors.values())), policy_settings.prior_components),
    )
    conditions = np.stack([projection(images[e.episode_id], priors[e.episode_id]) for e in elites])
    delta = np.stack([e.residual.to_vector() / sigma for e in elites])
    fit = fit_residual_vae(delta, conditions, policy_settings.vae, np.random.default_rng(seed))
    policy = ResidualVaePolicy(
        encoder, projection, sigma, policy_settings.vae, fit.weights, policy_settings.latent
    )
    report = TrainingReport(
        policy, tuple(e.episode_id for e in elites), len(practice), truncated, fit
    )
    policy.save(directory, _details(report, practice, elites, settings, seed))
    return report


def _details(
    report: TrainingReport,
    practice: Sequence[Episode],
    elites: Sequence[Episode],
    settings: LearningSettings,
    seed: int,
) -> dict[str, Any]:
    """Provenance and quality, as JSON values, for policy.json."""
    rewards = [e.reward for e in elites if e.reward is not None]
    return {
        'task': practice[0].task,
        'calibration_id': practice[0].calibration_id,
        'seed': seed,
        'practice_episodes': report.practice_count,
        'elite_episodes': list(report.elite_ids),
        'elite_rewards': rewards,
        'elite_mean': np.mean([e.residual.to_vector() for e in elites], axis=0).tolist(),
        'left_out_error': {
            'unit': 'mean squared residual error in initial variances',
            'policy_latent_zero': report.fit.left_out_error,
            'policy_latent_sampled': report.fit.sampled_error,
            'constant_elite_mean': report.fit.constant_error,
            'skill': report.skill,
        },
        'settings': asdict(settings.policy),
    }
