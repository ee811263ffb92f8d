# SPDX-License-Identifier: Apache-2.0
"""Winds one tendon after the other, slowly and with little current, and watches the current.

Only the motor at work has torque. Whatever happens, also Ctrl-C, torque is off at the end; where
this process is killed, the bus watchdog of the servos stops them.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from deft_core.errors import ConfigurationError, DeviceError, InvalidInputError, SafetyError
from deft_hand_driver.calibration.tension import TensionFit, Track, fit_tension
from deft_hand_driver.description import HandDescription
from deft_hand_driver.dynamixel.hand_motors import HandMotors, MotorSample
from deft_hand_driver.dynamixel.health import MotorHealth
from deft_hand_driver.dynamixel.port import BusError, PortError
from deft_hand_driver.joint_map import closed_form_map
from dynamixel_simulator.motor_models import WATCHDOG_EXPIRED

WATCHDOG: Final = 2.5  # [s] the longest that servos know is 2.54 s
_PERIOD: Final = 0.02  # [s]
_SILENCE_LIMIT: Final = 1.0  # [s] less than the watchdog
_BEYOND: Final = 1.0  # [rad] that a tendon may take more than its file says
_STALL_SPEED: Final = 0.25  # of the speed of the search
_STALL_CURRENT: Final = 0.9  # of its current
_CURRENT_SHARE: Final = 0.85  # of the limit of each motor
_STALL_TIME: Final = 0.25  # [s]
_MOVING: Final = 0.5  # of the speed: slower samples show the motor starting or stopping
_END_WAY: Final = 0.1  # [rad] in which a motor slows down before its goal
_START_TIME: Final = 0.3  # [s] in which a slack motor speeds up
_PATIENCE: Final = 3.0  # times the time that a way takes
_RELEASE_ATTEMPTS: Final = 5


@dataclass(frozen=True)
class TensionSettings:
    """How gently.

    Attributes:
        speed: Of the spool. [rad/s].
        current: Largest current; None for most of the limit of each motor. [A].
        loosen: How far a tendon that only pulls is unwound first. [rad].
    """

    speed: float = 0.4
    current: float | None = None
    loosen: float = 0.6

    def __post_init__(self) -> None:
        """Refuse what is not gentle."""
        for name, value, low, high, unit in (
            ('speed', self.speed, 0.05, 2.0, 'rad/s'),
            ('loosen', self.loosen, 0.2, 6.0, 'rad'),
        ):
            if not low <= value <= high:
                raise InvalidInputError(f'{name} must be {low} to {high} {unit}, got {value}.')


class TensionRoutine:
    """Finds where the tendons of one hand are taut and how far they go.

    Example:
        >>> with routine.running():  # doctest: +SKIP
        ...     fit = routine.measure('index_curl')
    """

    def __init__(
        self,
        motors: HandMotors,
        description: HandDescription,
        settings: TensionSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare for motors that are identified and configured; nothing is sent.

        Clock and sleep are of the motors' time. [s].
        """
        if description.tendons is None:
            raise ConfigurationError(
                f'Hand {description.name} has a motor on every joint and no tendons; read its '
                'zeros with `deft hand status` while the fingers are straight.'
            )
        self._motors = motors
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        limits = np.array([motor.current_limit for motor in description.ordered_motors()])
        current = settings.current
        if current is not None and not 0.0 < current <= limits.min():
            raise InvalidInputError(
                f'The current must be above 0 and at most {limits.min()} A, the current_limit of '
                f'the hand, got {current}.'
            )
        self._currents = (
            _CURRENT_SHARE * limits if current is None else np.full(len(limits), current)
        )
        closed = closed_form_map(description)
        self._lower, self._upper = closed.lower, closed.upper
        self._health = MotorHealth(description, _SILENCE_LIMIT)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Watchdogs are armed inside; torque is off afterwards, whatever happened.

        Raises:
            BusError: Torque could not be seen to be off.
        """
        motors = self._motors
        try:
            motors.write_currents(self._currents)
            motors.set_speed(self._settings.speed)
            motors.set_watchdog(WATCHDOG)
            yield
        finally:
            with _uninterrupted():
                self._release()

    def measure(self, name: str) -> TensionFit:
        """Unwind, wind up to the end, unwind again; then let this motor go.

        Raises:
            SafetyError: A motor is not well.
            DeviceError: No tendon was found, or the bus failed.
        """
        motors, settings = self._motors, self._settings
        place = motors.names.index(name)
        start = float(self._look().positions[place])
        travel = float(self._upper[place] - self._lower[place])
        # Such a tendon also moves its joint below the straight finger.
        both_ways = bool(self._lower[place] < 0.0)
        loosen = settings.loosen + (abs(float(self._lower[place])) if both_ways else 0.0)
        # A goal written while torque is off is where the motor stays when it comes on.
        self._aim(place, start)
        motors.switch_on(place)
        unwound = self._go(place, start - loosen)
        end = float(self._look().positions[place]) + loosen + travel + _BEYOND
        # From a stop there is nothing to leave out: the pull changes more than the start does.
        up = self._go(place, end, 0.0 if unwound.strained else _START_TIME)
        down = self._go(place, float(up.positions.min()) if len(up.positions) else start)
        if len(up.positions) < 2 or len(down.positions) < 2:
            raise DeviceError(
                f'{name} hardly moved with {self._currents[place]:.2f} A; look for something that '
                'blocks it, or allow more with --current.'
            )
        fit = fit_tension(name, up, down, both_ways=both_ways)
        self._go(place, fit.taut)
        motors.set_torque(on=False)
        self._look()  # an answer comes after all that was sent before
        return fit

    def _go(self, place: int, goal: float, start_time: float = 0.0) -> Track:
        """Turn to a goal [rad], or until the motor stalls; what was measured while it turned.

        The start time [s] is left out, for the motor is speeding up.
        """
        speed = self._settings.speed
        distance = goal - float(self._look().positions[place])
        self._aim(place, goal)
        end = self._clock() + _PATIENCE * abs(distance) / speed + 1.0
        moving_since = self._clock()
        stalled_since: float | None = None
        positions, currents = [], []
        while True:
            self._sleep(_PERIOD)
            sample = self._look(place)
            now = self._clock()
            position = float(sample.positions[place])
            velocity = float(sample.velocities[place]) * np.sign(distance)
            # Against the motion the profile of the servo may still come back from beyond a stop.
            current = float(sample.currents[place])
            strained = current * np.sign(distance) > _STALL_CURRENT * self._currents[place]
            if velocity <= _MOVING * speed:
                moving_since = now
            elif now - moving_since > start_time and abs(goal - position) > _END_WAY:
                positions.append(position)
                currents.append(current)
            still = velocity < _STALL_SPEED * speed
            arrived = still and abs(goal - position) < 0.1
            if not still or not (arrived or strained):
                stalled_since = None
            elif stalled_since is None:
                stalled_since = now
            elif now - stalled_since >= _STALL_TIME:
                # Nothing pulls on: from here the next way begins.
                self._aim(place, position)
                return Track(np.array(positions), np.array(currents), bool(strained))
            if now > end:
                raise DeviceError(
                    f'{self._motors.names[place]} neither came to {goal:.2f} rad nor met '
                    f'anything: it stands at {position:.2f} rad with {current:.3f} A. It may need '
                    'more --current to move.'
                )

    def _aim(self, place: int, goal: float) -> None:
        goals = self._look().positions.copy()
        goals[place] = goal
        self._motors.write_positions(goals)

    def _look(self, driven: int | None = None) -> MotorSample:
        """Read all motors; raises where one is not well."""
        sample = self._motors.read(time.monotonic() + _SILENCE_LIMIT)
        if not sample.complete:
            silent = ', '.join(
                name for name, ok in zip(self._motors.names, sample.fresh, strict=True) if not ok
            )
            raise BusError(f'No answer from {silent}; check supply and cables.')
        fault = self._health.judge(sample, driving=False).fault
        if fault:
            raise SafetyError(f'The calibration stopped: {fault}')
        if driven is not None and sample.fresh[driven] and not sample.torque[driven]:
            raise SafetyError(
                f'The calibration stopped: {self._motors.names[driven]} lost torque; does another '
                'program talk to the hand?'
            )
        if driven is not None and sample.watchdogs[driven] == WATCHDOG_EXPIRED:
            raise SafetyError(
                f'The bus watchdog of {self._motors.names[driven]} stopped it: this program was '
                f'held up for {WATCHDOG} s. Give it more processor time and start again.'
            )
        return sample

    def _release(self) -> None:
        """Torque off, until it is seen to be off."""
        motors = self._motors
        for _ in range(_RELEASE_ATTEMPTS):
            try:
                motors.set_torque(on=False)
                motors.set_watchdog(0.0)
                sample = motors.read(time.monotonic() + _SILENCE_LIMIT)
            except PortError as error:
                raise BusError(
                    f'{error} Torque could not be switched off; the bus watchdog stops the motors '
                    f'within {WATCHDOG} s. Switch the motor supply off.'
                ) from error
            if np.any(sample.fresh) and not np.any(sample.torque & sample.fresh):
                return
        raise BusError(
            'Torque could not be seen to be off; switch the motor supply off and look at the bus '
            'with `deft hand status`.'
        )


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """A second Ctrl-C waits: torque goes off first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
