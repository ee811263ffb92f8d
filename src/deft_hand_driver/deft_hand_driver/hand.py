# SPDX-License-Identifier: Apache-2.0
"""One hand on one port: connect, enable, follow commands within limits, stop safely, reconnect.

`Hand` is the state machine; `Motion` decides what may be sent in each cycle. A fault is latched:
the hand holds what was measured when it came up, later with less current, and nothing but
`clear_fault` leads out. A hand that was lost and found again stays off until then. A motion that
is interrupted comes to rest first, then holds what is measured, and waits for a new command.
"""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from deft_core.errors import ConfigurationError, InvalidInputError, SafetyError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.validation import FloatArray, finite_array
from deft_hand_driver.description import HandDescription
from deft_hand_driver.dynamixel.bus import REPLY_MARGIN, BusStatistics, DynamixelBus
from deft_hand_driver.dynamixel.hand_motors import HandMotors, MotorSample
from deft_hand_driver.dynamixel.health import MotorHealth
from deft_hand_driver.dynamixel.port import BusError, PortError
from deft_hand_driver.joint_map import JointMap

HOLD: Final = 'hold'
LIMP: Final = 'limp'
_FIRST_RETRY: Final = 0.25  # [s]
_LONGEST_RETRY: Final = 4.0  # [s]
_POSITION_MARGIN: Final = 0.5  # [rad] beyond its limits, where a slack tendon or a push leaves it
_VERIFY_TIME: Final = 0.5  # [s] for a command that no motor answers to show in the block
_CYCLE_SHARE: Final = 0.95  # of a cycle, in which reading may be tried again
_LONGEST_BRAKING: Final = 0.5  # [s] at the end


class HandMode(enum.Enum):
    """What the hand does with commands."""

    DISABLED = 'disabled'
    ENABLED = 'enabled'
    FAULT = 'fault'


@dataclass(frozen=True)
class HandSettings:
    """How a hand is driven over its bus.

    Attributes:
        rate: Cycles per second. [Hz].
        reply_margin: Time that a reply may take beyond that on the wire. [s].
        silence_limit: How long a motor may be silent. [s].
        watchdog: Silence on the bus after which the motors stop by themselves; 0 for never. [s].
        hold_time: How long a fault holds with full current. [s].
        safe_state: What follows that: `hold` with less current, or `limp`.
        end_state: How the motors are left at the end: `hold` with less current, or `limp`.
    """

    path: str
    rate: float = 100.0
    reply_margin: float = REPLY_MARGIN
    silence_limit: float = 0.2
    watchdog: float = 0.4
    hold_time: float = 2.0
    safe_state: str = HOLD
    end_state: str = HOLD

    def __post_init__(self) -> None:
        """Refuse unknown states."""
        for name in ('safe_state', 'end_state'):
            value = getattr(self, name)
            if value not in (HOLD, LIMP):
                raise ConfigurationError(f"{name} must be '{HOLD}' or '{LIMP}', got {value!r}.")


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


class Motion:
    """Motor commands of n motors that never leave travel, speed and step limits.

    All times are seconds of one clock that the caller chooses; it may jump, in either direction,
    without a jump of the motors.

    Attributes:
        sent: What is commanded now. Shape (n,). [rad].
        braking: Whether a motion that is broken off has not come to rest yet.
    """

    def __init__(
        self, description: HandDescription, lower: FloatArray, upper: FloatArray, at: FloatArray
    ) -> None:
        """Hold positions.

        Args:
            description: The hand, with its limits of speed, step and deceleration.
            lower: Lowest command. Shape (n,). [rad].
            upper: Highest command. Shape (n,). [rad].
            at: What is measured; outside of its travel a hand may stay there. Shape (n,). [rad].
        """
        self._limits = description
        self._lower, self._upper = lower, upper
        self.sent = at
        self.braking = False
        self._ramp: _Ramp | None = None
        self._updated: float | None = None
        self._velocity = np.zeros_like(at)

    @property
    def settled(self) -> bool:
        """Whether the target has been sent in full."""
        return self._ramp is not None and np.array_equal(self.sent, self._ramp.target)

    def go(
        self, target: FloatArray, duration: float, now: float, start: FloatArray | None = None
    ) -> None:
        """Start a ramp to a target, which is cut to the limits here and nowhere else.

        Args:
            target: Motor commands. Shape (n,). [rad].
            duration: Of the ramp; stretched where a motor would be too fast. [s].
            now: Current time. [s].
            start: Where the way begins; what is sent now when None. Shape (n,). [rad].
        """
        start = self.sent if start is None else start
        inside = np.clip(target, self._lower, self._upper)
        shortest = float(np.abs(inside - start).max()) / self._limits.motor_speed_limit
        self._ramp = _Ramp(start, inside, now, max(duration, shortest))
        self._updated = now
        self.braking = False

    def brake(self) -> None:
        """Break the motion off: slow down, then go slowly to what is measured and stay there."""
        self.braking = True

    def update(self, now: float, measured: FloatArray) -> FloatArray:
        """Motor commands to send in this cycle.

        Args:
            now: Current time; where it is no number, nothing changes. [s].
            measured: Motor positions. Shape (n,). [rad].

        Returns:
            Shape (n,). [rad].
        """
        if not math.isfinite(now):
            return self.sent
        elapsed = 0.0 if self._updated is None else now - self._updated
        self._updated = now
        if elapsed < 0.0:
            # The clock was set back: go on from where the motors are.
            if self._ramp is not None:
                remaining = max(0.0, self._ramp.begin + self._ramp.duration - (now - elapsed))
                self._ramp = _Ramp(self.sent, self._ramp.target, now, remaining)
            return self.sent
        before = self.sent
        if self.braking:
            self._slow_down(elapsed, now, measured)
        elif self._ramp is not None:
            self.sent = self._toward(self._ramp.at(now), elapsed)
        if elapsed > 0.0:
            self._velocity = (self.sent - before) / elapsed
        return self.sent

    def _toward(self, wanted: FloatArray, elapsed: float) -> FloatArray:
        """What may be sent on the way to wanted motor commands [rad] after a time [s]."""
        step = min(self._limits.motor_step_limit, self._limits.motor_speed_limit * elapsed)
        change = np.clip(wanted - self.sent, -step, step)
        reached = np.abs(wanted - self.sent) <= step
        return np.where(reached, wanted, self.sent + change)

    def _slow_down(self, elapsed: float, now: float, measured: FloatArray) -> None:
        less = self._limits.motor_deceleration * elapsed
        slower = np.sign(self._velocity) * np.maximum(0.0, np.abs(self._velocity) - less)
        wanted = np.clip(self.sent + slower * elapsed, self._lower, self._upper)
        # Where the hand was enabled outside its travel it may stay there.
        self.sent = self._toward(np.where(slower == 0.0, self.sent, wanted), elapsed)
        if elapsed > 0.0 and not np.any(slower):
            self.go(measured, 0.0, now)


class Hand:
    """State machine of a hand and its bus; `cycle` at a fixed rate, from one thread.

    Attributes:
        fault: Why it is in fault, else empty.
        problem: Why it cannot be connected, else empty.
        sequence: Number of the command that is executed.
        interruption: Why the running command was broken off, else empty.
        clipped: Number of commands cut to the travel since the start.
        cycle_time: Duration of the last exchange with the motors. [s].
        late_cycles: Cycles that were longer than a period.
    """

    def __init__(self, joint_map: JointMap, settings: HandSettings) -> None:
        """Start disabled; nothing is opened before the first cycle."""
        self._map = joint_map
        self._description = joint_map.description
        self._settings = settings
        self._joint_lower, self._joint_upper = self._description.joint_limits()
        self._lower, self._upper = self._description.motor_limits()
        motors = self._description.ordered_motors()
        self._full_current = np.array([motor.current_limit for motor in motors])
        self._hold_current = np.array([motor.hold_current for motor in motors])
        self.mode = HandMode.DISABLED
        self.fault = ''
        self.problem = ''
        self.warnings: tuple[str, ...] = ()
        self.sample: MotorSample | None = None
        self.sequence = 0
        self.interruption = ''
        self.clipped = 0
        self.cycle_time = float('nan')
        self.late_cycles = 0
        self._motors: HandMotors | None = None
        self._health = MotorHealth(self._description, settings.silence_limit)
        self._motion: Motion | None = None  # while enabled
        self._held: FloatArray | None = None  # in a fault
        self._holds = False  # whether the motors have torque in a fault
        self._current = self._full_current
        self._faulted_at = 0.0
        self._now = 0.0
        self._retry_at = 0.0
        self._retry_delay = _FIRST_RETRY

    @property
    def connected(self) -> bool:
        """Whether the port is open and all motors were found."""
        return self._motors is not None

    @property
    def sent(self) -> FloatArray | None:
        """Motor commands that were really sent, None where none are. Shape (n,). [rad]."""
        return self._held if self._motion is None else self._motion.sent

    @property
    def settled(self) -> bool:
        """Whether the commanded target has been sent in full."""
        return self._motion is not None and not self.interruption and self._motion.settled

    @property
    def statistics(self) -> BusStatistics:
        """Counters since the port was opened."""
        return BusStatistics() if self._motors is None else self._motors.bus.statistics

    def cycle(self, now: float) -> None:
        """Connect where there is no port, else read, judge and write.

        Args:
            now: Time on the clock of the ramps. [s].
        """
        self._now = now
        start = time.monotonic()
        if self._motors is None:
            self._try_to_connect(start)
            return
        try:
            self._exchange(self._motors, start, now)
        except PortError as error:
            self._lose_port(str(error))
            return
        self.cycle_time = time.monotonic() - start
        self.late_cycles += self.cycle_time > 1.0 / self._settings.rate

    def enable(self) -> None:
        """Switch torque on, holding what is measured; sent, then verified.

        Raises:
            SafetyError: A fault is latched, or a motor is where it cannot be.
            BusError: The hand is not connected, or a motor does not do as it is told.
        """
        if self.mode is HandMode.FAULT:
            raise SafetyError(
                f'The hand is in fault ({self.fault}); remove the cause and call '
                '/hand/clear_fault before enabling.'
            )
        motors = self._require_motors()
        if self.mode is HandMode.ENABLED:
            return
        sample = self.sample = motors.read(time.monotonic() + self._settings.silence_limit)
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
        self._motion = Motion(
            self._description,
            np.maximum(self._map.lower, self._lower),
            np.minimum(self._map.upper, self._upper),
            sample.positions,
        )
        self.interruption = ''
        self.mode = HandMode.ENABLED

    def disable(self) -> None:
        """Switch torque off; a latched fault stays.

        Raises:
            BusError: A motor does not switch off, or the port has gone.
        """
        if self.mode is HandMode.ENABLED:
            self.mode = HandMode.DISABLED
            self._motion = None
            self.interruption = ''
        if self._motors is not None:
            self._let_go(self._motors)
            self._verify(self._motors, lambda sample: ~sample.torque, 'did not switch off')

    def interrupt(self, reason: str) -> None:
        """Break the running command off: come to rest, then hold what is measured.

        Only a command with another sequence number is taken afterwards.
        """
        if self._motion is not None and not self.interruption:
            self.interruption = reason
            self._motion.brake()

    def fail(self, reason: str) -> None:
        """Latch a fault and hold what is measured; the first reason is kept."""
        if self.mode is HandMode.FAULT:
            return
        driving = self._motion is not None
        self._latch(reason)
        if driving and self._motors is not None:
            try:
                # Measured now where that works: the last sample may be a cycle old.
                self._hold(self._motors, self._motors.read(time.monotonic()))
            except PortError as error:
                self._lose_port(str(error))

    def clear_fault(self) -> None:
        """Leave the fault: reboot motors with errors, set all up again; torque is off afterwards.

        Raises:
            BusError: The hand is not connected, or a motor stays away.
        """
        motors = self._require_motors()
        if self.mode is not HandMode.FAULT:
            return
        broken = tuple(place for place, reply in enumerate(motors.identify()) if reply.alert)
        if broken:
            motors.reboot(broken)
        motors.configure()
        self._health = MotorHealth(self._description, self._settings.silence_limit)
        self._held, self._holds = None, False
        self.fault = ''
        self.mode = HandMode.DISABLED

    def command(
        self, joint_positions: npt.ArrayLike, duration: float, sequence: int, now: float
    ) -> bool:
        """Start a ramp to joint positions; on refusal the running ramp goes on.

        Args:
            joint_positions: Target in `HAND_JOINT_NAMES` order, cut to the travel.
                Shape (16,). [rad].
            duration: Time of the ramp; stretched where a motor would be too fast. [s].
            sequence: Number of the command.
            now: Time on the clock of the ramps. [s].

        Returns:
            Whether the target was cut to the travel.

        Raises:
            InvalidInputError: Not sixteen finite numbers, or a duration out of range.
            SafetyError: The hand is not enabled, or the command is the one that was broken off.
        """
        joints = finite_array('hand joint targets', joint_positions, (len(HAND_JOINT_NAMES),))
        limit = self._description.duration_limit
        if not 0.0 <= duration <= limit:
            raise InvalidInputError(
                f'The duration of a hand command must be 0 to {limit} s, got {duration}.'
            )
        if not math.isfinite(now):
            raise InvalidInputError(f'The time of a hand command must be finite, got {now}.')
        if self._motion is None or self.sample is None:
            raise SafetyError(
                f'The hand is {self.mode.value} and takes no commands; call /hand/enable'
                + (' after /hand/clear_fault.' if self.mode is HandMode.FAULT else '.')
            )
        if self.interruption and sequence == self.sequence:
            raise SafetyError(
                f'Hand command {sequence} was broken off ({self.interruption}); send a new one.'
            )
        # A joint that is wanted beyond its travel must not pull at its neighbour's tendon.
        inside = np.clip(joints, self._joint_lower, self._joint_upper)
        # After an interruption the way begins where the hand is, not where it was told to be.
        start = self.sample.positions if self.interruption else None
        self._motion.go(self._map.motors_from_joints(inside), duration, now, start)
        self.interruption = ''
        self.sequence = sequence
        cut = bool(np.any(inside != joints))
        self.clipped += cut
        return cut

    def finish(self) -> None:
        """Come to rest, leave the motors in the end state and close the port; the last call."""
        motors, self._motors = self._motors, None
        if motors is None:
            return
        try:
            if self._motion is not None:
                self._come_to_rest(motors, self._motion)
            if self.mode is not HandMode.DISABLED:
                if self._settings.end_state == LIMP:
                    motors.set_torque(on=False)
                elif self._motion is not None:
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
            motors.bus.close()
            if self.mode is HandMode.ENABLED:
                self._latch('The driver was stopped; start it again.')

    def _exchange(self, motors: HandMotors, start: float, now: float) -> None:
        sample = self.sample = motors.read(start + _CYCLE_SHARE / self._settings.rate)
        health = self._health.judge(sample, driving=self._motion is not None)
        self.warnings = health.warnings
        if self.mode is HandMode.FAULT:
            self._hold_still(motors, start)
        elif health.fault:
            driving = self._motion is not None
            self._latch(health.fault)
            if driving:
                self._hold(motors, sample)
        elif self._motion is not None:
            current = self._full_current * health.current_share
            if not np.array_equal(current, self._current):
                motors.write_currents(current)
                self._current = current
            motors.write_positions(self._motion.update(now, sample.positions))

    def _latch(self, reason: str) -> None:
        self.mode = HandMode.FAULT
        self.fault = reason
        self.interruption = ''
        self._motion = None
        self._held, self._holds = None, False
        self._faulted_at = time.monotonic()

    def _hold(self, motors: HandMotors, sample: MotorSample) -> None:
        """Hold what was just measured: following the measurement would let the grip creep open."""
        self.sample = sample
        self._held, self._holds = sample.positions, True
        motors.write_positions(self._held)

    def _hold_still(self, motors: HandMotors, now: float) -> None:
        """Keep feeding the watchdogs; after a while take current away."""
        if self._held is None or not self._holds:
            return
        if now - self._faulted_at > self._settings.hold_time:
            if self._settings.safe_state == LIMP:
                self._let_go(motors)
                return
            calm = np.minimum(self._hold_current, self._current)
            if not np.array_equal(calm, self._current):
                motors.write_currents(calm)
                self._current = calm
        motors.write_positions(self._held)

    def _let_go(self, motors: HandMotors) -> None:
        motors.set_torque(on=False)
        motors.set_watchdog(0.0)
        self._holds = False

    def _come_to_rest(self, motors: HandMotors, motion: Motion) -> None:
        """Brake on real time: the clock of the ramps may have stopped already."""
        motion.brake()
        begin = time.monotonic()
        while motion.braking and (elapsed := time.monotonic() - begin) < _LONGEST_BRAKING:
            motors.write_positions(motion.update(self._now + elapsed, motion.sent))
            time.sleep(1.0 / self._settings.rate)

    def _require_motors(self) -> HandMotors:
        if self._motors is None:
            raise BusError(self.problem or self.fault or 'The hand is not connected yet.')
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
            sample = self.sample = motors.read(end)
            bad = ~(good(sample) & sample.fresh)
            if not np.any(bad):
                return
            if time.monotonic() > end:
                names = ', '.join(motors.names[place] for place in np.flatnonzero(bad))
                raise BusError(f'{names} {complaint}; check supply and hardware errors.')

    def _try_to_connect(self, now: float) -> None:
        if now < self._retry_at:
            return
        bus: DynamixelBus | None = None
        try:
            bus = DynamixelBus.open(
                self._settings.path, self._description.bus.baud_rate, self._settings.reply_margin
            )
            motors = HandMotors(bus, self._description)
            motors.identify()
            # After a loss the motors may still hold something: `clear_fault` sets them up.
            if self.sample is not None:
                motors.restore_blocks()
            else:
                motors.configure()
        except BusError as error:
            if bus is not None:
                bus.close()
            self.problem = str(error)
            self._retry_at = time.monotonic() + self._retry_delay
            self._retry_delay = min(2.0 * self._retry_delay, _LONGEST_RETRY)
            return
        self._motors = motors
        self.problem = ''
        self._retry_delay = _FIRST_RETRY
        self._health = MotorHealth(self._description, self._settings.silence_limit)

    def _lose_port(self, reason: str) -> None:
        if self._motors is not None:
            self._motors.bus.close()
            self._motors = None
        if self.mode is not HandMode.FAULT:
            self._latch(reason)
        self._held, self._holds = None, False
        self._retry_delay = _FIRST_RETRY
        self._retry_at = time.monotonic() + self._retry_delay
