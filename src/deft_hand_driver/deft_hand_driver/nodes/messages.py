# SPDX-License-Identifier: Apache-2.0
"""The state and the diagnosis of the hand as messages."""

from __future__ import annotations

import array
import time
from collections.abc import Mapping, Sequence
from typing import Final

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from sensor_msgs.msg import JointState

from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.nodes.encode import header
from deft_hand_driver.dynamixel.hand_motors import MotorSample
from deft_hand_driver.dynamixel.health import error_text
from deft_hand_driver.hand import Hand, HandMode
from deft_hand_driver.joint_map import JointMap
from deft_msgs.msg import HandState

_NODE: Final = 'hand_driver'
_STATES: Final = {
    HandMode.DISABLED: HandState.DISABLED,
    HandMode.ENABLED: HandState.ENABLED,
    HandMode.FAULT: HandState.FAULT,
}


def state_messages(
    hand: Hand, joint_map: JointMap, sample: MotorSample, stamp: float
) -> tuple[HandState, JointState]:
    """What `/hand/state` and `/hand/joint_states` carry.

    Args:
        hand: What is commanded.
        joint_map: Of the hand.
        sample: Newest measurement.
        stamp: Of the ROS clock. [s].
    """
    joints = array.array('d', joint_map.joints_from_motors(sample.positions))
    sent = hand.sent
    targets = [] if sent is None else array.array('d', joint_map.joints_from_commands(sent))
    state = HandState(
        header=header(stamp, ''),
        state=_STATES[hand.mode],
        fault=hand.fault,
        sequence=hand.sequence,
        settled=hand.settled,
        joint_names=list(HAND_JOINT_NAMES),
        joint_positions=joints,
        joint_targets=targets,
        motor_names=list(joint_map.description.motor_names),
        motor_positions=array.array('d', sample.positions),
        motor_velocities=array.array('d', sample.velocities),
        motor_currents=array.array('d', sample.currents),
        motor_temperatures=array.array('d', sample.temperatures),
        motor_voltages=array.array('d', sample.voltages),
        motor_errors=array.array('B', sample.errors),
        dropped_packets=hand.statistics.dropped,
        cycle_time=hand.cycle_time,
    )
    return state, JointState(header=state.header, name=list(HAND_JOINT_NAMES), position=joints)


def hand_status(
    name: str, hand: Hand, warnings: Sequence[str], details: Mapping[str, str]
) -> DiagnosticStatus:
    """Status of the hand as a whole."""
    level, message = DiagnosticStatus.OK, hand.mode.value
    warnings = [*hand.warnings, *warnings]
    if warnings:
        level, message = DiagnosticStatus.WARN, '; '.join(warnings)
    if hand.fault or hand.problem:
        level, message = DiagnosticStatus.ERROR, hand.fault or hand.problem
    statistics = hand.statistics
    return DiagnosticStatus(
        level=level,
        name=f'{_NODE}: {name}',
        message=message,
        hardware_id=name,
        values=_values(
            {
                'state': hand.mode.value,
                'connected': 'yes' if hand.connected else 'no',
                'commands cut to the travel': str(hand.clipped),
                'cycle time [ms]': f'{1e3 * hand.cycle_time:.2f}',
                'late cycles': str(hand.late_cycles),
                'requests': str(statistics.requests),
                'dropped packets': str(statistics.dropped),
                'retries': str(statistics.retries),
                **details,
            }
        ),
    )


def motor_statuses(
    hand: str, names: Sequence[str], sample: MotorSample, silence_limit: float
) -> list[DiagnosticStatus]:
    """Status of every motor.

    Args:
        hand: Name of the hand.
        names: Motor names.
        sample: Newest measurement.
        silence_limit: Age at which a measurement is stale. [s].
    """
    statuses = []
    ages = time.monotonic() - sample.seen
    for place, name in enumerate(names):
        errors = int(sample.errors[place])
        level, message = DiagnosticStatus.OK, 'ok'
        if ages[place] > silence_limit:
            level, message = DiagnosticStatus.STALE, f'silent for {ages[place]:.1f} s'
        if errors:
            level, message = DiagnosticStatus.ERROR, error_text(errors)
        values = {
            'position [rad]': f'{sample.positions[place]:.4f}',
            'velocity [rad/s]': f'{sample.velocities[place]:.3f}',
            'current [A]': f'{sample.currents[place]:.3f}',
            'temperature [degC]': f'{sample.temperatures[place]:.0f}',
            'voltage [V]': f'{sample.voltages[place]:.1f}',
            'hardware error': error_text(errors) if errors else 'none',
            'age [s]': f'{ages[place]:.3f}',
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
