# SPDX-License-Identifier: Apache-2.0
"""The rooms of the tasks: one module of this folder holds all of one task in simulation.

A module is called as its file in `config/tasks` and holds `TASK`. The registry is the folder:
whoever puts a module into it has added a task; docs/tasks.md goes through one.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import mujoco
import numpy as np
import numpy.typing as npt

from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError
from deft_core.grasp import GraspParameters
from deft_core.trajectory import WristTrajectory
from deft_core.validation import FloatArray

OBJECT_BODY = 'object'
"""Name of the body that the hand takes hold of; every task has one."""

CONTACT: Final[Mapping[str, Any]] = MappingProxyType(
    {
        'contype': 1,
        'conaffinity': 7,
        'condim': 4,
        'friction': [0.8, 0.003, 0.0001],
        'solref': [0.006, 1.0],
    }
)
"""Properties of a geom that touches hand, table and other things.

Skin slides on a thing, and things on each other, with the friction of the rougher one; on the
table with that of the table. An object that is more slippery than most has a friction of its own
here; every scene draws a factor for each thing (`friction_factor` in the cell's configuration).
"""


@dataclass(frozen=True, eq=False)
class ContactSummary:
    """Contact forces of one instant."""

    # normal force of index, middle, ring, thumb and palm on the object, shape (5,) [N]
    finger_forces: FloatArray
    object_on_table: bool  # whether the object touches the table
    arm_force: float  # largest normal force on an arm link [N]

    @property
    def touching(self) -> npt.NDArray[np.bool_]:
        """Which of them touch the object, as one sees from beside the table. Shape (5,)."""
        return self.finger_forces > 0.0


@dataclass(frozen=True)
class SceneEvaluation:
    """Verdict on one episode."""

    score: float  # 0 to 1, by what is visible: places and touching, no forces
    success: bool  # the paper's criterion (Appendix F)
    explanation: str  # one sentence


@dataclass(frozen=True, eq=False)
class Demonstration:
    """What an expert does in the one demonstration of a task."""

    object_name: str  # what is on the table
    scene_seed: int  # of its layout
    intended: WristTrajectory  # how the wrist is to move after the grasp


class Judge(ABC):
    """Watches one episode as a person beside the table would, and judges it at its end.

    A judge is exact; how coarse and noisy a person is comes on top (`operator_score`).
    """

    @abstractmethod
    def watch(self, data: mujoco.MjData, contacts: ContactSummary, *, collided: bool) -> None:
        """Note one instant; `collided` is whether the arm has hit something in this episode."""

    @abstractmethod
    def evaluate(self) -> SceneEvaluation:
        """The verdict as the episode stands."""


class SimulatedTask(ABC):
    """What the simulated cell, its operator and its expert must know of one task."""

    @property
    @abstractmethod
    def object_names(self) -> tuple[str, ...]:
        """What can be laid out."""

    @abstractmethod
    def build(self, spec: mujoco.MjSpec, object_name: str) -> None:
        """Add the bodies of a scene to a cell; what is grasped is the body `OBJECT_BODY`."""

    @abstractmethod
    def lay_out(
        self, data: mujoco.MjData, object_name: str, generator: np.random.Generator
    ) -> None:
        """Place those bodies in `qpos` for a new episode; the robot is where it is."""

    @abstractmethod
    def judge(self) -> Judge:
        """A judge for one episode."""

    @abstractmethod
    def expert_grasp(self, data: mujoco.MjData, object_name: str) -> GraspParameters:
        """A good grasp of the object where it is now, in the base frame.

        For the demonstration and for tests; a session never sees it.
        """

    @property
    @abstractmethod
    def demonstration(self) -> Demonstration:
        """The one from which the wrist trajectory and the goal image come."""


def simulated_tasks() -> list[str]:
    """Names of the tasks that have a simulation, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def simulated_task(name: str) -> SimulatedTask:
    """The simulation of a task.

    Raises:
        ConfigurationError: It has none.
    """
    names = simulated_tasks()
    if name not in names:
        raise ConfigurationError(
            f'Task {name!r} has no simulation (deft_sim/tasks); {nearest(name, names)}'
        )
    task: SimulatedTask = importlib.import_module(f'{__name__}.{name}').TASK
    return task
