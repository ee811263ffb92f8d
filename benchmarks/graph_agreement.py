# SPDX-License-Identifier: Apache-2.0
"""Does a grasp do in the ROS-free environment what it does in the graph?

Grasps near the geometric prior (with half a sample of practice's initial distribution, so that
some succeed and some fail), each in a scene of its own, executed once by `TableTopEnvironment` and
once through the nodes of the graph: arm node, its simulated driver and control box, hand driver,
servos on their bus. What differs: moves of the arm pass the queue of the control box, which blends
and accelerates; hand commands pass a driver with limits of speed and step, and servos with
position loops, current limits and counts, where the other has ideal motors; the robot starts where
the last grasp left it, not exactly at home.

    python benchmarks/graph_agreement.py                   # 50 grasps
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, Final

import numpy as np
import rclpy
from common import print_table, write_result
from learning_curve import TASK, Practice
from rclpy.action import ActionClient
from rclpy.node import Node
from std_srvs.srv import Trigger

from deft_affordance.predictors import predictor
from deft_cem.settings import load_learning_settings
from deft_core.episode import Outcome
from deft_core.errors import DeftError, DeviceError
from deft_core.grasp import GraspResidual
from deft_core.nodes.encode import grasp_to_msg, trajectory_to_msg
from deft_msgs.action import ExecuteGrasp, ReturnHome
from deft_msgs.msg import EpisodeRecord
from deft_msgs.srv import EvaluateScene, ResetScene

COMMAND: Final = 'python benchmarks/graph_agreement.py'
REAL_TIME_FACTOR: Final = 3.0
SPREAD: Final = 0.5  # times a sample of practice
TIMEOUT_S: Final = 120.0  # of one answer
OUTCOMES: Final = {
    ExecuteGrasp.Goal.NONE: Outcome.COMPLETED,
    ExecuteGrasp.Goal.UNREACHABLE: Outcome.UNREACHABLE,
    ExecuteGrasp.Goal.OUTSIDE_WORKSPACE: Outcome.UNREACHABLE,
    ExecuteGrasp.Goal.COLLISION: Outcome.COLLISION,
}


def without_ros(count: int) -> tuple[list[dict[str, Any]], list[ExecuteGrasp.Goal]]:
    """Draw grasps and execute them in the environment.

    Args:
        count: How many.

    Returns:
        Scene and what came of it, and the goal for the arm node, for each grasp.
    """
    practice = Practice(predictor('geometric'))
    optimiser = load_learning_settings().make_optimiser(0)
    task, environment = practice.environment.task, practice.environment
    scenes = np.random.default_rng(1)
    rows, goals = [], []
    for _ in range(count):
        sample = optimiser.ask()
        optimiser.discard(sample.index)
        scene_seed = int(scenes.integers(2**31))
        name, prior = practice.lay_out(scene_seed, 'train')
        grasp = prior + GraspResidual.from_vector(SPREAD * sample.residual)
        outcome = environment.execute(grasp, practice.trajectory)
        verdict = environment.score()
        rows.append(
            {
                'object': name,
                'scene_seed': scene_seed,
                'outcome': outcome.name.lower(),
                'reward': verdict.score,
                'success': verdict.success,
            }
        )
        goals.append(
            ExecuteGrasp.Goal(
                episode_id=f'agreement_{len(goals)}',
                grasp=grasp_to_msg(grasp, 0.0),
                trajectory=trajectory_to_msg(practice.trajectory, 0.0),
                pregrasp_distance=task.pregrasp.distance,
                pregrasp_direction=list(task.pregrasp.direction),
                open_hand=list(task.open_hand),
            )
        )
    environment.close()
    return rows, goals


class Graph(Node):
    """Client of the nodes that a session uses to act."""

    def __init__(self) -> None:
        """Wait for all of them."""
        super().__init__('graph_agreement')
        self._reset = self.create_client(ResetScene, '/simulation/reset_scene')
        self._evaluate = self.create_client(EvaluateScene, '/simulation/evaluate_scene')
        self._execute = ActionClient(self, ExecuteGrasp, '/arm/execute_grasp')
        self._home = ActionClient(self, ReturnHome, '/arm/return_home')
        self._clear = self.create_client(Trigger, '/arm/clear_fault')
        for client in (self._reset, self._evaluate, self._clear):
            if not client.wait_for_service(timeout_sec=TIMEOUT_S):
                raise DeviceError(f'{client.srv_name} did not appear')
        for action in (self._execute, self._home):
            if not action.wait_for_server(timeout_sec=TIMEOUT_S):
                raise DeviceError('the arm did not appear')

    def run(self, row: dict[str, Any], goal: ExecuteGrasp.Goal) -> dict[str, Any]:
        """Lay out the scene of a row, execute its grasp, and judge."""
        home = ReturnHome.Goal(release=True, open_hand=goal.open_hand)
        deadline = time.monotonic() + TIMEOUT_S
        while (answer := self._act(self._home, home)).error_code != ReturnHome.Goal.NONE:
            if time.monotonic() > deadline:
                raise DeviceError(f'the arm does not get home: {answer.error_message}')
            self._answer(self._clear.call_async(Trigger.Request()))  # as after a collision
        request = ResetScene.Request(
            task=TASK, object_name=row['object'], scene_seed=row['scene_seed']
        )
        reset = self._answer(self._reset.call_async(request))
        if reset.error_code != ResetScene.Request.NONE:
            raise DeviceError(reset.error_message)
        result = self._act(self._execute, goal)
        verdict = self._answer(self._evaluate.call_async(EvaluateScene.Request()))
        outcome = OUTCOMES.get(result.error_code, Outcome.FAILED)
        return {
            'outcome': outcome.name.lower(),
            'reward': verdict.score,
            'success': verdict.success == EpisodeRecord.SUCCESS_YES,
        }

    def _act(self, client: ActionClient, goal: Any) -> Any:
        handle = self._answer(client.send_goal_async(goal))
        return self._answer(handle.get_result_async()).result

    def _answer(self, future: Any) -> Any:
        rclpy.spin_until_future_complete(self, future, timeout_sec=TIMEOUT_S)
        if not future.done():
            raise DeviceError(f'no answer within {TIMEOUT_S:.0f} s')
        return future.result()


def in_graph(rows: list[dict[str, Any]], goals: list[ExecuteGrasp.Goal]) -> list[dict[str, Any]]:
    """Start the simulated robot and its drivers, and execute the same grasps."""
    command = [sys.executable, '-m', 'deft_bringup', 'launch', 'simulation.launch.xml']
    folder = tempfile.TemporaryDirectory()
    port = f'hand_port:={folder.name}/hand'  # not that of another simulation
    started = subprocess.Popen(
        [*command, f'real_time_factor:={REAL_TIME_FACTOR}', port],
        env={**os.environ, 'DEFT_LAUNCH': 'own'},
        stdout=subprocess.DEVNULL,
    )
    rclpy.init()
    try:
        graph = Graph()
        results = []
        for number, (row, goal) in enumerate(zip(rows, goals, strict=True)):
            results.append(graph.run(row, goal))
            same = results[-1]['success'] == row['success']
            print(
                f'{number}: {row["object"]}, {"as" if same else "NOT as"} without ROS', flush=True
            )
        graph.destroy_node()
        return results
    finally:
        rclpy.try_shutdown()
        started.send_signal(signal.SIGINT)
        started.wait(TIMEOUT_S)
        folder.cleanup()


def compare(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> dict[str, Any]:
    """How alike the results of the environment and of the graph are."""
    success, graph_success = (np.array([row['success'] for row in rows]) for rows in (one, other))
    reward, graph_reward = (np.array([row['reward'] for row in rows]) for rows in (one, other))
    outcomes = [(a['outcome'], b['outcome']) for a, b in zip(one, other, strict=True)]
    return {
        'grasps': len(one),
        'success_without_ros': float(success.mean()),
        'success_in_graph': float(graph_success.mean()),
        'same_success': float((success == graph_success).mean()),
        'only_without_ros': int((success & ~graph_success).sum()),
        'only_in_graph': int((~success & graph_success).sum()),
        'same_outcome': float(np.mean([a == b for a, b in outcomes])),
        'mean_reward_without_ros': float(reward.mean()),
        'mean_reward_in_graph': float(graph_reward.mean()),
        'mean_reward_difference': float(np.abs(reward - graph_reward).mean()),
        'real_time_factor': REAL_TIME_FACTOR,
        'each': [
            {
                'object': a['object'],
                'without_ros': f'{a["outcome"]}, {a["reward"]:.1f}',
                'in_graph': f'{b["outcome"]}, {b["reward"]:.1f}',
                'same_success': a['success'] == b['success'],
            }
            for a, b in zip(one, other, strict=True)
        ],
    }


def main() -> int:
    """Run both, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--grasps', type=int, default=50)
    options = parser.parse_args()
    try:
        rows, goals = without_ros(options.grasps)
        measurements = compare(rows, in_graph(rows, goals))
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return 3
    print_table([{'quantity': k, 'value': v} for k, v in measurements.items() if k != 'each'])
    write_result('graph_agreement', measurements, f'{COMMAND} --grasps {options.grasps}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
