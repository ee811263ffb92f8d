# SPDX-License-Identifier: Apache-2.0
"""Trains the residual policy from the bag of a session, and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deft_cem.bag_parts import BAG_FOLDER
from deft_cem.encoders.registry import ImageEncoder, make_encoder
from deft_cem.policies.condition import BlockProjection, ConditionProjection, prior_features
from deft_cem.policies.interface import MINIMUM_ELITES, FloatArray, PracticeData
from deft_cem.policies.policy import ResidualPolicy
from deft_cem.policies.selection import Choice, choose_policy
from deft_cem.policies.settings import PolicySettings
from deft_cem.practice_set import PRACTICE, PracticeSet
from deft_cem.settings import LearningSettings
from deft_core.episode import Episode
from deft_core.errors import TrainingError
from deft_core.grasp import WRIST


@dataclass(frozen=True, eq=False)
class TrainingReport:
    """What a training run made.

    Attributes:
        policy: The policy that is deployed.
        elite_ids: Episodes it was trained on, best first.
        practice_count: Rated practice episodes in the bag.
        truncated: The bag ends early; the episodes before were used.
        choice: Why it is that one, and what else was tried.
    """

    policy: ResidualPolicy
    elite_ids: tuple[str, ...]
    practice_count: int
    truncated: bool
    choice: Choice


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
        settings: Number of elites, encoder, policy.
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
        settings: Number of elites, encoder, policy.
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
    data, encoder, projection, sigma = practice_data(practice, elites, settings.policy)
    choice = choose_policy(data, settings.policy, seed)
    policy = ResidualPolicy(encoder, projection, sigma, choice.method, choice.fit.model)
    report = TrainingReport(
        policy, tuple(e.episode_id for e in elites), len(practice), truncated, choice
    )
    policy.save(directory, _details(report, practice, elites, settings, seed))
    return report


def practice_data(
    practice: Sequence[Episode], elites: Sequence[Episode], settings: PolicySettings
) -> tuple[PracticeData, ImageEncoder, ConditionProjection, FloatArray]:
    """Tables that a policy is fitted to, and how scenes are brought into their form.

    Args:
        practice: Rated practice episodes, at least two.
        elites: The best of them, best first.
        settings: Encoder and size of the condition.

    Returns:
        The tables, phi, the projection to c, and the first spread of shape (22,).

    Raises:
        TrainingError: The first spread is zero in a parameter.
        ConfigurationError: The weights of the encoder are missing or wrong.
    """
    encoder = make_encoder(settings.encoder)
    # The spread of the first draw is sigma of Algorithm 1, whatever the settings say now.
    sigma = np.array(min(practice, key=lambda e: e.index).distribution_std)
    if not np.all(sigma > 0.0):
        raise TrainingError('the first episode in the bag has a spread of zero in a parameter')
    images = np.stack([encoder.encode(e.first_image) for e in practice])
    priors = np.stack([prior_features(e.prior.grasp, sigma) for e in practice])
    projection = ConditionProjection(
        BlockProjection.fit(images, settings.image_components),
        BlockProjection.fit(priors, settings.prior_components),
    )
    row_of = {episode.episode_id: row for row, episode in enumerate(practice)}
    data = PracticeData(
        condition=projection(images, priors),
        prior=np.stack([e.prior.grasp.to_vector() for e in practice]) / sigma,
        residual=np.stack([e.residual.to_vector() for e in practice]) / sigma,
        reward=np.array([e.reward for e in practice], dtype=np.float64),
        elites=np.array([row_of[e.episode_id] for e in elites], dtype=np.intp),
        euler_period=2.0 * np.pi / sigma[WRIST],
    )
    return data, encoder, projection, sigma


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
        'method': settings.policy.method,
        'gate': settings.policy.gate,
        'reason': report.choice.reason,
        'left_out_error': {
            'unit': 'mean squared residual error in first variances',
            'deployed': report.choice.fit.error,
            'constant_elite_mean': report.choice.constant.error,
            'skill': report.choice.skill,
        },
        'candidates': report.choice.candidates(),
        'settings': asdict(settings.policy),
    }
