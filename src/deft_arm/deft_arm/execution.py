# SPDX-License-Identifier: Apache-2.0
"""Runs a motion plan phase by phase: what to send, and whether the arm follows.

Two clocks: phases last as long as planned on the ROS clock, which a simulation may slow down or
stop; every time-out counts real, monotonic seconds.
"""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from deft_arm.planning.paths import JointPath, braked
from deft_arm.planning.plan import MotionPlan, Phase, PlannedPhase
from deft_core.clock import Deadline, MonotonicClock
from deft_core.configuration import bounds
from deft_core.validation import FloatArray

_FINISH_HOLD: Final = 0.25  # [s] in which a stopping arm comes to rest
_STANDSTILL_TIME: Final = 0.1  # [s] over which an arm that was stopped is seen to stand
_AHEAD: Final = 0.5  # [s] a controller with a pace of its own may be ahead of the plan
_NEARLY_ALL: Final = 0.8  # share of a path after which a controller may say that it is done
_BEGIN_TIME: Final = 0.5  # [s] until a controller has begun with what it was sent
_STANDSTILL_MOTION: Final = 0.01  # [rad] an arm moves less than this while it stands


class Failure(enum.StrEnum):
    """Why a motion ended early; the values are error constants of the actions."""

    COLLISION = 'COLLISION'
    STALE_STATE = 'STALE_STATE'
    MOTION_TIMEOUT = 'MOTION_TIMEOUT'


def setting(default: Any, minimum: float, maximum: float, unit: str, doc: str) -> Any:
    """Field of a dataclass of settings, whose value must lie between two numbers."""
    return field(default=default, metadata={**bounds(minimum, maximum, unit), 'doc': doc})


@dataclass(frozen=True)
class ExecutionSettings:
    """Tolerances and time-outs while moving; time-outs count real time."""

    goal_tolerance: float = setting(0.05, 0.001, 0.5, 'rad', 'of each joint at the end of a phase')
    path_tolerance: float = setting(0.25, 0.01, 1.0, 'rad', 'of each joint from its recent path')
    path_window: float = setting(0.5, 0.0, 5.0, 's', 'how far back the recent path reaches')
    lateness: float = setting(
        2.0, 1.0, 20.0, '', 'times its planned duration that a phase may take at its own pace'
    )
    settle_timeout: float = setting(
        5.0, 0.1, 60.0, 's', 'to arrive after the planned end of a phase'
    )
    state_timeout: float = setting(
        2.0, 0.05, 60.0, 's', 'without joint states, or with a ROS clock that stands'
    )


class Observed(NamedTuple):
    """What is known about the arm in one cycle."""

    now: float  # [s] ROS time
    joint_positions: FloatArray  # (6,) [rad] newest measurement
    age: float  # [s] real time since it was received
    idle: bool = True  # whether the controller says that it has carried out all that it was sent


class Update(NamedTuple):
    """What one cycle brought: a phase to send now, the good end, or why to stop and what to do."""

    start: PlannedPhase | None = None
    finished: bool = False
    failure: Failure | None = None
    message: str = ''


class PassedMark(NamedTuple):
    """Measured arm, shape (6,) [rad], at the end of one displacement, and the ROS time [s]."""

    stamp: float
    joint_positions: FloatArray


class PlanExecution:
    """One run of a plan; call `update` in every cycle until it finishes or fails."""

    def __init__(
        self,
        plan: MotionPlan,
        settings: ExecutionSettings,
        clock: MonotonicClock = time.monotonic,
        *,
        own_pace: bool = False,
    ) -> None:
        """Prepare the first phase.

        At its `own_pace` a controller decides on the time: where the arm is counts, and not when.
        """
        self._own_pace = own_pace
        self._passed = 0  # index of the setpoint that the arm has come to, at its own pace
        self._phases = plan.phases
        self._duration = plan.duration
        self._settings = settings
        self._clock = clock
        self._index = -1
        self._begin = 0.0
        self._latest = -np.inf
        self._moving_clock = Deadline(settings.state_timeout, clock)
        self._settle: Deadline | None = None
        self._measured: list[tuple[float, FloatArray]] = []  # (ROS time, joints) of this phase
        self.marks: list[PassedMark] = []  # displacements passed so far

    @property
    def phase(self) -> PlannedPhase:
        """The running phase, the first one before the start."""
        return self._phases[max(self._index, 0)]

    def progress(self, now: float) -> float:
        """Share of the running phase that has passed, 0 to 1. Time in ROS seconds."""
        return min(1.0, self._along(now) / self.phase.duration)

    def total_progress(self, now: float) -> float:
        """Share of the whole plan that has passed, 0 to 1. Time in ROS seconds."""
        before = sum(phase.duration for phase in self._phases[: max(self._index, 0)])
        along = min(self._along(now), self.phase.duration)
        return min(1.0, (before + along) / self._duration)

    def stop_path(self, observed: Observed) -> JointPath:
        """Short path that holds the arm where it is, as after a collision.

        Where the measurement is stale the setpoint of this moment is held instead: an old
        measurement would throw the arm back.
        """
        stale = observed.age > self._settings.state_timeout
        target = observed.joint_positions
        if stale and self._index >= 0:
            target = self.phase.arm.sample(self._elapsed(observed.now))
        return JointPath(np.array([0.0, _FINISH_HOLD]), np.stack([target, target]))

    def brake_path(self, observed: Observed) -> JointPath:
        """Short path that lets the arm come to rest on its way, which is known to be free."""
        if self._index < 0:
            return self.stop_path(observed)
        return braked(self.phase.arm, self._elapsed(observed.now), _FINISH_HOLD)

    def update(self, observed: Observed) -> Update:
        """One cycle, with the newest measurement and time."""
        if observed.now > self._latest:
            self._latest = observed.now
            self._moving_clock = Deadline(self._settings.state_timeout, self._clock)
        problem = self._stale(observed)
        if problem:
            return Update(failure=Failure.STALE_STATE, message=problem)
        if self._index < 0:
            return self._start_next(observed.now)
        elapsed = self._elapsed(observed.now)
        if self._own_pace:
            return self._update_own_pace(observed, elapsed)
        distance = self._distance_from_path(observed.joint_positions, elapsed)
        self._measured.append((observed.now, np.array(observed.joint_positions)))
        if distance > self._settings.path_tolerance:
            return self._off_path(distance)
        self._record(observed, elapsed)
        if elapsed < self.phase.duration:
            return Update()
        return self._arrive(observed)

    def _update_own_pace(self, observed: Observed, elapsed: float) -> Update:
        """One cycle while the controller decides on the time."""
        path = self.phase.arm
        # Not farther ahead than the arm can be: a path may come back to where it was.
        end = int(np.searchsorted(path.times, elapsed + _AHEAD, side='right'))
        reach = path.positions[self._passed : max(end, self._passed + 1)]
        distances = np.abs(reach - observed.joint_positions).max(axis=1)
        nearest = int(np.argmin(distances))
        if distances[nearest] > self._settings.path_tolerance:
            return Update(
                failure=Failure.COLLISION,
                message=f'During {self.phase.name} the arm is {distances[nearest]:.2f} rad off '
                f'its path, allowed are {self._settings.path_tolerance} rad; was it pushed, or '
                'does another program move it? Look at the arm and return home.',
            )
        self._passed += nearest
        along = float(path.times[self._passed])
        self._record(observed, along)
        # A path may end where it begins: being there is not enough, it must have been followed.
        over = along >= _NEARLY_ALL * path.duration or (
            elapsed >= path.duration and not self._moves()
        )
        if over and observed.idle and self._reached(observed):
            return self._arrive(observed)
        # Nothing left to do and not there, or much too late: only the settling time remains.
        stuck = observed.idle and elapsed > _BEGIN_TIME and self._moves()
        if stuck or elapsed > self._settings.lateness * path.duration + _BEGIN_TIME:
            return self._arrive(observed)
        self._settle = None
        return Update()

    def _reached(self, observed: Observed) -> bool:
        rest = np.abs(observed.joint_positions - self.phase.arm.positions[-1])
        return bool(rest.max() <= self._settings.goal_tolerance)

    def _off_path(self, distance: float) -> Update:
        """Tell an arm that was stopped on its way from one that only comes late.

        Only the first is the fault of the grasp. A slow machine or a late command makes an arm
        late too: it then still moves, or has not begun to.
        """
        now, last = self._measured[-1]
        before = [q for stamp, q in self._measured if stamp <= now - _STANDSTILL_TIME]
        begun = np.abs(last - self._measured[0][1]).max() > _STANDSTILL_MOTION
        stands = bool(before) and np.abs(last - before[-1]).max() < _STANDSTILL_MOTION
        if begun and stands:
            return Update(
                failure=Failure.COLLISION,
                message=f'During {self.phase.name} the arm stopped {distance:.2f} rad before its '
                'path, as after a collision or a stop of its controller; look at the arm and '
                'return home.',
            )
        return Update(
            failure=Failure.MOTION_TIMEOUT,
            message=f'During {self.phase.name} the arm came {distance:.2f} rad behind its path, '
            f'allowed are {self._settings.path_tolerance} rad; is the machine overloaded? Where '
            'it simulates, a lower real_time_factor helps.',
        )

    def _start_next(self, now: float) -> Update:
        self._index += 1
        self._measured = []
        self._passed = 0
        self._begin = now
        self._settle = None
        return Update(start=self.phase)

    def _arrive(self, observed: Observed) -> Update:
        """Wait at the end of a phase until the joints are there."""
        rest = np.abs(observed.joint_positions - self.phase.arm.positions[-1])
        followed = not self._own_pace or not self._moves() or self._passed > 0
        if self._reached(observed) and observed.idle and followed:
            if self._index + 1 < len(self._phases):
                return self._start_next(observed.now)
            return Update(finished=True)
        if self._settle is None:
            self._settle = Deadline(self._settings.settle_timeout, self._clock)
        if self._settle.passed:
            joint = int(np.argmax(rest))
            return Update(
                failure=Failure.MOTION_TIMEOUT,
                message=f'At the end of {self.phase.name} joint {joint + 1} is still '
                f'{rest[joint]:.3f} rad away after {self._settings.settle_timeout} s'
                + ('' if observed.idle else ', and the controller is not idle')
                + '; is the controller running and the arm free?',
            )
        return Update()

    def _stale(self, observed: Observed) -> str:
        limit = self._settings.state_timeout
        if observed.age > limit:
            return (
                f'No joint state for {observed.age:.1f} s, allowed are {limit} s; is the driver '
                'of the arm running?'
            )
        if self._moving_clock.passed:
            return f'The ROS clock has stood still for {limit} s; is the simulation paused?'
        if observed.now < self._begin and self._index >= 0:
            return 'The ROS clock was set back during a motion; return home and start again.'
        return ''

    def _distance_from_path(self, joints: FloatArray, elapsed: float) -> float:
        """Distance of the farthest joint from the nearest setpoint of the recent path. [rad]."""
        path = self.phase.arm
        since = elapsed - self._settings.path_window
        recent = path.positions[(path.times >= since) & (path.times <= elapsed)]
        near = np.concatenate([recent, path.sample(elapsed)[None]])
        return float(np.abs(near - joints).max(axis=1).min())

    def _record(self, observed: Observed, elapsed: float) -> None:
        """Keep the measured arm at the end of each displacement."""
        if self.phase.name is not Phase.FOLLOW_TRAJECTORY:
            return
        passed = int(np.searchsorted(self.phase.arm.marks, elapsed + 1e-9, side='right'))
        while len(self.marks) < passed:
            self.marks.append(PassedMark(observed.now, np.array(observed.joint_positions)))

    def _along(self, now: float) -> float:
        """Time along the path of this phase. [s]."""
        if self._own_pace and self._passed:
            return float(self.phase.arm.times[self._passed])
        return 0.0 if self._own_pace and self._moves() else self._elapsed(now)

    def _moves(self) -> bool:
        """Whether the phase leads farther than the arm may be off at its end."""
        positions = self.phase.arm.positions
        return bool(np.abs(positions - positions[0]).max() > self._settings.goal_tolerance)

    def _elapsed(self, now: float) -> float:
        return max(0.0, now - self._begin) if self._index >= 0 else 0.0
