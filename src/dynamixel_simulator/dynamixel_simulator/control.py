# SPDX-License-Identifier: Apache-2.0
"""Control loops of a servo's firmware, in pulses of its position sensor.

Source: e-Manual, "Position PID Gain", "Velocity PI Gain" and the block diagram of current-based
position control. The manual gives the scale of the gains but not the unit of their output and the
rate of the loop; taken here are counts of PWM or current and one millisecond.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from dynamixel_simulator.motor import ServoMotor
from dynamixel_simulator.motor_models import (
    CENTRE_PULSE,
    PULSES_PER_TURN,
    RADIANS_PER_PULSE,
    RADIANS_PER_SECOND,
    OperatingMode,
)
from dynamixel_simulator.profile import PositionProfile, VelocityProfile

FULL_OUTPUT = 885  # counts of PWM at the whole supply voltage
_PULSES_PER_RADIAN = 1.0 / RADIANS_PER_PULSE
_PULSES_PER_VELOCITY = RADIANS_PER_SECOND * _PULSES_PER_RADIAN  # per second, of one count
_MILLISECOND = 0.001


class ControlLoop:
    """What the firmware does between two looks at its registers.

    Attributes:
        mode: An `OperatingMode`.
        enabled: Whether the winding is driven.
        gains: Raw gains by field name.
        goal_output: Goal or limit of PWM. [counts].
        goal_current: Goal or limit of current. [counts].
        position: Trajectory towards the goal position. [pulse].
        velocity: Trajectory towards the goal velocity. [pulse/s].
        output: Share of the supply voltage in the last step, -1 to 1.
        direction: 1, or -1 in reverse mode.
        homing_offset: Added to Present Position. [pulse].
        moving_threshold: Slower than this does not count as moving. [counts].
    """

    def __init__(self, motor: ServoMotor, current_scale: float) -> None:
        """Disabled, with no gains.

        Args:
            motor: What is driven.
            current_scale: Of one count. [A].
        """
        self._motor = motor
        self._current_scale = current_scale
        self.mode = OperatingMode.POSITION
        self.enabled = False
        self.goal_output = 0
        self.goal_current = 0
        self.position = PositionProfile(0.0)
        self.velocity = VelocityProfile()
        self.output = 0.0
        self.direction = 1
        self.homing_offset = 0
        self.moving_threshold = 0
        self._forgotten = 0  # [pulse] of whole turns that are not counted
        self._integral = 0.0
        self.set_gains({})

    @property
    def present_position(self) -> float:
        """[pulse]."""
        turned = self.direction * self._motor.position * _PULSES_PER_RADIAN
        return CENTRE_PULSE + turned - self._forgotten + self.homing_offset

    @property
    def present_velocity(self) -> float:
        """[pulse/s]."""
        return self.direction * self._motor.velocity * _PULSES_PER_RADIAN

    @property
    def moving(self) -> bool:
        """Whether the horn turns faster than the moving threshold."""
        return abs(self.present_velocity) > self.moving_threshold * _PULSES_PER_VELOCITY

    @property
    def present_current(self) -> float:
        """[counts]."""
        return self.direction * self._motor.current / self._current_scale

    def set_gains(self, gains: Mapping[str, int]) -> None:
        """Take gains over.

        Args:
            gains: Raw values of the registers; missing ones are 0.
        """
        self._proportional = gains.get('position_p_gain', 0) / 128.0
        self._derivative = gains.get('position_d_gain', 0) / 16.0 * _MILLISECOND
        self._integrating = gains.get('position_i_gain', 0) / 65536.0 / _MILLISECOND
        self._feedforward = gains.get('feedforward_1st_gain', 0) / 4.0 * _MILLISECOND
        self._velocity_proportional = gains.get('velocity_p_gain', 0) / 128.0
        self._velocity_integrating = gains.get('velocity_i_gain', 0) / 65536.0 / _MILLISECOND

    def count_from_one_turn(self) -> None:
        """Forget whole turns, as a start does; the homing offset stays. The motor must be off."""
        absolute = self.present_position - self.homing_offset
        self._forgotten += math.floor(absolute / PULSES_PER_TURN) * PULSES_PER_TURN
        self.halt()

    def halt(self) -> None:
        """Stop where the horn is and forget what was summed up."""
        self.position.rest(self.present_position)
        self.velocity.rest()
        self._integral = 0.0

    def step(self, duration: float) -> None:
        """Move trajectories and motor on.

        Args:
            duration: [s].
        """
        motor = self._motor
        if not self.enabled:
            self.output = 0.0
            motor.release(duration)
            return
        mode, direction = self.mode, self.direction
        if mode == OperatingMode.CURRENT_BASED_POSITION:
            wanted = self._position_output(duration, abs(self.goal_current))
            self._current(wanted, duration)
        elif mode in (OperatingMode.POSITION, OperatingMode.EXTENDED_POSITION):
            wanted = self._position_output(duration, abs(self.goal_output))
            self.output = motor.drive_voltage(direction * wanted / FULL_OUTPUT, duration)
        elif mode == OperatingMode.CURRENT:
            self._current(float(self.goal_current), duration)
        elif mode == OperatingMode.VELOCITY:
            wanted = self._velocity_output(duration)
            self.output = motor.drive_voltage(direction * wanted / FULL_OUTPUT, duration)
        else:
            share = direction * self.goal_output / FULL_OUTPUT
            self.output = motor.drive_voltage(share, duration)

    def _current(self, counts: float, duration: float) -> None:
        self.output = self._motor.drive_current(
            self.direction * counts * self._current_scale,
            abs(self.goal_output) / FULL_OUTPUT,
            duration,
        )

    def _position_output(self, duration: float, limit: float) -> float:
        """Counts of current or PWM from the position loop."""
        profile = self.position
        profile.step(duration)
        error = profile.position - self.present_position
        lag = profile.velocity - self.present_velocity
        wanted = self._proportional * error + self._derivative * lag
        wanted += self._feedforward * profile.velocity + self._integral
        limited = min(max(wanted, -limit), limit)
        if self._integrating and limited == wanted:  # no winding up beyond the limit
            self._integral += self._integrating * error * duration
        return limited

    def _velocity_output(self, duration: float) -> float:
        """Counts of PWM from the velocity loop."""
        profile = self.velocity
        profile.step(duration)
        error = (profile.velocity - self.present_velocity) / _PULSES_PER_VELOCITY
        wanted = self._velocity_proportional * error + self._integral
        limit = abs(self.goal_output)
        limited = min(max(wanted, -limit), limit)
        if limited == wanted or math.copysign(1.0, error) != math.copysign(1.0, wanted):
            self._integral += self._velocity_integrating * error * duration
        return limited
