# SPDX-License-Identifier: Apache-2.0
"""One hand on one port over its life: connect, enable, cycle, stop safely, reconnect.

A fault is latched: the hand holds what was measured when it came up, later with less current, and
nothing but `clear` leads out. A hand that was lost and found again stays off until then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from deft_core.errors import SafetyError
from deft_core.validation import FloatArray
from deft_hand_driver.bus.block import MotorSample
from deft_hand_driver.bus.client import BusClient, BusStatistics
from deft_hand_driver.bus.errors import BusError, PortError
from deft_hand_driver.bus.hand_motors import HandMotors
from deft_hand_driver.bus.health import MotorHealth
from deft_hand_driver.bus.state import LIMP, BusReport, BusSettings, BusState
from deft_hand_driver.description import HandDescription

_FIRST_RETRY: Final = 0.25  # [s]
_LONGEST_RETRY: Final = 4.0  # [s]
_POSITION_MARGIN: Final = 0.5  # [rad] beyond its limits, where a slack tendon or a push leaves it
_VERIFY_TIME: Final = 0.5  # [s] for a command that no motor answers to show in the block
_CYCLE_SHARE: Final = 0.95  # of a cycle, in which reading may be tried again


class BusSession:
    """Use it from one thread; `step` once per cycle."""

    def __init__(self, description: HandDescription, settings: BusSettings) -> None:
        """Start offline; nothing is opened.

        Args:
            description: The hand.
            settings: Port and limits.
        """
        self._description = description
        self._settings = settings
        self._lower, self._upper = description.motor_limits()
        motors = description.ordered_motors()
        self._full_current = np.array([motor.current_limit for motor in motors])
        self._hold_current = np.array([motor.hold_current for motor in motors])
        self._motors: HandMotors | None = None
        self._health = MotorHealth(description, settings.silence_limit)
        self._state = BusState.OFFLINE
        self._fault = ''
        self._warnings: tuple[str, ...] = ()
        self._sample: MotorSample | None = None
        self._sent: FloatArray | None = None
        self._current = self._full_current
        self._held: FloatArray | None = None
        self._safe_since = 0.0
        self._calmed = False
        self._retry_at = 0.0
        self._retry_delay = _FIRST_RETRY
        self._cycle_start = 0.0
        self._cycle_time = float('nan')
        self._late_cycles = 0

    @property
    def state(self) -> BusState:
        """What the motors do."""
        return self._state

    def report(self) -> BusReport:
        """What is known now."""
        statistics = BusStatistics() if self._motors is None else self._motors.client.statistics
        return BusReport(
            self._state,
            self._fault,
            self._warnings,
            self._sample,
            self._sent,
            self._cycle_time,
            self._late_cycles,
            BusStatistics(statistics.requests, statistics.dropped, statistics.retries),
        )

    def step(self, setpoint: FloatArray | None, setpoint_time: float) -> None:
        """One cycle: connect where there is no port, else read, judge and write.

        Args:
            setpoint: Newest wanted positions; None before the first. Shape (n,). [rad].
            setpoint_time: When it was given, monotonic. [s].
        """
        start = time.monotonic()
        if self._motors is None:
            self._try_to_connect(start)
            return
        try:
            self._cycle(self._motors, start, setpoint, setpoint_time)
        except PortError as error:
            self._lose_port(str(error))
            return
        self._cycle_time = time.monotonic() - start
        self._late_cycles += self._cycle_time > 1.0 / self._settings.rate

    def enable(self) -> None:
        """Switch torque on, holding what is measured; sent, then verified.

        Raises:
            SafetyError: A fault is latched, or a motor is where it cannot be.
            BusError: The hand is not connected, or a motor does not do as it is told.
        """
        motors = self._require_motors()
        if self._state is BusState.ACTIVE:
            return
        if self._state is BusState.SAFE:
            raise SafetyError(f'The hand is in fault ({self._fault}); clear it first.')
        sample = motors.read(time.monotonic() + self._settings.silence_limit)
        self._sample = sample
        self._require_plausible(sample)
        self._current = self._full_current
        motors.write_currents(self._current)
        motors.set_watchdog(self._settings.watchdog)
        motors.write_positions(sample.positions)
        motors.set_torque(on=True)
        wanted = motors.watchdog_counts(self._settings.watchdog)
        try:
            self._verify(motors, lambda s: s.torque & (s.watchdogs == wanted), 'did not switch on')
        except BusError:
            motors.set_torque(on=False)
            raise
        self._sent = sample.positions
        self._state = BusState.ACTIVE

    def disable(self) -> None:
        """Switch torque off; a latched fault stays.

        Raises:
            BusError: A motor does not switch off, or the port has gone.
        """
        if self._motors is None:
            return
        self._let_go(self._motors)
        if self._state is BusState.ACTIVE:
            self._state = BusState.IDLE
        self._verify(self._motors, lambda sample: ~sample.torque, 'did not switch off')

    def stop(self, reason: str) -> None:
        """Latch a fault and hold what is measured; the first reason is kept.

        Args:
            reason: What happened and what to do.

        Raises:
            PortError: The port has gone.
        """
        if self._state is BusState.ACTIVE and self._motors is not None:
            # Measured now where that works: the last sample may be a cycle old.
            self._sample = self._motors.read(time.monotonic())
            self._enter_safe(self._motors, reason)
        elif not self._fault and self._state is not BusState.OFFLINE:
            self._fault = reason
            self._state = BusState.SAFE

    def clear(self) -> None:
        """Leave the fault: reboot motors with errors, set all up again; torque is off afterwards.

        Raises:
            BusError: The hand is not connected, or a motor stays away.
        """
        motors = self._require_motors()
        if self._state is not BusState.SAFE:
            return
        broken = tuple(place for place, reply in enumerate(motors.identify()) if reply.alert)
        if broken:
            motors.reboot(broken)
        motors.configure()
        self._health = MotorHealth(self._description, self._settings.silence_limit)
        self._held = None
        self._fault = ''
        self._state = BusState.IDLE

    def finish(self) -> None:
        """Leave the motors in the end state and close the port; the last call."""
        motors, self._motors = self._motors, None
        if motors is None:
            return
        try:
            if self._state in (BusState.ACTIVE, BusState.SAFE):
                if self._settings.end_state == LIMP:
                    motors.set_torque(on=False)
                elif self._state is BusState.ACTIVE:
                    motors.write_positions(motors.read(time.monotonic()).positions)
                    motors.write_currents(self._hold_current)
                # Without a driver nobody feeds it, and it would end the hold.
                motors.set_watchdog(0.0)
                # An answer comes after all that was sent before.
                motors.read(time.monotonic() + self._settings.reply_margin)
        except PortError:
            # The bus watchdog of the motors does what is left to do.
            pass
        finally:
            motors.client.close()
            self._state = BusState.OFFLINE

    def _cycle(
        self,
        motors: HandMotors,
        start: float,
        setpoint: FloatArray | None,
        setpoint_time: float,
    ) -> None:
        # Where this thread was held up as well, the setpoints get another cycle.
        previous, self._cycle_start = self._cycle_start, start
        sample = motors.read(start + _CYCLE_SHARE / self._settings.rate)
        self._sample = sample
        health = self._health.judge(sample, driving=self._state is BusState.ACTIVE)
        self._warnings = health.warnings
        if self._state is BusState.SAFE:
            self._stay_safe(motors, start)
        elif health.fault:
            self._enter_safe(motors, health.fault)
        elif self._state is BusState.ACTIVE:
            age = start - setpoint_time
            late = setpoint is not None and age > self._settings.silence_limit
            settings = self._settings
            if late and start - previous < max(0.5 * settings.silence_limit, 3.0 / settings.rate):
                self._enter_safe(
                    motors,
                    f'No setpoint for {age:.2f} s: the process of the driver is held up.',
                )
                return
            self._follow(motors, setpoint, self._full_current * health.current_share)

    def _follow(
        self, motors: HandMotors, setpoint: FloatArray | None, current: FloatArray
    ) -> None:
        if not np.array_equal(current, self._current):
            motors.write_currents(current)
            self._current = current
        if setpoint is not None:
            self._sent = np.clip(setpoint, self._lower, self._upper)
        if self._sent is not None:
            motors.write_positions(self._sent)

    def _enter_safe(self, motors: HandMotors, reason: str) -> None:
        """Hold the last measured pose from this cycle on."""
        driving = self._state is BusState.ACTIVE
        self._fault = reason
        self._state = BusState.SAFE
        self._safe_since = time.monotonic()
        self._calmed = False
        self._held = None
        if driving and self._sample is not None:
            self._held = self._sent = self._sample.positions
            motors.write_positions(self._held)

    def _stay_safe(self, motors: HandMotors, now: float) -> None:
        """Keep feeding the watchdogs; after a while take current away."""
        if self._held is None:
            return
        if not self._calmed and now - self._safe_since > self._settings.hold_time:
            self._calmed = True
            if self._settings.safe_state == LIMP:
                self._let_go(motors)
                return
            self._current = np.minimum(self._hold_current, self._current)
            motors.write_currents(self._current)
        motors.write_positions(self._held)

    def _let_go(self, motors: HandMotors) -> None:
        motors.set_torque(on=False)
        motors.set_watchdog(0.0)
        self._held = None

    def _require_motors(self) -> HandMotors:
        if self._motors is None:
            raise BusError(self._fault or 'The hand is not connected yet.')
        return self._motors

    def _require_plausible(self, sample: MotorSample) -> None:
        """Refuse what cannot be: a motor that has not answered, or a position out of reach."""
        names = self._description.motor_names
        good = sample.fresh & ~sample.restarted
        silent = [name for name, is_good in zip(names, good, strict=True) if not is_good]
        if silent:
            raise BusError(f'No good answer from {", ".join(silent)}; check supply and cables.')
        out = (sample.positions < self._lower - _POSITION_MARGIN) | (
            sample.positions > self._upper + _POSITION_MARGIN
        )
        if np.any(out):
            each = ', '.join(
                f'{names[i]} at {sample.positions[i]:.2f} rad, allowed '
                f'{self._lower[i]:.2f} to {self._upper[i]:.2f}'
                for i in np.flatnonzero(out)
            )
            raise SafetyError(
                f'Motors are where they cannot be: {each}. A spool may have been turned by hand '
                'while it was off, or its zero in the file of the hand is wrong.'
            )

    def _verify(
        self,
        motors: HandMotors,
        good: Callable[[MotorSample], npt.NDArray[np.bool_]],
        complaint: str,
    ) -> None:
        """Wait until what no motor answers to shows in the blocks of all of them."""
        end = time.monotonic() + _VERIFY_TIME
        while True:
            sample = motors.read(end)
            self._sample = sample
            bad = ~(good(sample) & sample.fresh)
            if not np.any(bad):
                return
            if time.monotonic() > end:
                names = ', '.join(motors.names[place] for place in np.flatnonzero(bad))
                raise BusError(f'{names} {complaint}; check supply and hardware errors.')

    def _try_to_connect(self, now: float) -> None:
        if now < self._retry_at:
            return
        lost_before = self._sample is not None
        client: BusClient | None = None
        try:
            client = BusClient.open(
                self._settings.path,
                self._description.bus.baud_rate,
                self._settings.reply_margin,
            )
            motors = HandMotors(client, self._description)
            motors.identify()
            # After a loss the motors may still hold something: they are set up by `clear`.
            if lost_before:
                motors.restore_blocks()
            else:
                motors.configure()
        except BusError as error:
            if client is not None:
                client.close()
            if not lost_before:
                self._fault = str(error)
            self._retry_at = time.monotonic() + self._retry_delay
            self._retry_delay = min(2.0 * self._retry_delay, _LONGEST_RETRY)
            return
        self._motors = motors
        self._retry_delay = _FIRST_RETRY
        self._health = MotorHealth(self._description, self._settings.silence_limit)
        if lost_before:
            self._state = BusState.SAFE
        else:
            self._fault = ''
            self._state = BusState.IDLE

    def _lose_port(self, reason: str) -> None:
        motors, self._motors = self._motors, None
        if motors is not None:
            motors.client.close()
        self._state = BusState.OFFLINE
        self._fault = self._fault or reason
        self._held = None
        self._retry_delay = _FIRST_RETRY
        self._retry_at = time.monotonic() + self._retry_delay
