# SPDX-License-Identifier: Apache-2.0
"""The control box of an xArm6: modes, states, errors and return codes, on a simulated arm.

What the vendor's SDK answers and what the box does are as its sources and public documents have
them; the numbers are in `deft_arm.xarm.codes`. The box tells with every answer whether an error or
a warning is pending and whether its state allows motion. The SDK makes return codes of three kinds
of that: motions (`set_servo_angle`, and `set_tcp_load`, too) answer 1 with an error and 9 in
states 4 and 5; `motion_enable`, `set_mode` and `set_state` answer 0 always; all else answers 1
with an error and 2 with a warning, whether it was carried out or not.

It moves in position mode only, to queued joint positions. Not simulated: reduced mode, its own
model for self-collision (C22).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

import numpy as np

from deft_arm.planning.kinematics import ArmKinematics
from deft_arm.xarm.codes import (
    ALL_JOINTS,
    ALL_JOINTS_ENABLED,
    HAS_ERROR,
    HAS_WARNING,
    OK,
    STATE_NOT_READY,
    Mode,
    State,
)
from deft_core.validation import FloatArray
from deft_sim.xarm_motion import QueuedMove, SetpointMotion

BUTTON: Final = 1  # C1
SERVO_ERRORS: Final = range(10, 18)  # C10 to C17
JOINT_LIMIT: Final = 23  # C23
UNKNOWN: Final = 29  # C29
COLLISION: Final = 31  # C31
BOUNDARY: Final = 35  # C35
WRONG_PARAMETER: Final = 12  # a warning
MOST_COMMANDS: Final = 512
_FENCE_STEPS: Final = 5  # setpoint periods between two looks at the boundary
# Initial speeds, used wherever a command asks for 0: the last value counts.
_FIRST_SPEED: Final = 0.349  # [rad/s]
_FIRST_ACCELERATION: Final = 8.73  # [rad/s^2]
_SET_READY, _SET_PAUSE, _SET_STOP, _SET_SLOW_STOP = 0, 3, 4, 6


@dataclass(frozen=True, eq=False)
class BoxReport:
    """What the box tells about itself."""

    state: int  # `State`
    mode: int  # `Mode`
    waiting: int  # commands in the queue, the running one included
    motors: int  # one bit per enabled motor
    error: int  # 0 without
    warning: int  # 0 without
    tool_offset: FloatArray  # (6,) [mm, rad] tool centre point in the flange


class SimulatedXArm:
    """One control box; every method may be called from any thread.

    It starts as after switching on: motors off, stopped, without an error.
    The setpoint, where the arm stands, and the joint limits have shape (6,). [rad].
    """

    def __init__(
        self,
        setpoint: FloatArray,
        lower: FloatArray,
        upper: FloatArray,
        kinematics: ArmKinematics,
    ) -> None:
        """Switch on."""
        self._lock = threading.RLock()
        self._motion = SetpointMotion(setpoint)
        self._lower, self._upper = lower, upper
        self._kinematics = kinematics
        self._mode = int(Mode.POSITION)
        self._state = int(State.STOPPED)
        self._motors = 0
        self._error = 0
        self._warning = 0
        self._speed, self._acceleration = _FIRST_SPEED, _FIRST_ACCELERATION
        self._button = False
        self._steps = 0
        self._boundary: tuple[FloatArray, FloatArray] | None = None
        self.fence: tuple[FloatArray, FloatArray] | None = None
        self.sensitivity = 3
        self.tool_mass = 0.0
        self.tool_offset: FloatArray = np.zeros(6)
        self.connected = True

    def report(self) -> BoxReport:
        """The newest report."""
        with self._lock:
            return BoxReport(
                self._state,
                self._mode,
                len(self._motion.queue),
                self._motors,
                self._error,
                self._warning,
                self.tool_offset.copy(),
            )

    def setpoint(self) -> FloatArray:
        """Where the arm is told to be. Shape (6,). [rad]."""
        with self._lock:
            return self._motion.setpoint.copy()

    def flange(self, joints: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Rotation, shape (3, 3), and position, shape (3,) [m], of the flange at given joints."""
        with self._lock:
            rotation, _ = self._kinematics.forward(joints)
            return rotation, self._kinematics.flange_position(joints)

    # --- What the driver calls; each answers with a return code of the SDK.

    def clear_error(self) -> int:
        """Clear the error; one whose cause lasts comes back."""
        with self._lock:
            if self._error:
                self._error = BUTTON if self._button else 0
            return self._answer()

    def clear_warning(self) -> int:
        """Clear the warning."""
        with self._lock:
            self._warning = 0
            return self._answer()

    def enable_motors(self, joint: int, *, on: bool) -> int:
        """Switch motors on or off; 8 means all."""
        with self._lock:
            bits = ALL_JOINTS_ENABLED if joint == ALL_JOINTS else 1 << (joint - 1)
            if not self._button:
                self._motors = self._motors | bits if on else self._motors & ~bits
            if not on:
                self._halt(State.STOPPED)
            return OK

    def set_mode(self, mode: int) -> int:
        """Change the mode; the arm is not ready afterwards."""
        with self._lock:
            if mode not in set(Mode):
                self._warning = WRONG_PARAMETER
                return OK
            self._mode = mode
            self.configure()
            return OK

    def set_state(self, state: int) -> int:
        """0 ready, 3 pause, 4 stop, 6 stop gently; with an error it stays stopped."""
        with self._lock:
            if state in (_SET_STOP, _SET_SLOW_STOP):
                self._halt(State.STOPPED)
            elif state not in (_SET_READY, _SET_PAUSE):
                self._warning = WRONG_PARAMETER
            elif not self._error:
                self._state = int(State.READY if state == _SET_READY else State.PAUSED)
            return OK

    def move_joints(
        self, target: FloatArray, speed: float, acceleration: float, *, blends: bool
    ) -> int:
        """Queue a joint move, see `QueuedMove`; 0 for speed or acceleration is the last value.

        Without motors or position mode it is taken and not carried out.
        """
        with self._lock:
            refusal = self._refusal()
            if refusal:
                return refusal
            self._speed = speed or self._speed
            self._acceleration = acceleration or self._acceleration
            if self._motors == ALL_JOINTS_ENABLED and self._mode == Mode.POSITION:
                self._motion.queue.append(
                    QueuedMove(np.array(target), self._speed, self._acceleration, blends)
                )
            return OK

    def set_tool_mass(self, mass: float) -> int:
        """Mass of the tool. [kg]. A motion for the SDK, which other settings are not."""
        with self._lock:
            refusal = self._refusal()
            if not refusal:
                self.tool_mass = mass
            return refusal

    def fail(self, error: int) -> None:
        """An error stops the arm, empties the queue and leaves position mode, state 4."""
        with self._lock:
            if self._error:
                return
            self._error = error
            self._mode = int(Mode.POSITION)
            self._halt(State.STOPPED)

    def warn(self, warning: int) -> None:
        """A warning is pending until somebody clears it."""
        with self._lock:
            self._warning = warning

    def configure(self) -> int:
        """A setting was changed, which makes the arm not ready."""
        with self._lock:
            self._halt(State.STOPPED if self._error else State.CHANGED)
            return self._answer()

    def set_boundary(self, lower: FloatArray, upper: FloatArray) -> int:
        """Box for the flange, in effect while the fence is on. Shapes (3,). [m]."""
        with self._lock:
            self._boundary = (np.array(lower), np.array(upper))
            return self.configure()

    def set_fence(self, *, on: bool) -> int:
        """Switch the fence on or off."""
        with self._lock:
            self.fence = self._boundary if on else None
            return self.configure()

    # --- What happens to the box.

    def press_button(self, *, pressed: bool) -> None:
        """The emergency stop button: power off the motors; the error stays after the release."""
        with self._lock:
            self._button = pressed
            if pressed:
                self.fail(BUTTON)
                self._motors = 0

    def collided(self, measured: FloatArray) -> None:
        """The arm has hit something and stays where it is. Shape (6,). [rad]."""
        with self._lock:
            if self.sensitivity > 0:
                self.fail(COLLISION)
                self._motion.hold(measured)

    def place(self, setpoint: FloatArray) -> None:
        """Stand somewhere else at once, as only a simulation can. Shape (6,). [rad]."""
        with self._lock:
            self._motion.hold(setpoint)

    def step(self, period: float, measured: FloatArray) -> FloatArray:
        """Go on for a setpoint period [s]; the setpoint at its end. Shapes (6,). [rad]."""
        with self._lock:
            self._watch_fence(measured)
            self._watch_limits()
            setpoint = self._motion.step(period, paused=self._state == State.PAUSED)
            if self._state in (State.READY, State.MOVING):
                self._state = int(State.MOVING if self._motion.moving else State.READY)
            return setpoint

    def _watch_fence(self, measured: FloatArray) -> None:
        self._steps += 1
        if self.fence is None or self._steps % _FENCE_STEPS or self._error:
            return
        flange = self._kinematics.flange_position(measured)
        if np.any(flange < self.fence[0]) or np.any(flange > self.fence[1]):
            self.fail(BOUNDARY)

    def _watch_limits(self) -> None:
        """A command to beyond a joint limit is taken; the error comes when it is its turn."""
        if self._motion.queue:
            target = self._motion.queue[0].target
            if np.any(target < self._lower) or np.any(target > self._upper):
                self.fail(JOINT_LIMIT)

    def _answer(self) -> int:
        """Return code of a call that the SDK hands on as the box gave it."""
        if self._error:
            return HAS_ERROR
        return HAS_WARNING if self._warning else OK

    def _refusal(self) -> int:
        """Return code of a motion command that cannot be taken, 0 where it can."""
        if self._error:
            return HAS_ERROR
        return STATE_NOT_READY if self._state in (State.STOPPED, State.CHANGED) else OK

    def _halt(self, state: State) -> None:
        self._motion.stop()
        self._state = int(state)
