# SPDX-License-Identifier: Apache-2.0
"""Trains the residual policy from recorded practice, and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deft_bag.dataset import Dataset
from deft_cem.encoders.color_image import ImageEncoder
from deft_cem.encoders.registry import make_encoder
from deft_cem.optimisers.ask_tell import rank
from deft_cem.policies.choice import Choice, choose_policy
from deft_cem.policies.condition import BlockProjection, ConditionProjection, prior_features
from deft_cem.policies.constants import EliteMean, Recommendation
from deft_cem.policies.interface import MINIMUM_ELITES, PracticeData
from deft_cem.policies.policy import ResidualPolicy
from deft_cem.settings import LearningSettings
from deft_core.episode import Episode
from deft_core.errors import TrainingError
from deft_core.grasp import WRIST
from deft_core.validation import FloatArray


@dataclass(frozen=True, eq=False)
class TrainingReport:
    """The deployed policy, its elites (best first) among all practice, and why it is that one."""

    policy: ResidualPolicy
    elite_ids: tuple[str, ...]
    practice_count: int
    choice: Choice


def train_policy(
    dataset: Dataset, directory: Path, settings: LearningSettings, *, seed: int
) -> TrainingReport:
    """Train on the elites of some practice and save the policy into a folder.

    Equal seeds, settings and episodes give equal files.

    Raises:
        TrainingError: Too few rewarded episodes, or a folder that cannot be written.
    """
    # One thread: the tensors are tiny, and the graph needs the other cores.
    torch.set_num_threads(1)
    practice = dataset.episodes
    if min(len(practice), settings.elites) < MINIMUM_ELITES:
        raise TrainingError(
            f'{dataset.source} holds {len(practice)} rewarded practice episodes, '
            f'a policy needs at least {MINIMUM_ELITES} elites; practise first'
        )
    data, encoder, projection, sigma = practice_data(practice, settings)
    choice = choose_policy(data, settings.policy, seed)
    fit = choice.fits[choice.kind]
    method = choice.methods[choice.kind]
    policy = ResidualPolicy(encoder, projection, sigma, method, fit.tensors)
    elites = [practice[row] for row in data.elites]
    report = TrainingReport(policy, tuple(e.episode_id for e in elites), len(practice), choice)
    policy.save(directory, _details(report, elites, settings, seed))
    return report


def practice_data(
    practice: Sequence[Episode], settings: LearningSettings
) -> tuple[PracticeData, ImageEncoder, ConditionProjection, FloatArray]:
    """Tables of rewarded practice in order of trial, phi, the projection to c, and sigma (22,).

    Raises:
        TrainingError: The first spread is zero in a parameter.
        ConfigurationError: The weights of the encoder are missing or wrong.
    """
    encoder = make_encoder(settings.policy.encoder)
    # The spread of the first draw is sigma of Algorithm 1, whatever the settings say now.
    sigma = np.array(min(practice, key=lambda e: e.index).distribution_std)
    if not np.all(sigma > 0.0):
        raise TrainingError('the first episode in the bag has a spread of zero in a parameter')
    images = np.stack([encoder.encode(e.first_image) for e in practice])
    priors = np.stack([prior_features(e.prior.grasp, sigma) for e in practice])
    projection = ConditionProjection(
        BlockProjection.fit(images, settings.policy.image_components),
        BlockProjection.fit(priors, settings.policy.prior_components),
    )
    reward = np.array([e.reward for e in practice], dtype=np.float64)
    optimiser = settings.optimiser.make(
        sigma, 0, elites=settings.elites, warm_up=settings.warm_up_episodes
    )

    def recommend(residual: FloatArray, reward: FloatArray) -> FloatArray:
        return optimiser.fit(residual * sigma, reward).recommendation / sigma

    data = PracticeData(
        condition=projection(images, priors),
        prior=np.stack([e.prior.grasp.to_vector() for e in practice]) / sigma,
        residual=np.stack([e.residual.to_vector() for e in practice]) / sigma,
        reward=reward,
        elites=np.array(rank(reward)[: settings.elites], dtype=np.intp),
        euler_period=2.0 * np.pi / sigma[WRIST],
        recommend=recommend,
    )
    return data, encoder, projection, sigma


def _details(
    report: TrainingReport, elites: Sequence[Episode], settings: LearningSettings, seed: int
) -> dict[str, Any]:
    """Provenance and quality, as JSON values, for policy.json."""
    choice = report.choice
    return {
        'task': elites[0].task,
        'calibration_id': elites[0].calibration_id,
        'seed': seed,
        'practice_episodes': report.practice_count,
        'elite_episodes': list(report.elite_ids),
        'elite_rewards': [e.reward for e in elites],
        'elite_mean': np.mean([e.residual.to_vector() for e in elites], axis=0).tolist(),
        'method': settings.policy.method,
        'gate': settings.policy.gate,
        'reason': choice.reason,
        'left_out_error': {
            'unit': 'mean squared residual error in first variances',
            'deployed': choice.fits[choice.kind].error,
            'recommendation': choice.fits[Recommendation.kind].error,
            'elite_mean': choice.fits[EliteMean.kind].error,
            'r2': choice.r2(choice.kind),
        },
        'candidates': choice.candidates(),
        'settings': asdict(settings.policy),
    }
