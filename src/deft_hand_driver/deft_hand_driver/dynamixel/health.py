# SPDX-License-Identifier: Apache-2.0
"""Judges the samples of the motors: what stops the hand, and what only takes current away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from deft_core.validation import FloatArray
from deft_hand_driver.description import HandDescription
from deft_hand_driver.dynamixel.hand_motors import MotorSample
from dynamixel_simulator.motor_models import WATCHDOG_EXPIRED, HardwareError

_CURRENT_MARGIN: Final = 1.3  # measured above allowed: sensor and control of a servo differ
_PERSISTS: Final = 0.3  # [s] until a value that may be a blip counts
_MISSES: Final = 3  # cycles without an answer: time alone may have passed without the driver
_LOWEST_SHARE: Final = 0.3  # of the current limit, just below the temperature limit
_ERROR_TEXTS: Final = {
    HardwareError.INPUT_VOLTAGE: 'input voltage',
    HardwareError.OVERHEATING: 'overheating',
    HardwareError.ENCODER: 'encoder',
    HardwareError.ELECTRICAL_SHOCK: 'electrical shock or too little power',
    HardwareError.OVERLOAD: 'overload',
}


@dataclass(frozen=True, eq=False)
class HealthReport:
    """Judgement of one sample.

    Attributes:
        fault: Why the hand must stop, empty where it need not.
        current_share: Share of the current limits that is allowed. Shape (n,). [-].
    """

    fault: str
    warnings: tuple[str, ...]
    current_share: FloatArray


@dataclass
class _Lasting:
    """Since when each motor has been in some condition."""

    since: FloatArray = field(default_factory=lambda: np.empty(0))

    def longer_than(self, condition: np.ndarray, now: float, duration: float) -> list[int]:
        """Motors for which the condition has held for longer than a duration [s]."""
        if len(self.since) != len(condition):
            self.since = np.full(len(condition), np.inf)
        if not condition.any():
            self.since.fill(np.inf)
            return []
        self.since = np.where(condition, np.minimum(self.since, now), np.inf)
        return _places(now - self.since > duration)


def _places(condition: np.ndarray) -> list[int]:
    """Where a condition holds; nearly always nowhere, which is told fastest."""
    return np.flatnonzero(condition).tolist() if condition.any() else []


class MotorHealth:
    """Watches the motors of one hand over time."""

    def __init__(self, description: HandDescription, silence_limit: float) -> None:
        """Start with nothing seen; a motor may be silent for `silence_limit` [s]."""
        self._names = description.motor_names
        self._motors = description.ordered_motors()
        self._bus = description.bus
        self._silence_limit = silence_limit
        self._limits = np.array([motor.current_limit for motor in self._motors])
        self._over_current = _Lasting()
        self._far_over_current = _Lasting()
        self._low_voltage = _Lasting()
        self._torque_lost = _Lasting()
        self._restarted = _Lasting()
        self._start: float | None = None
        self._misses = np.zeros(len(self._motors), dtype=int)

    def judge(self, sample: MotorSample, *, driving: bool) -> HealthReport:
        """Judge a sample."""
        if self._start is None:
            self._start = sample.stamp
        share, warnings = self._derate(sample)
        fault = (
            self._silence(sample)
            or self._hardware_errors(sample)
            or self._restarts(sample)
            or (self._lost_torque(sample) if driving else '')
            or self._environment(sample)
        )
        silent = _places(~sample.fresh)
        if silent:
            warnings.append(f'no answer in this cycle from {self._list(silent)}')
        return HealthReport(fault, tuple(warnings), share)

    def _silence(self, sample: MotorSample) -> str:
        seen = np.maximum(sample.seen, self._start if self._start is not None else sample.stamp)
        self._misses = np.where(sample.fresh, 0, self._misses + 1)
        late = (sample.stamp - seen > self._silence_limit) & (self._misses >= _MISSES)
        silent = _places(late)
        if not silent:
            return ''
        return (
            f'{self._list(silent)} silent for more than {self._silence_limit} s; check supply and '
            'cables.'
        )

    def _hardware_errors(self, sample: MotorSample) -> str:
        broken = _places(sample.errors != 0)
        if not broken:
            return ''
        each = '; '.join(
            f'{self._list([place])}: {error_text(int(sample.errors[place]))}' for place in broken
        )
        return (
            f'Motors switched themselves off: {each}. Remove the cause; /hand/clear_fault reboots '
            'them.'
        )

    def _restarts(self, sample: MotorSample) -> str:
        """Motors that were without power for a moment."""
        # One cycle of grace: a block that is read while a motor is set up is half new.
        restarted = self._restarted.longer_than(sample.restarted, sample.stamp, 0.0)
        if not restarted:
            return ''
        return (
            f'{self._list(restarted)} restarted, as after a dip of the supply; check supply and '
            'connectors.'
        )

    def _lost_torque(self, sample: MotorSample) -> str:
        """Torque that went away by itself."""
        expired = _places(sample.fresh & (sample.watchdogs == WATCHDOG_EXPIRED))
        if expired:
            return (
                f'The bus watchdog of {self._list(expired)} stopped the hand: the driver was held '
                'up. Give it more processor time, or a longer bus_watchdog.'
            )
        lost = self._torque_lost.longer_than(sample.fresh & ~sample.torque, sample.stamp, 0.0)
        if not lost:
            return ''
        return (
            f'{self._list(lost)} lost torque without an error; does another program talk to the '
            'hand?'
        )

    def _derate(self, sample: MotorSample) -> tuple[FloatArray, list[str]]:
        """Less current for hot motors, and for those that take more than they are allowed."""
        low, high = self._bus.temperature_warning, self._bus.temperature_limit
        heat = np.clip((sample.temperatures - low) / (high - low), 0.0, 1.0)
        share = 1.0 - (1.0 - _LOWEST_SHARE) * heat
        warnings = []
        warm = _places(heat > 0.0)
        if warm:
            warnings.append(
                f'{self._list(warm)} above {low:g} degC, up to '
                f'{sample.temperatures.max():g} degC: less current is allowed'
            )
        above = np.abs(sample.currents) > _CURRENT_MARGIN * self._limits
        eager = self._over_current.longer_than(above, sample.stamp, _PERSISTS)
        if eager:
            share[eager] = np.minimum(share[eager], _LOWEST_SHARE)
            warnings.append(f'{self._list(eager)} above the current limit: less is allowed')
        return np.asarray(share), warnings

    def _environment(self, sample: MotorSample) -> str:
        hot = _places(sample.temperatures >= self._bus.temperature_limit)
        if hot:
            return (
                f'{self._list(hot)} reached {sample.temperatures.max():g} degC, allowed are '
                f'{self._bus.temperature_limit:g}; let the hand cool down.'
            )
        above = np.abs(sample.currents) > _CURRENT_MARGIN * self._limits
        eager = self._far_over_current.longer_than(above, sample.stamp, 3.0 * _PERSISTS)
        if eager:
            return (
                f'{self._list(eager)} kept above the current limit, up to '
                f'{np.abs(sample.currents).max():.2f} A; look for a stuck tendon or a short '
                'circuit.'
            )
        weak = sample.voltages < self._bus.lowest_voltage
        flat = self._low_voltage.longer_than(
            weak & np.isfinite(sample.seen), sample.stamp, _PERSISTS
        )
        if flat:
            return (
                f'The supply of {self._list(flat)} fell to {sample.voltages[flat].min():.1f} V, '
                f'at least {self._bus.lowest_voltage:g} are needed; check the supply.'
            )
        return ''

    def _list(self, places: Sequence[int]) -> str:
        return ', '.join(f'{self._names[i]} (id {self._motors[i].id})' for i in places)


def error_text(bits: int) -> str:
    """What the bits of a hardware error status mean."""
    known = [text for flag, text in _ERROR_TEXTS.items() if bits & flag]
    rest = bits & ~sum(int(flag) for flag in _ERROR_TEXTS)
    return ', '.join(known + ([f'unknown bits 0x{rest:02x}'] if rest else []))
