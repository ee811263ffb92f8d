# SPDX-License-Identifier: Apache-2.0
"""Lets the running hand driver visit postures and writes what is measured and observed there.

`deft hand calibrate map` starts it and fits the pairs afterwards.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import JointState

from deft_core.clock import Deadline
from deft_core.decode import order_joints, time_from_msg
from deft_core.errors import ConfigurationError, StaleDataError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import LEASED_COMMAND, STATE
from deft_core.nodes.runner import EXIT_OK, NodeFinished, run_node
from deft_core.validation import finite_array
from deft_hand_driver.calibration.learned_map import CLOSED_FORM
from deft_hand_driver.calibration.pairs import PairsFile
from deft_hand_driver.calibration.poses import LEVELS, POSTURES, calibration_poses
from deft_hand_driver.calibration.recording import HandSnapshot, PairsRecording
from deft_hand_driver.description import load_hand_description
from deft_msgs.msg import HandCommand, HandState

_PERIOD: Final = 0.02  # [s] of real time
_DISCOVERY: Final = 20.0  # [s] of real time for the driver to be found
_REPORT_EVERY: Final = 10  # postures


@dataclass(frozen=True)
class MapCalibrationParameters:
    """Parameters of the node `map_calibration`."""

    pairs: str = field(default='', metadata={'doc': 'file to write; it must not exist'})
    hand: str = field(default='dash', metadata={'doc': 'name of a file in config/hands'})
    observed: str = field(
        default='/hand/observed_joint_states',
        metadata={'doc': 'topic of the joints as they are seen'},
    )
    levels: int = field(
        default=LEVELS, metadata={'minimum': 2, 'maximum': 100, 'doc': 'of a sweep, one way'}
    )
    postures: int = field(
        default=POSTURES, metadata={'minimum': 0, 'maximum': 10_000, 'doc': 'random ones'}
    )
    seed: int = field(
        default=0, metadata={'minimum': 0, 'maximum': 2**31, 'doc': 'of the random postures'}
    )


class MapCalibrationNode(Node):
    """Thin shell around `PairsRecording`."""

    def __init__(self, **options: Any) -> None:
        """Create the interfaces; nothing moves before the driver is known."""
        super().__init__('map_calibration', **options)
        self._settings = declare_parameters(self, MapCalibrationParameters)
        if not self._settings.pairs:
            raise ConfigurationError('The parameter pairs must name a file to write.')
        self._description = load_hand_description(self._settings.hand)
        self._file: PairsFile | None = None
        self._recording: PairsRecording | None = None
        self._driver: dict[str, str] | None = None
        self._snapshot: HandSnapshot | None = None
        self._found_by = Deadline(_DISCOVERY)
        self._poses = calibration_poses(
            self._description,
            np.random.default_rng(self._settings.seed),
            self._settings.levels,
            self._settings.postures,
        )
        self._commands = self.create_publisher(HandCommand, '/hand/command', LEASED_COMMAND)
        self.create_subscription(HandState, '/hand/state', self._on_state, STATE)
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, STATE)
        self.create_subscription(JointState, self._settings.observed, self._on_observed, STATE)
        self.create_timer(_PERIOD, self._step, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """Say what was recorded; the hand holds the posture it is in."""
        if self._file is not None:
            print(f'{self._file.count} pairs are in {self._file.path}', flush=True)

    def _on_state(self, message: HandState) -> None:
        motors = order_joints(
            message.motor_names, message.motor_positions, self._description.motor_names
        )
        targets = (
            order_joints(message.joint_names, message.joint_targets, HAND_JOINT_NAMES)
            if message.joint_targets
            else None
        )
        self._snapshot = HandSnapshot(
            stamp=time_from_msg(message.header.stamp),
            enabled=message.state == HandState.ENABLED,
            fault=message.fault if message.state == HandState.FAULT else '',
            sequence=message.sequence,
            settled=message.settled,
            joint_targets=targets,
            motors=motors,
        )
        if self._recording is not None:
            self._recording.on_state(self._snapshot, time.monotonic())

    def _on_observed(self, message: JointState) -> None:
        joints = order_joints(message.name, message.position, HAND_JOINT_NAMES)
        if self._recording is not None:
            checked = finite_array('observed joints', joints, (len(HAND_JOINT_NAMES),))
            self._recording.on_observed(checked, time.monotonic())

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith('hand_driver: ') and 'motor' not in status.name:
                self._driver = {value.key: value.value for value in status.values}
                self._driver['hand'] = status.hardware_id

    def _begin(self) -> None:
        """Start once the driver, its map and its hand are known."""
        driver, snapshot = self._driver, self._snapshot
        if driver is None or snapshot is None or self._commands.get_subscription_count() == 0:
            if self._found_by.passed:
                raise StaleDataError(
                    'There is no hand driver in this ROS domain: no /hand/state or no '
                    '/diagnostics of it. Start one, as with `deft launch '
                    'simulation.launch.xml`.'
                )
            return
        if driver['hand'] != self._description.name:
            raise ConfigurationError(
                f'The driver moves hand {driver["hand"]!r}, and --hand says '
                f'{self._description.name!r}.'
            )
        if driver.get('joint map') != CLOSED_FORM:
            raise ConfigurationError(
                f'The driver uses a map already ({driver.get("joint map")}); start it with '
                'hand_map empty while pairs are taken.'
            )
        self._file = PairsFile(
            Path(self._settings.pairs), self._description, self._settings.observed
        )
        self._recording = PairsRecording(
            self._description, self._poses, self._file, snapshot.sequence + 1, time.monotonic()
        )
        self._recording.on_state(snapshot, time.monotonic())
        self._report(self._recording)

    def _step(self) -> None:
        if self._recording is None:
            self._begin()
            return
        place = self._recording.place
        wanted = self._recording.step(time.monotonic())
        if place != self._recording.place:
            self._report(self._recording)
        if self._recording.done:
            raise NodeFinished(EXIT_OK)
        if wanted is not None:
            self._commands.publish(
                HandCommand(
                    sequence=wanted.sequence,
                    joint_names=list(HAND_JOINT_NAMES),
                    joint_positions=wanted.joints,
                    duration=wanted.duration,
                )
            )

    def _report(self, recording: PairsRecording) -> None:
        if recording.place % _REPORT_EVERY == 0 or recording.done:
            skipped = f', {recording.skipped} skipped' if recording.skipped else ''
            print(f'{recording.place} of {len(self._poses)} postures{skipped}', flush=True)


def main() -> int:
    """Run the node."""
    return run_node(MapCalibrationNode, 'map_calibration')


if __name__ == '__main__':
    sys.exit(main())
