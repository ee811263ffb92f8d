# SPDX-License-Identifier: Apache-2.0
"""Tasks are found where they are, and a second one needs nothing but its own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from deft_core.configuration import config_directory
from deft_core.episode import Outcome
from deft_core.errors import ConfigurationError
from deft_core.task import load_task
from deft_sim import tasks
from deft_sim.environment import TableTopEnvironment
from deft_sim.tasks import simulated_task, simulated_tasks

PUSH_BLOCK = '''
import mujoco
import numpy as np
from deft_core.grasp import GraspParameters
from deft_core.trajectory import WristTrajectory
from deft_sim.tasks import OBJECT_BODY, Demonstration, Judge, SceneEvaluation, SimulatedTask

class BlockJudge(Judge):
    def __init__(self):
        self.moved = 0.0

    def watch(self, data, contacts, *, collided):
        self.moved = abs(float(data.joint('rail').qpos[0]))

    def evaluate(self):
        score = min(self.moved / 0.02, 1.0)
        return SceneEvaluation(score, score == 1.0, f'moved {self.moved:.3f} m')

class PushBlock(SimulatedTask):
    """A block on a rail that the palm pushes to the left: one joint that is no free joint."""

    object_names = ('block',)

    def build(self, spec, object_name):
        body = spec.worldbody.add_body(name=OBJECT_BODY, pos=[0.55, 0.0, 0.06])
        body.add_joint(
            name='rail', type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0.0, 1.0, 0.0], damping=5.0
        )
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.03, 0.03, 0.05], mass=0.1,
            contype=1, conaffinity=7,
        )

    def lay_out(self, data, object_name, generator):
        data.joint('rail').qpos = 0.01 * generator.uniform(-0.5, 0.5)

    def judge(self):
        return BlockJudge()

    def expert_grasp(self, data, object_name):
        return GraspParameters(
            np.array([0.545, -0.05, 0.08]), np.array(%(wrist)s), np.zeros(16)
        )

    @property
    def demonstration(self):
        steps = np.zeros((40, 3))
        steps[:, 1] = 0.003
        return Demonstration(
            'block', 5, WristTrajectory(steps, np.zeros((40, 3)), 10.0, 'push')
        )

TASK = PushBlock()
'''


@pytest.fixture
def push_block(
    environment: TableTopEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A configuration folder with a second task: one module, one YAML, its recorded trajectory."""
    room = tmp_path / 'rooms'
    room.mkdir()
    environment.reset(0, 'red_mug')
    wrist = environment.cell.expert_grasp().wrist_rotation.tolist()
    (room / 'push_block.py').write_text(PUSH_BLOCK % {'wrist': wrist})
    monkeypatch.setattr(tasks, '__path__', [*tasks.__path__, str(room)])
    folder = tmp_path / 'config'
    folder.mkdir()
    for part in config_directory().iterdir():
        if part.name not in ('tasks', 'trajectories'):
            (folder / part.name).symlink_to(part)
    values = yaml.safe_load((config_directory() / 'tasks' / 'pick_cup.yaml').read_text())
    values |= {
        'name': 'push_block',
        'trajectory': 'push_block.json',
        'object_sets': {'train': ['block'], 'test': ['block']},
    }
    (folder / 'tasks').mkdir()
    (folder / 'tasks' / 'push_block.yaml').write_text(yaml.safe_dump(values))
    (folder / 'trajectories').mkdir()
    return folder


def test_a_second_task_runs_through_the_same_code(push_block: Path) -> None:
    assert simulated_tasks() == ['pick_cup', 'push_block']
    environment = TableTopEnvironment.open('push_block', push_block)
    recorded = environment.demonstrate()
    assert (recorded.start != recorded.goal).any()
    path = push_block / 'trajectories' / environment.task.trajectory
    recorded.trajectory.save(path)
    trajectory = environment.task.load_trajectory(push_block)
    scores = []
    for _ in range(2):
        environment.reset(3, 'block')
        assert environment.execute(environment.cell.expert_grasp(), trajectory) is (
            Outcome.COMPLETED
        )
        scores.append(environment.score())
    assert scores[0] == scores[1]
    assert scores[0].success
    environment.reset(4, 'block')
    assert environment.score(exact=True).score < 0.5
    environment.close()


def test_every_task_with_a_simulation_has_its_files() -> None:
    names = simulated_tasks()
    assert 'pick_cup' in names
    for name in names:
        task, simulation = load_task(name, config_directory()), simulated_task(name)
        for objects in task.object_sets.values():
            assert set(objects) <= set(simulation.object_names)
        assert simulation.demonstration.object_name in simulation.object_names
        recorded = task.load_trajectory(config_directory())
        assert len(recorded) == len(simulation.demonstration.intended)
        assert np.isfinite(recorded.translations).all()


def test_an_unknown_task_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r'no simulation.*known: pick_cup'):
        simulated_task('juggle')
    with pytest.raises(ConfigurationError, match="did you mean 'pick_cup'"):
        TableTopEnvironment.open('pick_cub')
