# SPDX-License-Identifier: Apache-2.0
"""Turns joint targets into motor commands that never leave travel, speed and step limits.

The controller starts disabled, is seeded from the measured pose when it is enabled, and latches
faults. In a fault it holds the pose that was measured when the fault came up.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deft_core.errors import DeviceError, InvalidInputError, SafetyError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.validation import FloatArray, finite_array
from deft_hand_driver.description import MOTOR_NAMES
from deft_hand_driver.tendon_map import TendonMap


class HandMode(enum.Enum):
    """What the controller does with commands."""

    DISABLED = 'disabled'
    ENABLED = 'enabled'
    FAULT = 'fault'


@dataclass(frozen=True, eq=False)
class _Ramp:
    """Linear way of the motor commands from where they are to a target."""

    start: FloatArray
    target: FloatArray
    begin: float
    duration: float

    def at(self, now: float) -> FloatArray:
        """Intended motor commands at a time [s]. Shape (12,). [rad]."""
        if self.duration <= 0.0:
            return self.target
        share = min(1.0, max(0.0, (now - self.begin) / self.duration))
        return np.asarray(self.start + share * (self.target - self.start), dtype=np.float64)


class HandController:
    """State machine and command filter of one hand.

    All times are seconds of one clock that the caller chooses; it may jump, in either direction,
    without a jump of the motors.

    Attributes:
        sequence: Sequence number of the command that is executed.
        fault_reason: Why the controller is in fault, else empty.
        rejected: Number of commands refused since the start.
    """

    def __init__(self, tendon_map: TendonMap) -> None:
        """Start disabled, without a measurement."""
        self._map = tendon_map
        self._limits = tendon_map.description
        self._joint_lower, self._joint_upper = self._limits.joint_limits()
        self._mode = HandMode.DISABLED
        self._measured: FloatArray | None = None
        self._sent: FloatArray | None = None
        self._ramp: _Ramp | None = None
        self._updated: float | None = None
        self.sequence = 0
        self.fault_reason = ''
        self.rejected = 0

    @property
    def mode(self) -> HandMode:
        """Disabled, enabled or in fault."""
        return self._mode

    @property
    def measured(self) -> FloatArray | None:
        """Last measured motor positions, None before the first. Shape (12,). [rad]."""
        return self._measured

    @property
    def sent(self) -> FloatArray | None:
        """Motor commands that were really sent, None before the first. Shape (12,). [rad]."""
        return self._sent

    @property
    def settled(self) -> bool:
        """Whether the commanded target has been sent in full."""
        if self._mode is not HandMode.ENABLED or self._ramp is None or self._sent is None:
            return False
        return bool(np.array_equal(self._sent, self._ramp.target))

    def observe(self, motor_positions: npt.ArrayLike) -> None:
        """Take a measurement.

        Args:
            motor_positions: In `MOTOR_NAMES` order. Shape (12,). [rad].

        Raises:
            InvalidInputError: Not twelve finite numbers.
        """
        self._measured = finite_array('motor positions', motor_positions, (len(MOTOR_NAMES),))

    def enable(self) -> None:
        """Start to command the motors, holding what is measured.

        Raises:
            DeviceError: Nothing was measured yet.
            SafetyError: A fault is latched.
        """
        if self._mode is HandMode.FAULT:
            raise SafetyError(
                f'The hand is in fault ({self.fault_reason}); remove the cause and call '
                '/hand/clear_fault before enabling.'
            )
        if self._measured is None:
            raise DeviceError(
                'The hand cannot be enabled before its motors report positions on '
                '/hand/motor_state.'
            )
        if self._mode is HandMode.DISABLED:
            self._hold(self._measured)
            self._mode = HandMode.ENABLED

    def disable(self) -> None:
        """Stop commanding the motors; a latched fault stays."""
        if self._mode is HandMode.ENABLED:
            self._mode = HandMode.DISABLED

    def fault(self, reason: str) -> None:
        """Latch a fault and hold the measured pose; the first reason is kept.

        Args:
            reason: What happened and what to do.
        """
        if self._mode is HandMode.FAULT:
            return
        self._mode = HandMode.FAULT
        self.fault_reason = reason
        # Held as it was at this moment: following the measurement would let the grip creep open.
        self._sent = self._measured
        self._ramp = None

    def clear_fault(self) -> None:
        """Leave the fault; the hand is disabled afterwards."""
        if self._mode is HandMode.FAULT:
            self._mode = HandMode.DISABLED
            self.fault_reason = ''

    def command(
        self, joint_positions: npt.ArrayLike, duration: float, sequence: int, now: float
    ) -> bool:
        """Start a ramp to joint positions; on refusal the running ramp goes on.

        Args:
            joint_positions: Target in `HAND_JOINT_NAMES` order, cut to the travel.
                Shape (16,). [rad].
            duration: Time of the ramp; stretched where a motor would be too fast. [s].
            sequence: Number of the command.
            now: Current time. [s].

        Returns:
            Whether the target was cut to the travel.

        Raises:
            InvalidInputError: Not sixteen finite numbers, or a duration out of range.
            SafetyError: The hand is not enabled.
        """
        try:
            return self._start_ramp(joint_positions, duration, sequence, now)
        except (InvalidInputError, SafetyError):
            self.rejected += 1
            raise

    def update(self, now: float) -> FloatArray | None:
        """Motor commands to send in this cycle.

        Args:
            now: Current time. [s].

        Returns:
            In `MOTOR_NAMES` order, None where nothing may be sent. Shape (12,). [rad].
        """
        if self._mode is HandMode.DISABLED or self._sent is None:
            self._updated = None
            return None
        if self._mode is HandMode.FAULT or self._ramp is None:
            return self._sent
        elapsed = 0.0 if self._updated is None else now - self._updated
        self._updated = now
        if elapsed < 0.0:
            # The clock was set back: go on from where the motors are.
            remaining = max(0.0, self._ramp.begin + self._ramp.duration - (now - elapsed))
            self._ramp = _Ramp(self._sent, self._ramp.target, now, remaining)
            return self._sent
        step = min(self._limits.motor_step_limit, self._limits.motor_speed_limit * elapsed)
        wanted = self._ramp.at(now)
        change = np.clip(wanted - self._sent, -step, step)
        reached = np.abs(wanted - self._sent) <= step
        self._sent = np.where(reached, wanted, self._sent + change)
        return self._sent

    def _start_ramp(
        self, joint_positions: npt.ArrayLike, duration: float, sequence: int, now: float
    ) -> bool:
        joints = finite_array('hand joint targets', joint_positions, (len(HAND_JOINT_NAMES),))
        if not 0.0 <= duration <= self._limits.duration_limit:
            raise InvalidInputError(
                f'The duration of a hand command must be 0 to {self._limits.duration_limit} s, '
                f'got {duration}.'
            )
        if not np.isfinite(now):
            raise InvalidInputError(f'The time of a hand command must be finite, got {now}.')
        if self._mode is not HandMode.ENABLED or self._sent is None:
            raise SafetyError(
                f'The hand is {self._mode.value} and takes no commands; call /hand/enable'
                + (' after /hand/clear_fault.' if self._mode is HandMode.FAULT else '.')
            )
        inside = np.clip(joints, self._joint_lower, self._joint_upper)
        target = self._map.motors_from_joints(inside)
        longest = float(np.abs(target - self._sent).max())
        stretched = max(duration, longest / self._limits.motor_speed_limit)
        self._ramp = _Ramp(self._sent, target, now, stretched)
        self._updated = now
        self.sequence = sequence
        return bool(np.any(inside != joints))

    def _hold(self, motors: FloatArray) -> None:
        """Command exactly these positions until a command comes."""
        self._sent = motors
        self._ramp = None
        self._updated = None
