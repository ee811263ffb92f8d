# SPDX-License-Identifier: Apache-2.0
"""The state of the hand as messages."""

from __future__ import annotations

import array
from typing import Final

from sensor_msgs.msg import JointState

from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.nodes.encode import header
from deft_hand_driver.controller import HandController, HandMode
from deft_hand_driver.joint_map import JointMap
from deft_hand_driver.motor_reading import MotorReading
from deft_msgs.msg import HandState

_STATES: Final = {
    HandMode.DISABLED: HandState.DISABLED,
    HandMode.ENABLED: HandState.ENABLED,
    HandMode.FAULT: HandState.FAULT,
}


def state_messages(
    controller: HandController, joint_map: JointMap, reading: MotorReading
) -> tuple[HandState, JointState]:
    """What `/hand/state` and `/hand/joint_states` carry.

    Args:
        controller: What is commanded.
        joint_map: Of the hand.
        reading: Newest measurement.
    """
    joints = array.array('d', joint_map.joints_from_motors(reading.positions))
    targets = (
        []
        if controller.sent is None
        else array.array('d', joint_map.joints_from_commands(controller.sent))
    )
    state = HandState(
        header=header(reading.stamp, ''),
        state=_STATES[controller.mode],
        fault=controller.fault_reason,
        sequence=controller.sequence,
        settled=controller.settled,
        joint_names=list(HAND_JOINT_NAMES),
        joint_positions=joints,
        joint_targets=targets,
        motor_names=list(joint_map.description.motor_names),
        motor_positions=array.array('d', reading.positions),
        motor_velocities=array.array('d', reading.velocities),
        motor_currents=array.array('d', reading.currents),
        motor_temperatures=array.array('d', reading.temperatures),
        motor_voltages=array.array('d', reading.voltages),
        motor_errors=array.array('B', reading.errors),
        dropped_packets=reading.dropped_packets,
        cycle_time=reading.cycle_time,
    )
    return state, JointState(header=state.header, name=list(HAND_JOINT_NAMES), position=joints)
