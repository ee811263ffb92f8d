# SPDX-License-Identifier: Apache-2.0
"""The same methods on the simulated cup: 30 episodes with the geometric prior, then ten trials."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from learning_curve import Practice, fingerprint

from deft_affordance.predictors import predictor
from deft_cem.optimisers.registry import OptimiserSettings
from deft_cem.settings import LearningSettings, load_learning_settings
from deft_core.grasp import GRASP_DIMENSION
from optimisation.study import KEPT

PREDICTOR: Final = 'geometric'
TRIALS: Final = 10
PRIOR: Final = 'prior'  # the zero residual on the same trials


def settings_of(optimiser: OptimiserSettings) -> LearningSettings:
    """Practice as it ships, with this optimiser."""
    return dataclasses.replace(load_learning_settings(), optimiser=optimiser)


def run_seed(
    practice: Practice, settings: LearningSettings, seed: int, *, search: bool
) -> dict[str, Any]:
    """Practise and try the recommendation; scenes depend on the seed only.

    Args:
        practice: Runs the episodes.
        settings: Of the optimiser.
        seed: Of the optimiser and of all scenes.
        search: Whether to practise; without, the zero residual is tried.

    Returns:
        Rewards of practice, and rewards and successes of the trials.
    """
    scenes = np.random.default_rng([seed, 4])
    practised = [int(scenes.integers(2**31)) for _ in range(settings.episodes)]
    fresh = [int(scenes.integers(2**31)) for _ in range(TRIALS)]
    rewards = []
    recommended = np.zeros(GRASP_DIMENSION)
    if search:
        optimiser = settings.make_optimiser(seed)
        for scene in practised:
            sample = optimiser.ask()
            result = practice.episode(scene, 'train', sample.residual)
            if result['outcome'] == 'failed':  # the simulation did, not the grasp
                optimiser.discard(sample.index)
                continue
            optimiser.tell(sample.index, result['reward'])
            rewards.append(result['reward'])
        recommended = optimiser.recommendation
    trials = [practice.episode(scene, 'train', recommended) for scene in fresh]
    return {
        'practice': rewards,
        'rewards': [trial['reward'] for trial in trials],
        'successes': [trial['success'] for trial in trials],
    }


def collect(
    methods: dict[str, OptimiserSettings], seeds: int, deadline: float
) -> dict[str, list[dict[str, Any]]]:
    """Run what is not kept yet, seed by seed over all methods, until the deadline.

    Args:
        methods: Name to settings.
        seeds: How many, from 0.
        deadline: On the monotonic clock; no session is begun after it. [s].

    Returns:
        Results per method and for the prior, for the seeds that all of them have.
    """
    practice: Practice | None = None
    jobs = {PRIOR: OptimiserSettings('cem'), **methods}
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in jobs}
    for seed in range(seeds):
        row = {}
        for name, optimiser in jobs.items():
            settings = settings_of(optimiser)
            path = _folder(name, settings) / f'seed_{seed:03d}.json'
            if not path.exists():
                if time.monotonic() > deadline:
                    break
                practice = practice or Practice(predictor(PREDICTOR))
                _keep(path, run_seed(practice, settings, seed, search=name != PRIOR))
                print(f'cup, seed {seed}: {name} is done', flush=True)
            row[name] = json.loads(path.read_text(encoding='utf-8'))
        if len(row) < len(jobs):
            break
        for name, result in row.items():
            results[name].append(result)
    if practice is not None:
        practice.environment.close()
    return results


def _folder(name: str, settings: LearningSettings) -> Path:
    """Kept results of one method in one configuration of cell and practice."""
    cell = fingerprint(dataclasses.replace(settings, evaluation_trials=0), PREDICTOR)
    digest = hashlib.sha256(f'{cell} {TRIALS}'.encode()).hexdigest()[:16]
    return KEPT / 'cup' / f'{name}_{digest}'


def _keep(path: Path, result: dict[str, Any]) -> None:
    """Write whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix('.part')
    unfinished.write_text(json.dumps(result), encoding='utf-8')
    unfinished.replace(path)
