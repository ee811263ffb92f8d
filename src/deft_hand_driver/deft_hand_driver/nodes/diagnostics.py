# SPDX-License-Identifier: Apache-2.0
"""Diagnostic messages of the hand driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from deft_core.nodes.encode import header
from deft_hand_driver.bus.health import error_text
from deft_hand_driver.motor_reading import MotorReading

_NODE = 'hand_driver'


def hand_status(
    hand: str,
    state: str,
    faults: Sequence[str],
    warnings: Sequence[str],
    details: Mapping[str, str],
) -> DiagnosticStatus:
    """Status of the hand as a whole.

    Args:
        hand: Name of the hand.
        state: Disabled, enabled or fault.
        faults: What stopped it.
        warnings: What the operator should know.
        details: Name and value of what else is known.
    """
    level, message = DiagnosticStatus.OK, state
    if warnings:
        level, message = DiagnosticStatus.WARN, '; '.join(warnings)
    if any(faults):
        level, message = DiagnosticStatus.ERROR, '; '.join(fault for fault in faults if fault)
    return DiagnosticStatus(
        level=level,
        name=f'{_NODE}: {hand}',
        message=message,
        hardware_id=hand,
        values=_values({'state': state, **details}),
    )


def motor_statuses(
    hand: str, names: Sequence[str], reading: MotorReading, silence_limit: float
) -> list[DiagnosticStatus]:
    """Status of every motor.

    Args:
        hand: Name of the hand.
        names: Motor names.
        reading: Newest measurement.
        silence_limit: Age at which a measurement is stale. [s].
    """
    statuses = []
    for place, name in enumerate(names):
        errors = int(reading.errors[place])
        level, message = DiagnosticStatus.OK, 'ok'
        if reading.ages[place] > silence_limit:
            level, message = DiagnosticStatus.STALE, f'silent for {reading.ages[place]:.1f} s'
        if errors:
            level, message = DiagnosticStatus.ERROR, error_text(errors)
        values = {
            'position [rad]': f'{reading.positions[place]:.4f}',
            'velocity [rad/s]': f'{reading.velocities[place]:.3f}',
            'current [A]': f'{reading.currents[place]:.3f}',
            'temperature [degC]': f'{reading.temperatures[place]:.0f}',
            'voltage [V]': f'{reading.voltages[place]:.1f}',
            'hardware error': error_text(errors) if errors else 'none',
            'age [s]': f'{reading.ages[place]:.3f}',
        }
        statuses.append(
            DiagnosticStatus(
                level=level,
                name=f'{_NODE}: motor {name}',
                message=message,
                hardware_id=f'{hand}/{name}',
                values=_values(values),
            )
        )
    return statuses


def diagnostic_array(stamp: float, statuses: Sequence[DiagnosticStatus]) -> DiagnosticArray:
    """Message for `/diagnostics`; the stamp is of the ROS clock [s]."""
    return DiagnosticArray(header=header(stamp, ''), status=list(statuses))


def _values(values: Mapping[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value) for key, value in values.items()]
