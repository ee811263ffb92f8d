# SPDX-License-Identifier: Apache-2.0
"""A task that the hand can be taught: one file in `config/tasks`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from deft_core.configuration import bounds, load_named
from deft_core.errors import ConfigurationError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.trajectory import WristTrajectory


@dataclass(frozen=True)
class Pregrasp:
    """Where the straight approach to the grasp begins."""

    # length of the approach [m]
    distance: float = field(metadata=bounds(0.0, 0.3, 'm'))
    # direction of the approach in flange axes; its length does not matter
    direction: tuple[float, float, float] = field(metadata=bounds(-1.0, 1.0))


@dataclass(frozen=True)
class Task:
    """What is taught, with which objects, and the constants that go with it."""

    name: str  # file name without extension
    instruction: str  # the task sentence given to the affordance model
    # names of the objects by set; 'train' and 'test' (held out)
    object_sets: dict[str, tuple[str, ...]]
    trajectory: str  # file in `config/trajectories`
    pregrasp: Pregrasp  # straight approach before the grasp
    # hand joints during the approach. Length 16 [rad]
    open_hand: tuple[float, ...] = field(metadata=bounds(-1.0, 2.0, 'rad'))
    # hand joints of a prior without a model. Length 16 [rad]
    half_closed_hand: tuple[float, ...] = field(metadata=bounds(-1.0, 2.0, 'rad'))

    def __post_init__(self) -> None:
        """Check lengths and object sets."""
        for name in ('open_hand', 'half_closed_hand'):
            count = len(getattr(self, name))
            if count != len(HAND_JOINT_NAMES):
                raise ConfigurationError(
                    f'Task {self.name}: {name} must list {len(HAND_JOINT_NAMES)} joints '
                    f'({", ".join(HAND_JOINT_NAMES[:4])}, ...), got {count}.'
                )
        for required in ('train', 'test'):
            if not self.object_sets.get(required):
                raise ConfigurationError(
                    f'Task {self.name}: object_sets needs at least one object in {required!r}.'
                )

    def load_trajectory(self, directory: Path) -> WristTrajectory:
        """Read the post-grasp trajectory from the configuration folder."""
        return WristTrajectory.load(directory / 'trajectories' / self.trajectory)


def task_names(directory: Path) -> list[str]:
    """Names of the tasks in a configuration folder, sorted."""
    return sorted(path.stem for path in (directory / 'tasks').glob('*.yaml'))


def load_task(name: str, directory: Path) -> Task:
    """Read a task by name from the configuration folder; see `load_named`."""
    return load_named(Task, directory / 'tasks', name)
