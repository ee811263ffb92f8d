# SPDX-License-Identifier: Apache-2.0
"""Which policy should be made from the ten best episodes?

Synthetic practice with a scene that is seen: an object stands somewhere (two numbers), the prior
and the picture tell where, with clutter; on L7 and on L7 moved further the best residual depends
on it, on the others it does not. Per landscape and seed: 30 episodes of the default optimiser with
mild score noise, every policy fitted, its leave-one-out error, and what it would really earn over
128 fresh scenes. Differences are paired with the recommendation, which is the baseline. Then the
same on the simulated cup, with the policy that a session deploys.

    python benchmarks/policies.py                       # all seeds, then the result
    python benchmarks/policies.py --budget 300          # stop after 5 minutes; run it again
    python benchmarks/policies.py --cup-seeds 0         # the landscapes alone
    python benchmarks/policies.py --run RUN [RUN ...]   # only recorded runs, printed

Every finished seed is kept in runs/policies and not run again with the same settings.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from common import interval, print_table, write_result
from optimisation import deployed_on_cup, landscapes
from optimisation.landscapes import DIMENSION, JITTER, Landscape, make_landscape
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

import deft_cem
from deft_bag.dataset import Dataset
from deft_cem.optimisers.registry import DEFAULT_METHOD
from deft_cem.policies.choice import CONSTANTS, PolicySettings, choose_policy
from deft_cem.policies.condition import BlockProjection, ConditionProjection
from deft_cem.policies.interface import PracticeData
from deft_cem.policies.training import practice_data
from deft_cem.settings import LearningSettings, load_learning_settings
from deft_core.errors import DeftError
from deft_core.grasp import WRIST

FloatArray = npt.NDArray[np.float64]
KEPT: Final = Path(__file__).resolve().parent.parent / 'runs' / 'policies'
COMMAND: Final = 'python benchmarks/policies.py'
# Landscape, and how many times as far as there the scene moves the optimum.
CELLS: Final = {'L1': 1.0, 'L3': 1.0, 'L7': 1.0, 'L7_twice': 2.0}
CUP_SEEDS: Final = 10
SCENES: Final = 128
PIXELS: Final = 40
BASELINE, MEAN = CONSTANTS


class Scenes:
    """What a robot sees of an object's pose: a picture with clutter, and a prior that follows.

    Args:
        seed: Equal seeds give equal objects and cameras.
        sigma: First spread of practice. Shape (22,). [m | rad | rad]
    """

    def __init__(self, seed: int, sigma: FloatArray) -> None:
        """Draw how pose and clutter show in features."""
        rng = np.random.default_rng([seed, 20])
        self._pose = rng.standard_normal((5, PIXELS))
        self._clutter = 0.7 * rng.standard_normal((3, PIXELS))
        self._grasp = np.concatenate([[0.45, 0.0, 0.1, 3.0, 0.1, 0.4], np.full(16, 0.4)]) / sigma
        self._moves = np.zeros((2, DIMENSION))
        self._moves[0, 0] = self._moves[1, 1] = 0.1 / sigma[0]  # one unit of pose is 10 cm
        self._moves[1, 5] = 0.4 / sigma[5]  # objects on the side are grasped from the side

    def see(self, pose: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Image features of shape (n, PIXELS) and priors of shape (n, 22) for poses (n, 2)."""
        bent = np.column_stack([pose, 0.4 * pose[:, :1] * pose[:, 1:], 0.3 * pose**2])
        image = bent @ self._pose + rng.standard_normal((len(pose), 3)) @ self._clutter
        image += 0.15 * rng.standard_normal(image.shape)
        # The prior is off by the same kind of error that execution is.
        prior = self._grasp + pose @ self._moves
        return image, prior + JITTER * rng.standard_normal(prior.shape)


def context_of(pose: FloatArray, distance: float) -> FloatArray:
    """What the landscape is told: the pose, stretched."""
    return distance * pose


def run_seed(cell: str, seed: int, settings: LearningSettings) -> dict[str, Any]:
    """Practise, fit every policy, and value it.

    Args:
        cell: Name in `CELLS`.
        seed: Of landscape, scenes, optimiser and policies.
        settings: Of practice and policies.

    Returns:
        Per policy its true value, leave-one-out error and whether it passed the gate.
    """
    landscape = make_landscape(cell.split('_', maxsplit=1)[0], seed)
    distance, sigma = CELLS[cell], settings.initial_std
    scenes = Scenes(seed, sigma)
    rng = np.random.default_rng([seed, 21])
    search = settings.make_optimiser(seed)
    poses, residuals, rewards = [], [], []
    for _ in range(settings.episodes):
        sample = search.ask()
        pose = rng.uniform(-1.0, 1.0, (1, 2))
        z = sample.residual / sigma
        executed = (z + JITTER * rng.standard_normal(DIMENSION))[None]
        earned = float(landscape.executed(executed, context_of(pose, distance))[0])
        reward = float(np.clip(earned + 0.05 * rng.standard_normal(), 0.0, 1.0))
        search.tell(sample.index, reward)
        poses.append(pose[0])
        residuals.append(z)
        rewards.append(reward)
    image, prior = scenes.see(np.array(poses), rng)
    projection = ConditionProjection(
        BlockProjection.fit(image, settings.policy.image_components),
        BlockProjection.fit(prior, settings.policy.prior_components),
    )
    data = PracticeData(
        condition=np.concatenate(
            [projection.image.scores(image), projection.prior.scores(prior)], axis=1
        ),
        prior=prior,
        residual=np.array(residuals),
        reward=np.array(rewards),
        elites=np.argsort(-np.array(rewards), kind='stable')[: settings.elites],
        euler_period=2.0 * np.pi / sigma[WRIST],
        recommend=lambda z, earned: search.fit(z * sigma, earned).recommendation / sigma,
    )
    trial = Trial(landscape, scenes, projection, distance, seed)
    result = judge(data, settings.policy, seed, trial)
    result['zero_residual'] = {'value': trial.value_of_constant(np.zeros(DIMENSION))}
    return result


class Trial:
    """Fresh scenes that every policy of one seed is tried on.

    Args:
        landscape: What is earned.
        scenes: What is seen.
        projection: From what is seen to the condition.
        distance: How far the scene moves the optimum.
        seed: Of poses, noise and samples.
    """

    def __init__(
        self,
        landscape: Landscape,
        scenes: Scenes,
        projection: ConditionProjection,
        distance: float,
        seed: int,
    ) -> None:
        """Draw the scenes."""
        rng = np.random.default_rng([seed, 22])
        pose = rng.uniform(-1.0, 1.0, (SCENES, 2))
        image, self._prior = scenes.see(pose, rng)
        self._condition = projection(image, self._prior)
        self._context = context_of(pose, distance)
        self._jitter = JITTER * rng.standard_normal((SCENES, DIMENSION))
        self._landscape, self._seed = landscape, seed

    def value(
        self, predict: Callable[[FloatArray, FloatArray, np.random.Generator], FloatArray]
    ) -> float:
        """Mean true reward of a policy."""
        rng = np.random.default_rng([self._seed, 23])
        with torch.no_grad():
            z = np.stack(
                [
                    predict(condition, prior, rng)
                    for condition, prior in zip(self._condition, self._prior, strict=True)
                ]
            )
        return self._earned(z)

    def value_of_constant(self, z: FloatArray) -> float:
        """Mean true reward of one residual for all scenes. Shape (22,)."""
        return self._earned(np.broadcast_to(z, (SCENES, DIMENSION)))

    def _earned(self, z: FloatArray) -> float:
        return float(self._landscape.executed(z + self._jitter, self._context).mean())


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
    """A policy of this benchmark.

    Attributes:
        predict: From condition (c,), prior (22,) and a generator to a residual (22,).
        left_out: Errors on left-out elites. Shape (e,).
    """

    predict: Callable[[FloatArray, FloatArray, np.random.Generator], FloatArray]
    left_out: FloatArray

    @property
    def error(self) -> float:
        """Mean of `left_out`."""
        return float(self.left_out.mean())

    def beats(self, other: Fitted) -> bool:
        """As `deft_cem.policies.choice` asks."""
        gains = other.left_out - self.left_out
        return bool(gains.mean() > gains.std(ddof=1) / np.sqrt(gains.size))


# What is not the paper's, for comparison. Kernel widths are in units of the condition, which has
# about unit spread.
REGRESSIONS: Final = {
    **{f'ridge, lambda {penalty:g}': Ridge(alpha=penalty) for penalty in (5.0, 20.0)},
    'kernel ridge, lambda 2, width 2': KernelRidge(alpha=2.0, kernel='rbf', gamma=1 / 8),
    'gaussian process': GaussianProcessRegressor(
        ConstantKernel(0.3, (1e-3, 1e2)) * RBF(2.0, (0.3, 30.0)) + WhiteKernel(0.5, (1e-3, 1e2))
    ),
}


def regression(estimator: Any, data: PracticeData) -> Fitted:
    """Residual minus the mean of the elites, by a regressor of scikit-learn."""

    def fitted(rows: npt.NDArray[np.intp]) -> Callable[[FloatArray], FloatArray]:
        mean = data.residual[rows].mean(axis=0)
        with warnings.catch_warnings():
            # Ten points often put a length or a noise at its bound; that is a valid answer.
            warnings.simplefilter('ignore', ConvergenceWarning)
            model = clone(estimator).fit(data.condition[rows], data.residual[rows] - mean)
        return lambda condition: np.asarray(mean + model.predict(condition[None])[0])

    errors = []
    for row in data.elites:
        without = fitted(data.elites[data.elites != row])
        errors.append(np.mean((without(data.condition[row]) - data.residual[row]) ** 2))
    whole = fitted(data.elites)
    return Fitted(lambda condition, _prior, _rng: whole(condition), np.array(errors))


def fit_all(
    data: PracticeData, settings: PolicySettings, seed: int
) -> tuple[dict[str, Fitted], str]:
    """Every policy, the VAE without sampling, other regressions; and the kind that is deployed."""
    choice = choose_policy(data, settings, seed)
    still = dataclasses.replace(
        settings, method='residual_vae', vae=dataclasses.replace(settings.vae, z='mean')
    )
    decoded = choose_policy(data, still, seed)
    fits = {
        name: Fitted(partial(made.methods[kind].predict, made.fits[kind].tensors), fit.left_out)
        for made, kind, name in (
            *((choice, kind, kind) for kind in choice.fits),
            (decoded, 'residual_vae', 'residual_vae, z = 0'),
        )
        for fit in [made.fits[kind]]
    }
    for name, estimator in REGRESSIONS.items():
        fits[name] = regression(estimator, data)
    return fits, choice.kind


def judge(
    data: PracticeData, settings: PolicySettings, seed: int, trial: Trial
) -> dict[str, dict[str, float]]:
    """Value, error and gate of every policy, and what is deployed."""
    fits, deployed = fit_all(data, settings, seed)
    values = {name: trial.value(fit.predict) for name, fit in fits.items()}
    result: dict[str, dict[str, float]] = {}
    for name, fit in fits.items():
        passed = fit.beats(fits[MEAN]) and fit.beats(fits[BASELINE])
        result[name] = {
            'value': values[name],
            'error': fit.error,
            'r2': 1.0 - fit.error / fits[MEAN].error,
            'passed': float(passed),
            'gated_value': values[name if passed else BASELINE],
        }
    result['deployed'] = {**result[deployed], 'passed': float(deployed != BASELINE)}
    return result


def fingerprint(settings: LearningSettings) -> str:
    """Names what a kept seed was run with."""
    package = Path(deft_cem.__file__).parent
    code = [Path(__file__), Path(landscapes.__file__), Path(deployed_on_cup.__file__)]
    digest = hashlib.sha256(json.dumps(settings.to_dict(), sort_keys=True).encode())
    parts = [path for part in ('optimisers', 'policies') for path in (package / part).glob('*.py')]
    for path in (*code, *sorted(parts)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def collect(
    folder: Path, seeds: int, settings: LearningSettings, deadline: float
) -> dict[str, list[Any]] | None:
    """Run what is not kept yet, until the deadline.

    Args:
        folder: Where finished seeds are kept.
        seeds: How many seeds per landscape, from 0.
        settings: Of practice and policies.
        deadline: On the monotonic clock; nothing is begun after it. [s].

    Returns:
        Results by landscape; None when the time was too short.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = 0
    results: dict[str, list[Any]] = {cell: [] for cell in CELLS}
    for seed in range(seeds):
        for cell, rows in results.items():
            path = folder / f'{cell}_{seed:03d}.json'
            if not path.exists():
                if time.monotonic() > deadline:
                    missing += 1
                    continue
                text = json.dumps(run_seed(cell, seed, settings))
                path.with_suffix('.part').write_text(text, encoding='utf-8')
                path.with_suffix('.part').replace(path)
            rows.append(json.loads(path.read_text(encoding='utf-8')))
        print(f'seed {seed} of {seeds}', flush=True)
    if missing:
        print(f'{missing} of {seeds * len(results)} are missing; run again for the rest')
        return None
    return results


def measure(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """One table per landscape; differences are paired with the recommendation."""
    tables: dict[str, Any] = {}
    for name, seeds in results.items():
        baseline = np.array([row[BASELINE]['value'] for row in seeds])
        table = []
        for policy in seeds[0]:
            value = np.array([row[policy]['value'] for row in seeds])
            row: dict[str, Any] = {'policy': policy, 'value': interval(value)}
            row['gain_over_recommendation'] = interval(value - baseline)
            for key in ('gated_value', 'r2', 'passed'):
                found = [r[policy].get(key) for r in seeds]
                row[key] = None if None in found else float(np.mean(found))
            table.append(row)
        tables[name] = table
    return tables


def summarise(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Gain over the recommendation, averaged over landscapes, intervals over seeds."""

    def gain(policy: str, key: str, matters: bool) -> dict[str, float | int]:
        cells = [seeds for name, seeds in results.items() if name.startswith('L7') == matters]
        gains = [[row[policy][key] - row[BASELINE]['value'] for row in seeds] for seeds in cells]
        return interval(np.mean(gains, axis=0))

    first = next(iter(results.values()))[0]
    return [
        {
            'policy': policy,
            'gain_where_the_scene_matters': gain(policy, 'value', True),
            'gain_where_it_does_not': gain(policy, 'value', False),
            'gated_gain_where_it_matters': gain(policy, 'gated_value', True),
            'gated_gain_where_it_does_not': gain(policy, 'gated_value', False),
        }
        for policy, row in first.items()
        if policy != BASELINE and 'gated_value' in row
    ]


def cup_rows(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Success on the simulated cup, training and held-out ones; intervals over seeds."""

    def success(policy: str, kind: str) -> FloatArray:
        return np.array([np.mean(result['successes'][policy][kind]) for result in results])

    names = [deployed_on_cup.DEPLOYED, *CONSTANTS, deployed_on_cup.PRIOR]
    return [
        {'policy': name}
        | {f'success_{kind}': interval(success(name, kind)) for kind in deployed_on_cup.SETS}
        for name in names
    ]


def judge_runs(runs: Sequence[Path], settings: LearningSettings) -> list[dict[str, Any]]:
    """Leave-one-out errors on recorded runs.

    Args:
        runs: Run folders, bag folders or .mcap files.
        settings: Of elites and policies.
    """
    rows = []
    for number, run in enumerate(runs, start=1):
        practice = Dataset()
        practice.add_run(run)
        data = practice_data(practice.episodes, settings)[0]
        fits, deployed = fit_all(data, settings.policy, 0)
        rows += [
            {
                'run': number,
                'elites': len(data.elites),
                'policy': name,
                'left_out_error': fit.error,
                'r2': 1.0 - fit.error / fits[MEAN].error,
                'deployed': name == deployed,
            }
            for name, fit in sorted(fits.items(), key=lambda pair: pair[1].error)
        ]
    return rows


def main() -> int:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=int, default=16)
    parser.add_argument('--cup-seeds', type=int, default=CUP_SEEDS)
    parser.add_argument('--budget', type=float, default=float('inf'), help='seconds')
    parser.add_argument('--run', type=Path, nargs='+', default=[], help='recorded runs instead')
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        settings = load_learning_settings()
        if options.run:
            print_table(judge_runs(options.run, settings))
            return 0
        deadline = time.monotonic() + options.budget
        folder = KEPT / fingerprint(settings)
        results = collect(folder, options.seeds, settings, deadline)
        if results is None:
            return 0
        cup = deployed_on_cup.collect(folder, options.cup_seeds, settings, deadline)
        tables = measure(results)
        for name, table in tables.items():
            print(f'\n{name}')
            print_table(table)
        summary = summarise(results)
        print('\nsummary')
        print_table(summary)
        measurements: dict[str, Any] = {
            'optimiser': DEFAULT_METHOD, 'seeds': options.seeds, 'summary': summary, **tables
        }  # fmt: skip
        if len(cup) > 1:
            kinds = Counter(result['deployed'] for result in cup)
            measurements['cup_seeds'] = len(cup)
            measurements['deployed_on_the_cup'] = ', '.join(f'{k} {n}' for k, n in kinds.items())
            measurements['simulated_cup'] = cup_rows(cup)
            print_table(measurements['simulated_cup'])
        write_result('policies', measurements, COMMAND)
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return 3
    return 0


if __name__ == '__main__':
    sys.exit(main())
