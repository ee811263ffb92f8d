# SPDX-License-Identifier: Apache-2.0
"""What the firmware does when a register gets a new value."""

from __future__ import annotations

from typing import Final

from dynamixel_simulator.bus_watchdog import BusWatchdog
from dynamixel_simulator.control import ControlLoop
from dynamixel_simulator.memory import ServoMemory
from dynamixel_simulator.motor_models import (
    RADIANS_PER_PULSE,
    RADIANS_PER_SECOND,
    RADIANS_PER_SECOND_SQUARED,
    DriveMode,
    OperatingMode,
)
from dynamixel_simulator.rules import POSITION_MODES, WriteRules

_PULSES_PER_SECOND: Final = RADIANS_PER_SECOND / RADIANS_PER_PULSE
_PULSES_PER_SECOND_SQUARED: Final = RADIANS_PER_SECOND_SQUARED / RADIANS_PER_PULSE
_GAINS: Final = (
    'velocity_i_gain',
    'velocity_p_gain',
    'position_d_gain',
    'position_i_gain',
    'position_p_gain',
    'feedforward_2nd_gain',
    'feedforward_1st_gain',
)
# Which goal switches torque on, where the drive mode says so.
_WAKING_GOAL: Final = {
    OperatingMode.CURRENT: 'goal_current',
    OperatingMode.VELOCITY: 'goal_velocity',
    OperatingMode.PWM: 'goal_pwm',
}


class RegisterActions:
    """Carries register values over to the control loop.

    Args:
        memory: Registers.
        loop: Control loop.
        watchdog: Restarted when it is set and when torque goes on.
        rules: For what a shutdown forbids.
    """

    def __init__(
        self,
        memory: ServoMemory,
        loop: ControlLoop,
        watchdog: BusWatchdog,
        rules: WriteRules,
    ) -> None:
        """Keep what is acted on."""
        self._memory = memory
        self._loop = loop
        self._watchdog = watchdog
        self._rules = rules

    def start(self) -> None:
        """What a start of the servo does, after RAM was filled."""
        memory = self._memory
        self._loop.enabled = False
        self._read_settings()
        self._reset_goals()
        self.count_from_one_turn()
        if 'startup_configuration' in memory.table and memory['startup_configuration'] & 1:
            memory['torque_enable'] = 1
            self._switch_torque(True)

    def stop(self) -> None:
        """What an expired watchdog does; the manual says "stops", not "torque off"."""
        loop = self._loop
        self._memory['profile_velocity'] = self._memory['profile_acceleration'] = 0
        if loop.mode == OperatingMode.CURRENT:
            loop.goal_current = 0
        elif loop.mode == OperatingMode.PWM:
            loop.goal_output = 0
        loop.halt()

    def count_from_one_turn(self) -> None:
        """Forget whole turns; the goal becomes where the horn is."""
        self._loop.count_from_one_turn()
        self._memory['goal_position'] = round(self._loop.present_position)

    def act_on(self, name: str, value: int) -> None:
        """Do what a new value of a register means.

        Args:
            name: Of the field.
            value: Raw counts, already stored.
        """
        loop, memory = self._loop, self._memory
        if name.startswith('goal_'):
            self._take_goal(name, value)
        elif name == 'torque_enable':
            self._switch_torque(bool(value))
        elif name == 'operating_mode':
            self._reset_goals()
            if loop.mode == OperatingMode.POSITION:
                self.count_from_one_turn()
        elif name in _GAINS:
            loop.set_gains({gain: memory[gain] for gain in _GAINS})
        elif name == 'bus_watchdog':
            self._watchdog.feed()
        elif name in ('drive_mode', 'homing_offset', 'moving_threshold'):
            self._read_settings()

    def _take_goal(self, name: str, value: int) -> None:
        loop, memory = self._loop, self._memory
        if (
            memory['drive_mode'] & DriveMode.TORQUE_ON_BY_GOAL_UPDATE
            and not loop.enabled
            and name == _WAKING_GOAL.get(loop.mode, 'goal_position')
            and not self._rules.shut_down()
        ):
            memory['torque_enable'] = 1
            self._switch_torque(True)
        if name == 'goal_position':
            if loop.enabled:
                self._head_for(value)
        elif name == 'goal_current':
            loop.goal_current = value
        elif name == 'goal_pwm':
            loop.goal_output = value
        else:
            acceleration = memory['profile_acceleration'] * _PULSES_PER_SECOND_SQUARED
            loop.velocity.go(value * _PULSES_PER_SECOND, acceleration)

    def _switch_torque(self, on: bool) -> None:
        loop = self._loop
        if on and not loop.enabled:
            goal = self._memory['goal_position']
            if loop.mode == OperatingMode.POSITION:
                self._loop.count_from_one_turn()
            loop.halt()
            self._watchdog.feed()
            loop.enabled = True
            if loop.mode in POSITION_MODES:
                self._head_for(goal)
        loop.enabled = on

    def _head_for(self, goal: int) -> None:
        memory, profile = self._memory, self._loop.position
        speed, acceleration = memory['profile_velocity'], memory['profile_acceleration']
        if memory['drive_mode'] & DriveMode.TIME_BASED_PROFILE:
            profile.go_in_time(goal, speed * 0.001, acceleration * 0.001)
            return
        profile.go(goal, speed * _PULSES_PER_SECOND, acceleration * _PULSES_PER_SECOND_SQUARED)

    def _reset_goals(self) -> None:
        """What a start and a change of the operating mode have in common."""
        memory, loop = self._memory, self._loop
        for name in (*_GAINS, 'profile_acceleration', 'profile_velocity'):
            memory[name] = memory.table[name].default or 0
        loop.mode = OperatingMode(memory['operating_mode'])
        # A goal of its own mode is not left at its limit: the motor would race off.
        pwm = 0 if loop.mode == OperatingMode.PWM else memory['pwm_limit']
        current = 0 if loop.mode == OperatingMode.CURRENT else memory['current_limit']
        memory['goal_pwm'] = loop.goal_output = pwm
        memory['goal_current'] = loop.goal_current = current
        memory['goal_velocity'] = 0
        loop.set_gains({name: memory[name] for name in _GAINS})
        loop.halt()

    def _read_settings(self) -> None:
        loop, memory = self._loop, self._memory
        loop.direction = -1 if memory['drive_mode'] & DriveMode.REVERSE else 1
        loop.homing_offset = memory['homing_offset']
        loop.moving_threshold = memory['moving_threshold']
        loop.halt()
