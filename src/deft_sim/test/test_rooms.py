# SPDX-License-Identifier: Apache-2.0
"""Every room: whole episodes, and physics that stays honest in them."""

from __future__ import annotations

from collections.abc import Iterator

import mujoco
import numpy as np
import pytest

from deft_core.camera import RgbdFrame
from deft_core.configuration import config_directory
from deft_core.episode import Outcome
from deft_core.grasp import GraspResidual
from deft_core.observation import ObjectObservation
from deft_perception.segmentation.plane_segmentation import PlaneSegmentation
from deft_perception.segmentation.settings import SegmentationSettings
from deft_sim.environment import SETTLE_TIME, TableTopEnvironment
from deft_sim.tasks import (
    OBJECT_BODY,
    ContactSummary,
    Judge,
    SceneEvaluation,
    SimulatedTask,
    simulated_task,
    simulated_tasks,
)


class Witness(Judge):
    """Judges as the task does, and notes what must not happen."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.impact = 0.0  # deepest penetration of the object with anything, at any time [m]
        self.penetration = 0.0  # the same at the last instant: in the grasp [m]
        self.warnings = 0

    def watch(self, data: mujoco.MjData, contacts: ContactSummary, *, collided: bool) -> None:
        self.judge.watch(data, contacts, collided=collided)
        bodies = data.model.geom_bodyid[data.contact.geom]
        with_object = np.any(bodies == data.model.body(OBJECT_BODY).id, axis=1)
        self.penetration = -float(data.contact.dist[with_object].min(initial=0.0))
        self.impact = max(self.impact, self.penetration)
        self.warnings = int(data.warning.number.sum())

    def evaluate(self) -> SceneEvaluation:
        return self.judge.evaluate()


@pytest.fixture(scope='module', params=simulated_tasks())
def room(request: pytest.FixtureRequest, offscreen: None) -> Iterator[TableTopEnvironment]:
    environment = TableTopEnvironment.open(request.param)
    yield environment
    environment.close()


@pytest.fixture
def witnessed(room: TableTopEnvironment, monkeypatch: pytest.MonkeyPatch) -> list[Witness]:
    """The judges of the episodes that follow."""
    task, witnesses = simulated_task(room.task.name), []
    judge = type(task).judge

    def watched(self: SimulatedTask) -> Judge:
        witnesses.append(Witness(judge(self)))
        return witnesses[-1]

    monkeypatch.setattr(type(task), 'judge', watched)
    return witnesses


def test_the_expert_succeeds_and_nothing_penetrates(
    room: TableTopEnvironment, witnessed: list[Witness]
) -> None:
    trajectory = room.task.load_trajectory(config_directory())
    successes = []
    for seed, name in enumerate(room.task.object_sets['train']):
        room.reset(seed, name)
        grasp = room.cell.expert_grasp()
        assert room.execute(grasp, trajectory) is Outcome.COMPLETED
        successes.append(room.score(exact=True).success)
    assert np.mean(successes) >= 0.5
    assert max(witness.penetration for witness in witnessed) < 0.0015
    # A closing finger strikes a tool on the table harder than it holds it.
    assert max(witness.impact for witness in witnessed) < 0.004
    assert not any(witness.warnings for witness in witnessed)


def test_a_grasp_beside_the_tool_is_a_failure(room: TableTopEnvironment) -> None:
    name = room.task.object_sets['train'][0]
    room.reset(1, name)
    away = GraspResidual.from_vector([-0.12, 0.0, 0.08, *[0.0] * 19])
    room.execute(room.cell.expert_grasp() + away, room.task.load_trajectory(config_directory()))
    verdict = room.score(exact=True)
    assert not verdict.success
    assert verdict.score < 0.2


def test_the_scene_stays_at_rest(room: TableTopEnvironment, witnessed: list[Witness]) -> None:
    for seed, names in enumerate(room.task.object_sets.values()):
        for name in names[:2]:
            room.cell.return_robot_home()
            room.cell.reset_scene(name, seed)
            room.cell.advance(SETTLE_TIME)
            before = room.cell.object_position()
            room.cell.advance(2.0)
            assert np.abs(room.cell.object_position() - before).max() < 0.001, name
            assert not witnessed[-1].warnings


def test_layouts_differ_and_segmentation_finds_what_the_rule_means(
    room: TableTopEnvironment,
) -> None:
    def observe(frame: RgbdFrame, seed: int) -> ObjectObservation:
        return PlaneSegmentation(SegmentationSettings()).segment(
            frame,
            room.settings.calibration.T_base_camera,
            np.random.default_rng(seed),
            rule=room.task.object,
        )

    places = []
    for seed, name in enumerate(room.task.object_sets['train']):
        frame = room.reset(seed, name)
        places.append(room.cell.object_position())
        seen = observe(frame, seed).centre
        assert np.linalg.norm(seen[:2] - room.cell.expert_grasp().position[:2]) < 0.08
    assert np.ptp(places, axis=0)[:2].min() > 0.005
