# SPDX-License-Identifier: Apache-2.0
"""Views of the calibration board, taken by driving the simulated arm without ROS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from deft_core.errors import DeviceError
from deft_core.validation import FloatArray
from deft_perception.calibration.board import BoardDetector, NoBoardError, locate_board
from deft_perception.calibration.hand_eye import CalibrationView
from deft_perception.calibration.postures import straight_joint_move
from deft_sim.cell import SimulatedCell

_SETTLE_TIME: Final = 0.6  # [s] for the arm to come to rest
_SPEED: Final = 1.5  # [rad/s]


def take_views(
    cell: SimulatedCell, detector: BoardDetector, postures: FloatArray
) -> Iterator[CalibrationView]:
    """Visit postures and look at the board; postures that do not show it give no view.

    Raises:
        DeviceError: The arm collided or did not take a trajectory.
    """
    for number, posture in enumerate(postures):
        times, positions = straight_joint_move(cell.arm_state().positions, posture, _SPEED)
        if not cell.follow_arm(times, positions):
            raise DeviceError(f'The simulated arm refused to move to posture {number}.')
        cell.advance(float(times[-1]) + _SETTLE_TIME)
        if cell.collided:
            raise DeviceError(
                f'The simulated arm collided on its way to posture {number}; record other '
                'postures (docs/calibration.md).'
            )
        frame = cell.capture()
        try:
            detection = detector.detect(frame.color)
            pose = locate_board(detection, frame.intrinsics)
        except NoBoardError:
            continue
        yield CalibrationView(f'posture {number}', posture, cell.flange_pose(), detection, pose)
