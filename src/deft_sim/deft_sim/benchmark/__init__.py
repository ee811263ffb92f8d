# SPDX-License-Identifier: Apache-2.0
"""The tasks as a benchmark; importing this registers them with Gymnasium, `deft/PickCup-v0` ..."""

from __future__ import annotations

from gymnasium.envs.registration import register

from deft_sim.tasks import simulated_tasks


def environment_id(task: str) -> str:
    """Name of a task in Gymnasium's registry; every task that has a simulation is there."""
    return f'deft/{task.title().replace("_", "")}-v0'


for _task in simulated_tasks():
    register(
        id=environment_id(_task),
        entry_point='deft_sim.benchmark.gymnasium_environment:GraspEnvironment',
        kwargs={'task': _task},
    )
