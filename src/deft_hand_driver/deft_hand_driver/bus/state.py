# SPDX-License-Identifier: Apache-2.0
"""What a bus session is told and what it tells."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

from deft_core.errors import ConfigurationError
from deft_core.validation import FloatArray
from deft_hand_driver.bus.block import MotorSample
from deft_hand_driver.bus.client import REPLY_MARGIN, BusStatistics

HOLD: Final = 'hold'
LIMP: Final = 'limp'


class BusState(enum.Enum):
    """What the motors do."""

    OFFLINE = 'offline'
    IDLE = 'idle'
    ACTIVE = 'active'
    SAFE = 'safe'


@dataclass(frozen=True)
class BusSettings:
    """How a hand is driven over its bus.

    Attributes:
        path: Of the serial port.
        rate: Cycles per second. [Hz].
        reply_margin: Time that a reply may take beyond that on the wire. [s].
        silence_limit: How long a motor, or the sender of setpoints, may be silent. [s].
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
                raise ConfigurationError(f'{name} must be {HOLD!r} or {LIMP!r}, got {value!r}.')


@dataclass(frozen=True, eq=False)
class BusReport:
    """What other threads may know.

    Attributes:
        state: What the motors do.
        fault: Why they stopped, empty where they did not; latched.
        warnings: What the operator should know.
        sample: Last measurement; None before the first.
        sent: Goals that were really sent last; None before the first. Shape (n,). [rad].
        cycle_time: Duration of the last exchange with the motors. [s].
        late_cycles: Cycles that were longer than a period.
        statistics: Counters of the bus.
    """

    state: BusState = BusState.OFFLINE
    fault: str = ''
    warnings: tuple[str, ...] = ()
    sample: MotorSample | None = None
    sent: FloatArray | None = None
    cycle_time: float = float('nan')
    late_cycles: int = 0
    statistics: BusStatistics = field(default_factory=BusStatistics)
