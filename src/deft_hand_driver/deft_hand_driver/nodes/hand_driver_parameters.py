# SPDX-License-Identifier: Apache-2.0
"""Parameters of the node `hand_driver`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from deft_core.errors import ConfigurationError
from deft_hand_driver.hand import HOLD, LIMP, HandSettings

NEVER: Final = 'never'
SIMULATION: Final = 'simulation'
STOP: Final = 'stop'
WARN: Final = 'warn'
_CHOICES: Final = {
    'enable_on_start': (NEVER, SIMULATION),
    'safe_state': (HOLD, LIMP),
    'end_state': (HOLD, LIMP),
    'emergency_stop_lost': (STOP, WARN),
}


def _seconds(default: float, maximum: float, doc: str, minimum: float = 0.0) -> float:
    metadata = {'minimum': minimum, 'maximum': maximum, 'unit': 's', 'doc': doc}
    chosen: float = field(default=default, metadata=metadata)
    return chosen


@dataclass(frozen=True)
class HandDriverParameters:
    """Parameters of the node `hand_driver`."""

    hand: str = field(default='dash', metadata={'doc': 'name of a file in config/hands'})
    joint_map: str = field(
        default='',
        metadata={'doc': 'file that `deft hand calibrate map` wrote; empty: the closed form'},
    )
    port: str = field(
        default='', metadata={'doc': 'serial port of the bus, best one of /dev/serial/by-id'}
    )
    rate: float = field(
        default=50.0,
        metadata={'minimum': 5.0, 'maximum': 500.0, 'unit': 'Hz', 'doc': 'cycles of real time'},
    )
    motor_state_timeout: float = _seconds(
        0.5, 60.0, 'real time that a motor may be silent before the hand goes to fault', 0.05
    )
    enable_on_start: str = field(
        default=NEVER,
        metadata={'doc': 'never, or simulation: at the first measurement if use_sim_time is set'},
    )
    reply_margin: float = _seconds(
        0.005, 1.0, 'real time that a reply on the bus may take beyond that on the wire', 0.001
    )
    bus_watchdog: float = _seconds(
        0.4, 2.54, 'silence on the bus after which the motors stop by themselves; 0: never'
    )
    hold_time: float = _seconds(2.0, 600.0, 'how long a fault holds with full current')
    safe_state: str = field(
        default=HOLD, metadata={'doc': 'after hold_time: hold with less current, or limp'}
    )
    end_state: str = field(
        default=HOLD,
        metadata={'doc': 'at the end of the node: hold with less current, or limp'},
    )
    command_timeout: float = _seconds(
        0.0, 60.0, 'real time without a new command that ends a motion; 0: never'
    )
    command_age_limit: float = _seconds(
        1.0, 60.0, 'age of a stamped command beyond which it is refused', 0.01
    )
    commander_grace: float = _seconds(
        0.0, 60.0, 'real time that a commander may stay away after its lease of 0.5 s'
    )
    emergency_stop_lost: str = field(
        default=STOP,
        metadata={'doc': 'stop: a lost emergency stop counts as pressed; warn: only told'},
    )

    def __post_init__(self) -> None:
        """Check the names."""
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ConfigurationError(
                    f'{name} must be {" or ".join(map(repr, choices))}, got {value!r}.'
                )

    def hand_settings(self) -> HandSettings:
        """What the hand is told."""
        if not self.port:
            raise ConfigurationError(
                'The motors need the parameter port (launch argument hand_port), best a path '
                'in /dev/serial/by-id; `deft hand scan` finds it.'
            )
        return HandSettings(
            path=self.port,
            rate=self.rate,
            reply_margin=self.reply_margin,
            silence_limit=self.motor_state_timeout,
            watchdog=self.bus_watchdog,
            hold_time=self.hold_time,
            safe_state=self.safe_state,
            end_state=self.end_state,
        )
