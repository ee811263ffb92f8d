# SPDX-License-Identifier: Apache-2.0
"""Does practice help? Fine-tuning as it ships over many seeds, in the cell without ROS.

Per seed: 30 episodes with the default optimiser, segmentation and geometric prior on training
objects, then what the optimiser recommends and the zero residual (the prior alone) on the same
fresh scenes, once with training objects and once with held-out ones; the prior alone also with the
calibration that is 8 mm off; and the recommendation where everything is as slippery as 0.6. The
reward is what the scripted operator says, in steps and with errors. An episode in which the
simulation became unstable is withdrawn. Seeds are independent, so the intervals are over seeds.

    python benchmarks/learning_curve.py                    # all ten seeds, then the result
    python benchmarks/learning_curve.py --budget 300       # stop after 5 minutes; run it again

Every finished seed is kept in runs/learning_curve and not run again with the same settings.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from common import interval, print_table, write_result

from deft_affordance import predictors
from deft_cem.settings import LearningSettings, load_learning_settings
from deft_core.configuration import config_directory
from deft_core.errors import DeftError
from deft_core.grasp import GRASP_DIMENSION, GraspParameters, GraspResidual
from deft_perception.calibration.calibration_file import load_named_calibration
from deft_perception.segmentation.plane_segmentation import PlaneSegmentation
from deft_perception.segmentation.settings import SegmentationSettings
from deft_sim.configuration import CALIBRATION, load_simulation_settings
from deft_sim.environment import TableTopEnvironment
from deft_sim.tasks import CONTACT

TASK: Final = 'pick_cup'
BLOCK: Final = 10  # episodes
SLIPPERY: Final = 0.6  # [-] friction
KEPT: Final = Path(__file__).resolve().parent.parent / 'runs' / 'learning_curve'
COMMAND: Final = 'python benchmarks/learning_curve.py'


class Practice:
    """Episodes of one task as a session runs them.

    Args:
        predictor: Proposes the prior of every episode.
        friction: Of everything; drawn for every scene when None.
    """

    def __init__(
        self, predictor: predictors.GraspPredictor, friction: float | None = None
    ) -> None:
        """Build the cell."""
        settings = load_simulation_settings(config_directory())
        if friction is not None:
            factor = friction / CONTACT['friction'][0]
            variation = dataclasses.replace(
                settings.cell.variation, friction_factor=(factor, factor)
            )
            cell = dataclasses.replace(settings.cell, variation=variation)
            settings = dataclasses.replace(settings, cell=cell)
        self.environment = TableTopEnvironment.open(TASK, settings=settings)
        self._predictor = predictor
        self.trajectory = self.environment.task.load_trajectory(config_directory())
        self._segmentation = PlaneSegmentation(SegmentationSettings())

    def lay_out(
        self, scene_seed: int, object_set: str, calibration: str = CALIBRATION
    ) -> tuple[str, GraspParameters]:
        """Lay out a scene and propose a grasp.

        Args:
            scene_seed: Seed of object, place and noise.
            object_set: 'train' or 'test'.
            calibration: File in config/calibration that perception is given.

        Returns:
            Name of the object and the prior.
        """
        environment = self.environment
        generator = np.random.default_rng(scene_seed)
        objects = environment.task.object_sets[object_set]
        name = objects[int(generator.integers(len(objects)))]
        frame = environment.reset(scene_seed, name)
        believed = load_named_calibration(calibration, config_directory()).T_base_camera
        observation = self._segmentation.segment(
            frame, believed, generator, rule=environment.task.object
        )
        return name, self._predictor(observation, environment.task, generator).grasp

    def episode(
        self,
        scene_seed: int,
        object_set: str,
        residual: npt.NDArray[np.float64],
        calibration: str = CALIBRATION,
    ) -> dict[str, Any]:
        """Run one episode.

        Args:
            scene_seed: See `lay_out`.
            object_set: Likewise.
            residual: Added to the prior. Shape (22,). [m, rad].
            calibration: See `lay_out`.

        Returns:
            The operator's reward, success and outcome.
        """
        name, prior = self.lay_out(scene_seed, object_set, calibration)
        grasp = prior + GraspResidual.from_vector(residual)
        outcome = self.environment.execute(grasp, self.trajectory)
        verdict = self.environment.score()
        return {
            'object': name,
            'reward': verdict.score,
            'success': verdict.success,
            'outcome': outcome.name.lower(),
        }


def run_seed(
    practice: Practice, slippery: Practice, settings: LearningSettings, seed: int
) -> dict[str, Any]:
    """Practise and evaluate with one seed.

    Args:
        practice: Runs the episodes.
        slippery: Runs those with low friction.
        settings: Of the optimiser and the evaluation.
        seed: Of the optimiser and of all scenes.
    """
    optimiser = settings.make_optimiser(seed)
    scenes = np.random.default_rng([seed, 1])
    practised = []
    while len(practised) < settings.episodes:
        sample = optimiser.ask()
        result = practice.episode(int(scenes.integers(2**31)), 'train', sample.residual)
        if result['outcome'] == 'failed':
            optimiser.discard(sample.index)
            continue
        optimiser.tell(sample.index, result['reward'])
        practised.append(result)
    evaluated: dict[str, list[dict[str, Any]]] = {}
    for object_set in ('train', 'test'):
        fresh = [int(scenes.integers(2**31)) for _ in range(settings.evaluation_trials)]
        for name, residual in (
            ('final_mean', optimiser.recommendation),
            ('zero_residual', np.zeros(GRASP_DIMENSION)),
        ):
            evaluated[f'{name}_{object_set}'] = [
                practice.episode(scene_seed, object_set, residual) for scene_seed in fresh
            ]
        evaluated[f'badly_calibrated_prior_{object_set}'] = [
            practice.episode(scene_seed, object_set, np.zeros(GRASP_DIMENSION), 'badly_calibrated')
            for scene_seed in fresh
        ]
        evaluated[f'final_mean_slippery_{object_set}'] = [
            slippery.episode(scene_seed, object_set, optimiser.recommendation)
            for scene_seed in fresh
        ]
    return {'seed': seed, 'practised': practised, 'evaluated': evaluated}


def fingerprint(settings: LearningSettings, predictor: str) -> str:
    """Names what a kept seed was run with: settings and every configuration file of the cell."""
    digest = hashlib.sha256(json.dumps([settings.to_dict(), predictor], sort_keys=True).encode())
    folder = config_directory()
    for part in ('arms', 'hands', 'simulation', 'tasks', 'trajectories', 'calibration'):
        for path in sorted((folder / part).iterdir()):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def measure(kept: list[dict[str, Any]], settings: LearningSettings) -> dict[str, Any]:
    """Means over seeds with bootstrap 95% intervals.

    Args:
        kept: Results of `run_seed`.
        settings: What they were run with.
    """
    rewards = np.array([[e['reward'] for e in run['practised']] for run in kept])
    successes = np.array([[e['success'] for e in run['practised']] for run in kept], dtype=float)
    outcomes = [e['outcome'] for run in kept for e in run['practised']]

    def over_trials(name: str, key: str) -> npt.NDArray[np.float64]:
        return np.array([np.mean([e[key] for e in run['evaluated'][name]]) for run in kept])

    first, last = rewards[:, :BLOCK].mean(axis=1), rewards[:, -BLOCK:].mean(axis=1)
    measurements: dict[str, Any] = {
        'seeds': len(kept),
        'episodes': settings.episodes,
        'trials': settings.evaluation_trials,
        'reward_first_ten': interval(first),
        'reward_last_ten': interval(last),
        'reward_gain_last_over_first': interval(last - first),
        'success_first_ten': interval(successes[:, :BLOCK].mean(axis=1)),
        'success_last_ten': interval(successes[:, -BLOCK:].mean(axis=1)),
        'unreachable_share': outcomes.count('unreachable') / len(outcomes),
        'collision_share': outcomes.count('collision') / len(outcomes),
    }
    for key in ('reward', 'success'):
        for object_set in ('train', 'test'):
            final = over_trials(f'final_mean_{object_set}', key)
            zero = over_trials(f'zero_residual_{object_set}', key)
            measurements[f'{key}_final_mean_{object_set}'] = interval(final)
            measurements[f'{key}_zero_residual_{object_set}'] = interval(zero)
            measurements[f'{key}_gain_over_prior_{object_set}'] = interval(final - zero)
            for other in ('badly_calibrated_prior', 'final_mean_slippery'):
                name = f'{other}_{object_set}'
                measurements[f'{key}_{name}'] = interval(over_trials(name, key))
    measurements['curve'] = [
        {
            'episodes': f'{start + 1} to {start + BLOCK}',
            'reward': interval(rewards[:, start : start + BLOCK].mean(axis=1)),
            'success': interval(successes[:, start : start + BLOCK].mean(axis=1)),
        }
        for start in range(0, settings.episodes - BLOCK + 1, BLOCK)
    ]
    return measurements


def collect(
    predictor: str, seeds: int, settings: LearningSettings, budget: float
) -> list[dict[str, Any]]:
    """Run the seeds that are not kept yet, until the budget is spent.

    Args:
        predictor: Name of the grasp predictor.
        seeds: How many seeds, from 0.
        settings: Of the optimiser and the evaluation.
        budget: No seed is begun after this time. [s].

    Returns:
        The results that exist now; fewer than `seeds` when the budget was too small.
    """
    folder = KEPT / fingerprint(settings, predictor)
    folder.mkdir(parents=True, exist_ok=True)
    practice: tuple[Practice, Practice] | None = None
    start = time.monotonic()
    results = []
    for seed in range(seeds):
        path = folder / f'seed_{seed:03d}.json'
        if not path.exists():
            if time.monotonic() - start > budget:
                continue
            propose = predictors.predictor(predictor)
            practice = practice or (Practice(propose), Practice(propose, SLIPPERY))
            result = run_seed(*practice, settings, seed)
            unfinished = path.with_suffix('.part')
            unfinished.write_text(json.dumps(result), encoding='utf-8')
            unfinished.replace(path)
        results.append(json.loads(path.read_text(encoding='utf-8')))
        rewards = [episode['reward'] for episode in results[-1]['practised']]
        print(
            f'seed {seed}: first ten {np.mean(rewards[:BLOCK]):.2f}, '
            f'last ten {np.mean(rewards[-BLOCK:]):.2f}',
            flush=True,
        )
    for part in practice or ():
        part.environment.close()
    return results


def main() -> int:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=int, default=10)
    parser.add_argument('--trials', type=int, default=10, help='fresh scenes per evaluation')
    parser.add_argument('--predictor', default='geometric')
    parser.add_argument('--budget', type=float, default=float('inf'), help='seconds')
    options = parser.parse_args()
    try:
        settings = dataclasses.replace(load_learning_settings(), evaluation_trials=options.trials)
        results = collect(options.predictor, options.seeds, settings, options.budget)
        if len(results) < options.seeds:
            print(f'{len(results)} of {options.seeds} seeds are done; run again for the rest')
            return 0
        measurements = {'predictor': options.predictor, **measure(results, settings)}
        rows = [
            {'quantity': key, 'value': value}
            for key, value in measurements.items()
            if key != 'curve'
        ]
        print_table(rows)
        print()
        print_table(measurements['curve'])
        write_result('learning_curve', measurements, f'{COMMAND} --seeds {options.seeds}')
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return 3
    return 0


if __name__ == '__main__':
    sys.exit(main())
