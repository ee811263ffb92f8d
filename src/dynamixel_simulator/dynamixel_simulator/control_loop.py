# SPDX-License-Identifier: Apache-2.0
"""Position loop of a servo's firmware, in pulses of its position sensor.

Source: e-Manual, "Position PID Gain" and the block diagram of current-based position control. The
manual gives the scale of the gains but not the unit of their output and the rate of the loop;
taken here are counts of PWM or current and one millisecond.
"""

from __future__ import annotations

import math
from typing import Final

from dynamixel_simulator.motor import ServoMotor
from dynamixel_simulator.motor_models import (
    CENTRE_PULSE,
    PULSES_PER_TURN,
    RADIANS_PER_PULSE,
    OperatingMode,
)

_FULL_OUTPUT: Final = 885  # counts of PWM at the whole supply voltage
_PULSES_PER_RADIAN: Final = 1.0 / RADIANS_PER_PULSE
_MILLISECOND: Final = 0.001


class ControlLoop:
    """What the firmware does between two looks at its registers.

    Its trajectory goes to the goal with the profile velocity, or at once without one.
    """

    def __init__(self, motor: ServoMotor, current_scale: float) -> None:
        """Disabled, with no gains; `current_scale` is one count of current [A]."""
        self._motor = motor
        self._current_scale = current_scale
        # in current-based mode the loop asks for a current, else for a voltage
        self.mode = OperatingMode.POSITION
        self.enabled = False  # whether the winding is driven
        self.goal_current = 0  # largest current in current-based mode [counts]
        self.goal = 0.0  # where the trajectory goes [pulse]
        self.speed = 0.0  # of the trajectory; 0 for a step [pulse/s]
        self.output = 0.0  # share of the supply voltage in the last step, -1 to 1
        self.direction = 1  # 1, or -1 in reverse mode
        self.homing_offset = 0  # added to Present Position [pulse]
        self._trajectory = 0.0
        self._forgotten = 0  # [pulse] of whole turns that are not counted
        self._integral = 0.0
        self.set_gains(0, 0, 0)

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
    def present_current(self) -> float:
        """[counts]."""
        return self.direction * self._motor.current / self._current_scale

    def set_gains(self, proportional: int, integral: int, derivative: int) -> None:
        """Take the raw values of the registers over."""
        self._proportional = proportional / 128.0
        self._integrating = integral / 65536.0 / _MILLISECOND
        self._derivative = derivative / 16.0 * _MILLISECOND

    def count_from_one_turn(self) -> None:
        """Forget whole turns, as a start does; the homing offset stays. The motor must be off."""
        absolute = self.present_position - self.homing_offset
        self._forgotten += math.floor(absolute / PULSES_PER_TURN) * PULSES_PER_TURN
        self.halt()

    def halt(self) -> None:
        """Stop where the horn is and forget what was summed up."""
        self._trajectory = self.goal = self.present_position
        self._integral = 0.0

    def step(self, duration: float) -> None:
        """Move trajectory and motor on. [s]."""
        motor = self._motor
        if not self.enabled:
            self.output = 0.0
            motor.release(duration)
        elif self.mode == OperatingMode.CURRENT_BASED_POSITION:
            counts = self._loop_output(duration, abs(self.goal_current))
            current = self.direction * counts * self._current_scale
            self.output = motor.drive_current(current, duration)
        else:
            counts = self._loop_output(duration, _FULL_OUTPUT)
            self.output = self.direction * counts / _FULL_OUTPUT
            motor.drive_voltage(self.output, duration)

    def _loop_output(self, duration: float, limit: float) -> float:
        """Counts of current or PWM."""
        velocity = self._advance_trajectory(duration)
        error = self._trajectory - self.present_position
        lag = velocity - self.present_velocity
        wanted = self._proportional * error + self._derivative * lag + self._integral
        limited = min(max(wanted, -limit), limit)
        if self._integrating and limited == wanted:  # no winding up beyond the limit
            self._integral += self._integrating * error * duration
        return limited

    def _advance_trajectory(self, duration: float) -> float:
        """Velocity of the trajectory. [pulse/s]."""
        rest = self.goal - self._trajectory
        if not self.speed or abs(rest) <= self.speed * duration:
            self._trajectory = self.goal
            return 0.0
        velocity = math.copysign(self.speed, rest)
        self._trajectory += velocity * duration
        return velocity
