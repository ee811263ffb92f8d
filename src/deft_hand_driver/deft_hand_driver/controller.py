# SPDX-License-Identifier: Apache-2.0
"""Turns joint targets into motor commands that never leave travel, speed and step limits.

The controller starts disabled, is seeded from the measured pose when it is enabled, and latches
faults. In a fault it holds the pose that was measured when the fault came up. A motion that is
interrupted comes to rest first, then holds what is measured, and waits for a new command.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deft_core.errors import DeviceError, InvalidInputError, SafetyError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.validation import FloatArray, finite_array
from deft_hand_driver.joint_map import JointMap


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
        """Intended motor commands at a time [s]. Shape (n,). [rad]."""
        # Computed, the end would miss the target by the last bit, and nothing would ever settle.
        if now - self.begin >= self.duration:
            return self.target
        share = max(0.0, (now - self.begin) / self.duration)
        return np.asarray(self.start + share * (self.target - self.start), dtype=np.float64)


class HandController:
    """State machine and command filter of one hand.

    All times are seconds of one clock that the caller chooses; it may jump, in either direction,
    without a jump of the motors.

    Attributes:
        sequence: Sequence number of the command that is executed.
        fault_reason: Why the controller is in fault, else empty.
        rejected: Number of commands refused since the start.
        clipped: Number of commands cut to the travel since the start.
        interruption: Why the running command was broken off, else empty.
    """

    def __init__(self, joint_map: JointMap) -> None:
        """Start disabled, without a measurement.

        Args:
            joint_map: Of the hand with its n motors.
        """
        self._map = joint_map
        self._limits = joint_map.description
        self._joint_lower, self._joint_upper = self._limits.joint_limits()
        self._mode = HandMode.DISABLED
        self._measured: FloatArray | None = None
        self._sent: FloatArray | None = None
        self._ramp: _Ramp | None = None
        self._updated: float | None = None
        self._velocity: FloatArray | None = None
        self._braking = False
        self.sequence = 0
        self.fault_reason = ''
        self.interruption = ''
        self.rejected = 0
        self.clipped = 0

    @property
    def mode(self) -> HandMode:
        """Disabled, enabled or in fault."""
        return self._mode

    @property
    def measured(self) -> FloatArray | None:
        """Last measured motor positions, None before the first. Shape (n,). [rad]."""
        return self._measured

    @property
    def sent(self) -> FloatArray | None:
        """Motor commands that are really sent, None where none are. Shape (n,). [rad]."""
        return self._sent

    @property
    def braking(self) -> bool:
        """Whether an interrupted motion has not come to rest yet."""
        return self._braking

    @property
    def settled(self) -> bool:
        """Whether the commanded target has been sent in full."""
        if self._mode is not HandMode.ENABLED or self._ramp is None or self._sent is None:
            return False
        if self.interruption:
            return False
        return bool(np.array_equal(self._sent, self._ramp.target))

    def observe(self, motor_positions: npt.ArrayLike) -> None:
        """Take a measurement.

        Args:
            motor_positions: In `HandDescription.motor_names` order. Shape (n,). [rad].

        Raises:
            InvalidInputError: Not n finite numbers.
        """
        count = len(self._limits.motor_names)
        self._measured = finite_array('motor positions', motor_positions, (count,))

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
                'The hand cannot be enabled before its motors report positions; is the bus '
                'connected, or what publishes /hand/motor_state running?'
            )
        if self._mode is HandMode.DISABLED:
            self._hold(self._measured)
            self._mode = HandMode.ENABLED

    def disable(self) -> None:
        """Stop commanding the motors; a latched fault stays."""
        if self._mode is HandMode.ENABLED:
            self._mode = HandMode.DISABLED
            self._hold(None)

    def interrupt(self, reason: str) -> None:
        """Break the running command off: come to rest, then hold what is measured.

        Only a command with another sequence number is taken afterwards.

        Args:
            reason: What happened.
        """
        if self._mode is not HandMode.ENABLED or self.interruption:
            return
        self.interruption = reason
        self._braking = True

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
        self._hold(self._measured)

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
            SafetyError: The hand is not enabled, or the command is the one that was broken off.
        """
        try:
            clipped = self._start_ramp(joint_positions, duration, sequence, now)
        except (InvalidInputError, SafetyError):
            self.rejected += 1
            raise
        self.clipped += clipped
        return clipped

    def update(self, now: float) -> FloatArray | None:
        """Motor commands to send in this cycle.

        Args:
            now: Current time. [s].

        Returns:
            In `HandDescription.motor_names` order, None where nothing may be sent.
            Shape (n,). [rad].
        """
        if self._mode is HandMode.DISABLED or self._sent is None:
            self._updated = None
            return None
        if self._mode is HandMode.FAULT:
            return self._sent
        elapsed = 0.0 if self._updated is None else now - self._updated
        self._updated = now
        if elapsed < 0.0:
            self._restart_ramp(now, elapsed)
            return self._sent
        before = self._sent
        if self._braking:
            self._brake(now, elapsed)
        elif self._ramp is not None:
            self._sent = self._toward(self._ramp.at(now), elapsed)
        if elapsed > 0.0:
            self._velocity = (self._sent - before) / elapsed
        return self._sent

    def _toward(self, wanted: FloatArray, elapsed: float) -> FloatArray:
        """What may be sent on the way to wanted motor commands [rad] after a time [s]."""
        assert self._sent is not None
        step = min(self._limits.motor_step_limit, self._limits.motor_speed_limit * elapsed)
        change = np.clip(wanted - self._sent, -step, step)
        reached = np.abs(wanted - self._sent) <= step
        return np.where(reached, wanted, self._sent + change)

    def _brake(self, now: float, elapsed: float) -> None:
        """Slow down; at rest, go slowly to what is measured and stay there."""
        assert self._sent is not None
        velocity = np.zeros_like(self._sent) if self._velocity is None else self._velocity
        less = self._limits.motor_deceleration * elapsed
        slower = np.sign(velocity) * np.maximum(0.0, np.abs(velocity) - less)
        wanted = np.clip(self._sent + slower * elapsed, self._map.lower, self._map.upper)
        # Where the hand was enabled outside its travel it may stay there.
        self._sent = self._toward(np.where(slower == 0.0, self._sent, wanted), elapsed)
        if elapsed > 0.0 and not np.any(slower) and self._measured is not None:
            self._braking = False
            self._ramp = self._ramp_from(self._sent, self._measured, 0.0, now)

    def _restart_ramp(self, now: float, elapsed: float) -> None:
        """The clock was set back: go on from where the motors are."""
        if self._ramp is not None and self._sent is not None:
            remaining = max(0.0, self._ramp.begin + self._ramp.duration - (now - elapsed))
            self._ramp = _Ramp(self._sent, self._ramp.target, now, remaining)

    def _ramp_from(
        self, start: FloatArray, target: FloatArray, duration: float, now: float
    ) -> _Ramp:
        """Ramp between motor commands [rad], stretched where a motor would be too fast."""
        longest = float(np.abs(target - start).max())
        return _Ramp(start, target, now, max(duration, longest / self._limits.motor_speed_limit))

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
        if self.interruption and sequence == self.sequence:
            raise SafetyError(
                f'Hand command {sequence} was broken off ({self.interruption}); send a new one.'
            )
        inside = np.clip(joints, self._joint_lower, self._joint_upper)
        # After an interruption the way begins where the hand is, not where it was told to be.
        start = self._measured if self.interruption and self._measured is not None else self._sent
        self._ramp = self._ramp_from(start, self._map.motors_from_joints(inside), duration, now)
        self._updated = now
        self._braking = False
        self.interruption = ''
        self.sequence = sequence
        return bool(np.any(inside != joints))

    def _hold(self, motors: FloatArray | None) -> None:
        """Command exactly these positions, or nothing, until a command comes."""
        self._sent = motors
        self._ramp = None
        self._updated = None
        self._velocity = None
        self._braking = False
        self.interruption = ''
