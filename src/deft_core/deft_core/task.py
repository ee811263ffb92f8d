# SPDX-License-Identifier: Apache-2.0
"""A task that the hand can be taught: one file in `config/tasks`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deft_core.configuration import bounds, load_named, nearest
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
class Region:
    """A box along the axes of the base frame."""

    lower: tuple[float, float, float] = field(metadata=bounds(-2.0, 2.0, 'm'))
    upper: tuple[float, float, float] = field(metadata=bounds(-2.0, 2.0, 'm'))

    def __post_init__(self) -> None:
        """Refuse an empty box."""
        if not all(low < high for low, high in zip(self.lower, self.upper, strict=True)):
            raise ConfigurationError(
                f'A region must have lower < upper on every axis, got {list(self.lower)} and '
                f'{list(self.upper)}.'
            )


@dataclass(frozen=True)
class PartRule:
    """The part of a body that is taken hold of: its points that lie farthest in a direction."""

    direction: tuple[float, float, float] = field(metadata=bounds(-1.0, 1.0))  # base frame
    # how far the part reaches back from the farthest point, along the direction [m]
    depth: float = field(metadata=bounds(0.005, 0.5, 'm'))

    def __post_init__(self) -> None:
        """Refuse a direction without length."""
        if math.hypot(*self.direction) < 1e-6:
            raise ConfigurationError('The direction of a part must not be zero.')


CHOICES: Final = ('largest', 'tallest', 'longest', 'nearest')


@dataclass(frozen=True)
class ObjectRule:
    """Which of the things on the table is meant, where no click and no sentence says it."""

    # largest: seen area; tallest: height above the table; longest: lying extent; nearest: to the
    # base of the robot
    choose: str = 'largest'
    region: Region | None = None  # where the middle of its seen points lies; anywhere when None
    part: PartRule | None = None  # all of it when None

    def __post_init__(self) -> None:
        """Refuse an unknown criterion."""
        if self.choose not in CHOICES:
            raise ConfigurationError(
                f'choose must name what is chosen by, got {self.choose!r}; '
                f'{nearest(self.choose, CHOICES)}'
            )


WRISTS: Final = ('by_shape', 'side', 'pinch', 'hook')


@dataclass(frozen=True)
class GraspRule:
    """What a prior without a model knows of the task."""

    # side: fingers forward, around an upright thing; pinch: from above, across the long axis;
    # hook: fingers straight down, pulling towards the base; by_shape: side or pinch
    wrist: str = 'by_shape'
    # height of the grasp centre over that of the object, above the table; by the wrist when None
    height: float | None = field(default=None, metadata=bounds(0.0, 2.0))
    # added to the grasp centre, flange axes [m]
    offset: tuple[float, float, float] = field(
        default=(0.0, 0.0, 0.0), metadata=bounds(-0.2, 0.2, 'm')
    )

    def __post_init__(self) -> None:
        """Refuse an unknown wrist."""
        if self.wrist not in WRISTS:
            raise ConfigurationError(
                f'wrist must name a wrist pose, got {self.wrist!r}; {nearest(self.wrist, WRISTS)}'
            )


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
    object: ObjectRule = field(default_factory=ObjectRule)
    grasp: GraspRule = field(default_factory=GraspRule)

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
