# SPDX-License-Identifier: Apache-2.0
"""How fast the simulated cell runs without ROS, and where the time goes.

One episode is what a session does: scene reset, first image, segmentation, geometric prior, plan,
approach, grasp, the 40 displacements, hold, last image, score. One core.

    python benchmarks/simulation.py                  # measure and write results/simulation.json
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
from common import Stopwatch, interval, print_table, write_result

from deft_affordance.predictors import predictor
from deft_core.configuration import config_directory
from deft_core.errors import DeftError
from deft_perception.segmentation.plane_segmentation import PlaneSegmentation
from deft_perception.segmentation.settings import SegmentationSettings
from deft_sim.environment import TableTopEnvironment

TASK = 'pick_cup'
COMMAND = 'python benchmarks/simulation.py'


class Timed:
    """Stands in for an object and adds up the time spent in some of its methods.

    Args:
        target: The object.
        watch: Adds up.
        parts: Part of the job by method name.
    """

    def __init__(self, target: Any, watch: Stopwatch, parts: dict[str, str]) -> None:
        self._target = target
        self._watch = watch
        self._parts = parts

    def __getattr__(self, name: str) -> Any:
        """The attribute of the target, timed where a part is given for it."""
        attribute = getattr(self._target, name)
        if name not in self._parts:
            return attribute

        def timed(*arguments: Any, **named: Any) -> Any:
            with self._watch(self._parts[name]):
                return attribute(*arguments, **named)

        return timed


def measure(repetitions: int) -> dict[str, Any]:
    """Run episodes of all training objects.

    Args:
        repetitions: Episodes per object.
    """
    environment = TableTopEnvironment.open(TASK)
    trajectory = environment.task.load_trajectory(config_directory())
    segmentation = PlaneSegmentation(SegmentationSettings())
    propose = predictor('geometric')
    T_base_camera = environment.settings.calibration.T_base_camera
    names = environment.task.object_sets['train']

    def episode(scene_seed: int, name: str) -> None:
        frame = environment.reset(scene_seed, name)
        with watch('perception'):
            generator = np.random.default_rng(scene_seed)
            observation = segmentation.segment(
                frame, T_base_camera, generator, rule=environment.task.object
            )
            prior = propose(observation, environment.task, generator)
        environment.execute(prior.grasp, trajectory)
        environment.final_image()
        environment.score()

    watch = Stopwatch()
    for name in names:  # compiles every world once and opens the renderer
        episode(0, name)
    watch = Stopwatch()
    cell, planner = environment.cell, environment.planner
    environment.cell = Timed(  # type: ignore[assignment]
        cell, watch, {'advance': 'physics', 'capture': 'rendering', 'reset_scene': 'reset'}
    )
    environment.planner = Timed(planner, watch, {'plan': 'planning'})  # type: ignore[assignment]
    walls, simulated, steps = [], [], []
    for scene_seed in range(1, repetitions + 1):
        for name in names:
            clock, count, start = cell.time, cell.step_count, time.perf_counter()
            episode(scene_seed, name)
            walls.append(time.perf_counter() - start)
            simulated.append(cell.time - clock)
            steps.append(cell.step_count - count)
    environment.cell = cell
    environment.close()
    return {
        'episodes': len(walls),
        'episode_s': interval(walls),
        'simulated_episode_s': float(np.mean(simulated)),
        'realtime_factor': interval(np.array(simulated) / np.array(walls)),
        'steps_per_s': float(np.sum(steps)) / watch.seconds['physics'],
        'images_per_episode': 2,
        'share_of_time': {
            **{part: seconds / sum(walls) for part, seconds in sorted(watch.seconds.items())},
            'other': 1.0 - sum(watch.seconds.values()) / sum(walls),
        },
    }


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repetitions', type=int, default=5, help='episodes per object')
    options = parser.parse_args()
    try:
        measurements = measure(options.repetitions)
        plain = {key: value for key, value in measurements.items() if key != 'share_of_time'}
        print_table([{'quantity': key, 'value': value} for key, value in plain.items()])
        print()
        print_table(
            [
                {'part': part, 'share': share}
                for part, share in measurements['share_of_time'].items()
            ]
        )
        write_result('simulation', measurements, COMMAND)
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return 3
    return 0


if __name__ == '__main__':
    sys.exit(main())
