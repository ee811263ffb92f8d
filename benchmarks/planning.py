# SPDX-License-Identifier: Apache-2.0
"""How long it takes to plan an episode: kinematics, timing and every safety check.

One plan is the approach, the grasp and the 40 displacements of the demonstration for a grasp as a
session asks for it: the geometric prior's side grasp of a cup somewhere on the table plus a
residual of the paper's size (Table 4). Plans that are refused count, too. The bar is 100 ms at the
95th percentile.

    python benchmarks/planning.py                    # measure and write results/planning.json
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from common import interval, print_table, write_result

from deft_affordance.wrist_poses import SIDE_GRASP
from deft_arm.configuration import load_arm_configuration
from deft_arm.planning.plan import MotionPlan
from deft_arm.planning.planner import EpisodePlanner
from deft_core.configuration import config_directory
from deft_core.errors import DeftError, SafetyError, UnreachableError
from deft_core.grasp import GraspParameters
from deft_core.rotations import euler_from_matrix
from deft_core.task import load_task

COMMAND: Final = 'python benchmarks/planning.py'
BAR_MS: Final = 100.0
BATCHES: Final = 20  # independent repetitions, for the interval
SIGMA: Final = np.array([0.02, 0.02, 0.02, 0.2, 0.2, 0.2])  # [m, rad] the paper's Table 4
GRASP_HEIGHT: Final = 0.07  # [m]


def grasps(count: int, seed: int, closed: npt.ArrayLike) -> list[GraspParameters]:
    """Side grasps with residuals, around cups all over the layout area.

    Args:
        count: How many.
        seed: Of places and residuals.
        closed: Closed hand. Shape (16,). [rad].
    """
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        x, y = generator.uniform(0.50, 0.60), generator.uniform(-0.05, 0.05)
        residual = generator.normal(0.0, SIGMA)
        position = np.array([x, y, GRASP_HEIGHT]) + 0.013 * SIDE_GRASP[:, 0]
        wrist = euler_from_matrix(SIDE_GRASP)
        made.append(GraspParameters(position + residual[:3], wrist + residual[3:], closed))
    return made


def measure(count: int) -> dict[str, Any]:
    """Plan episodes and the way home after each.

    Args:
        count: Episodes.
    """
    configuration = load_arm_configuration('xarm6')
    planner = EpisodePlanner(configuration)
    task = load_task('pick_cup', config_directory())
    trajectory = task.load_trajectory(config_directory())
    pregrasp = task.pregrasp

    def plan(grasp: GraspParameters) -> MotionPlan:
        return planner.plan(
            grasp,
            trajectory,
            pregrasp.distance,
            pregrasp.direction,
            configuration.home,
            task.open_hand,
        )

    for grasp in grasps(10, 1, task.half_closed_hand):  # warm up
        try_to(lambda grasp=grasp: plan(grasp))
    wall, processor, home, outcomes, stretch = [], [], [], [], []
    begin = time.perf_counter()
    for grasp in grasps(count, 0, task.half_closed_hand):
        start, busy = time.perf_counter(), time.process_time()
        made, outcome = try_to(lambda grasp=grasp: plan(grasp))
        wall.append(1e3 * (time.perf_counter() - start))
        processor.append(1e3 * (time.process_time() - busy))
        outcomes.append(outcome)
        if made is None:
            continue
        stretch.append(made.phases[3].duration * trajectory.rate / len(trajectory))
        end = made.phases[-1].arm.positions[-1]
        start = time.perf_counter()
        try_to(lambda end=end: planner.plan_home(end, task.open_hand))
        home.append(1e3 * (time.perf_counter() - start))
    elapsed = time.perf_counter() - begin
    batches = np.array_split(np.array(wall), BATCHES)
    return {
        'plan_ms_p95': float(np.percentile(wall, 95)),
        'bar_ms': BAR_MS,
        'plan_ms_p95_of_a_batch': interval([float(np.percentile(b, 95)) for b in batches]),
        'plan_ms_median': float(np.median(wall)),
        'plan_ms_largest': float(np.max(wall)),
        'plan_processor_ms_p95': float(np.percentile(processor, 95)),
        'way_home_ms_p95': float(np.percentile(home, 95)),
        'share_of_one_core': float(np.sum(processor) * 1e-3 / elapsed),
        'load_average': os.getloadavg()[0],
        'plans': count,
        'planned_share': outcomes.count('planned') / count,
        'unreachable_share': outcomes.count('unreachable') / count,
        'collision_share': outcomes.count('collision') / count,
        'trajectories_slowed_share': float(np.mean(np.array(stretch) > 1.001)),
    }


def try_to(make: Any) -> tuple[Any, str]:
    """What was planned, or None, and how it went."""
    try:
        return make(), 'planned'
    except UnreachableError:
        return None, 'unreachable'
    except SafetyError:
        return None, 'collision'


def main() -> int:
    """Measure, print and write; returns the exit code."""
    parser = argparse.ArgumentParser(description='Measure how long planning takes.')
    parser.add_argument('--plans', type=int, default=400, help='episodes to plan')
    options = parser.parse_args()
    try:
        measurements = measure(options.plans)
        print_table([{'what': name, 'value': value} for name, value in measurements.items()])
        path = write_result('planning', measurements, COMMAND)
    except DeftError as error:
        print(f'planning: {error}', file=sys.stderr)
        return 3
    print(f'wrote results/{path.name}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
