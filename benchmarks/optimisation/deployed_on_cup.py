# SPDX-License-Identifier: Apache-2.0
"""What a session deploys, on the simulated cup: practice, training and trials as they ship.

30 episodes with the default optimiser and the geometric prior, the policy that `choose_policy`
takes, then ten fresh scenes with training cups and ten with held-out ones, the same for the policy
that is deployed, for both constants and for the prior alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from learning_curve import Practice, fingerprint

from deft_affordance.predictors import GraspPredictor, predictor
from deft_cem.policies.choice import CONSTANTS, choose_policy
from deft_cem.policies.policy import ResidualPolicy
from deft_cem.policies.training import practice_data
from deft_cem.settings import LearningSettings
from deft_core.episode import Episode
from deft_core.grasp import GRASP_DIMENSION, GraspParameters, GraspPrior, GraspResidual
from deft_core.observation import ObjectObservation
from deft_core.task import Task
from deft_sim.cell import SimulatedCell

PREDICTOR: Final = 'geometric'
PRIOR: Final = 'prior'  # the zero residual
DEPLOYED: Final = 'deployed'
SETS: Final = ('train', 'test')
ZERO: Final = np.zeros(GRASP_DIMENSION)

# From first image and prior to the residual.
Chooser = Callable[[npt.NDArray[np.uint8], GraspParameters], GraspResidual]


class SeeingPredictor:
    """Remembers image and prior of the scene, and adds to the prior what a policy chooses."""

    cell: SimulatedCell
    image: npt.NDArray[np.uint8]
    prior: GraspPrior

    def __init__(self, propose: GraspPredictor) -> None:
        """Until there is a policy, the prior alone."""
        self._propose = propose
        self.choose: Chooser | None = None

    def __call__(
        self, observation: ObjectObservation, task: Task, rng: np.random.Generator
    ) -> GraspPrior:
        """Propose."""
        self.prior = self._propose(observation, task, rng)
        self.image = self.cell.capture().color
        if self.choose is None:
            return self.prior
        grasp = self.prior.grasp + self.choose(self.image, self.prior.grasp)
        return dataclasses.replace(self.prior, grasp=grasp)


class Cup:
    """The cell, with a predictor that sees."""

    def __init__(self) -> None:
        """Build it."""
        self._seeing = SeeingPredictor(predictor(PREDICTOR))
        self._practice = Practice(self._seeing)
        self._seeing.cell = self._practice.environment.cell

    def close(self) -> None:
        """End rendering."""
        self._practice.environment.close()

    def practise(self, settings: LearningSettings, seed: int) -> list[SimpleNamespace]:
        """What training asks of the rewarded episodes, in order of trial."""
        scenes = np.random.default_rng([seed, 5])
        optimiser = settings.make_optimiser(seed)
        self._seeing.choose = None
        episodes: list[SimpleNamespace] = []
        while len(episodes) < settings.episodes:
            sample = optimiser.ask()
            scene = int(scenes.integers(2**31))
            result = self._practice.episode(scene, 'train', sample.residual)
            if result['outcome'] == 'failed':  # the simulation did, not the grasp
                optimiser.discard(sample.index)
                continue
            optimiser.tell(sample.index, result['reward'])
            episodes.append(
                SimpleNamespace(
                    index=sample.index,
                    distribution_std=settings.initial_std,
                    first_image=self._seeing.image,
                    prior=self._seeing.prior,
                    residual=GraspResidual.from_vector(sample.residual),
                    reward=result['reward'],
                )
            )
        return episodes

    def trials(self, seed: int, count: int, choose: Chooser | None) -> dict[str, list[float]]:
        """Success on fresh scenes, which depend on the seed only, per object set."""
        scenes = np.random.default_rng([seed, 6])
        self._seeing.choose = choose
        return {
            kind: [
                float(self._practice.episode(int(scenes.integers(2**31)), kind, ZERO)['success'])
                for _ in range(count)
            ]
            for kind in SETS
        }


def run_seed(cup: Cup, settings: LearningSettings, seed: int) -> dict[str, Any]:
    """Practise, train and try.

    Returns:
        The kind that is deployed, why, and successes per policy and object set.
    """
    episodes = cup.practise(settings, seed)
    data, encoder, projection, sigma = practice_data(cast(list[Episode], episodes), settings)
    choice = choose_policy(data, settings.policy, seed)
    count = settings.evaluation_trials
    successes = {PRIOR: cup.trials(seed, count, None)}
    for kind in dict.fromkeys((*CONSTANTS, choice.kind)):
        fit = choice.fits[kind]
        policy = ResidualPolicy(encoder, projection, sigma, choice.methods[kind], fit.tensors)
        rng = np.random.default_rng([seed, 7])

        def choose(
            image: npt.NDArray[np.uint8],
            prior: GraspParameters,
            policy: ResidualPolicy = policy,
            rng: np.random.Generator = rng,
        ) -> GraspResidual:
            return policy.predict(image, prior, rng)

        successes[kind] = cup.trials(seed, count, choose)
    successes[DEPLOYED] = successes[choice.kind]
    return {'deployed': choice.kind, 'reason': choice.reason, 'successes': successes}


def collect(
    folder: Path, seeds: int, settings: LearningSettings, deadline: float
) -> list[dict[str, Any]]:
    """Run what is not kept yet, until the deadline.

    Args:
        folder: Where finished seeds are kept, by configuration and by code of the policies.
        seeds: How many, from 0.
        settings: Of practice and policies.
        deadline: On the monotonic clock; no seed is begun after it. [s].

    Returns:
        Results of the seeds that are finished.
    """
    cell = hashlib.sha256(f'{folder.name} {fingerprint(settings, PREDICTOR)}'.encode())
    kept = folder / f'cup_{cell.hexdigest()[:16]}'
    kept.mkdir(parents=True, exist_ok=True)
    cup: Cup | None = None
    results = []
    for seed in range(seeds):
        path = kept / f'seed_{seed:03d}.json'
        if not path.exists():
            if time.monotonic() > deadline:
                break
            cup = cup or Cup()
            result = run_seed(cup, settings, seed)
            path.with_suffix('.part').write_text(json.dumps(result), encoding='utf-8')
            path.with_suffix('.part').replace(path)
            print(f'cup, seed {seed}: {result["deployed"]} is deployed', flush=True)
        results.append(json.loads(path.read_text(encoding='utf-8')))
    if cup is not None:
        cup.close()
    return results
