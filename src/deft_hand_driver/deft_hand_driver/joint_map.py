# SPDX-License-Identifier: Apache-2.0
"""What every map between the joints and the motors of a hand offers."""

from __future__ import annotations

from typing import Final, Protocol

import numpy.typing as npt

from deft_core.validation import FloatArray
from deft_hand_driver.description import TENDON, HandDescription
from deft_hand_driver.direct_map import DirectMap
from deft_hand_driver.tendon_map import TendonMap

SPOOL: Final = 'spool'
TENDON_LENGTH: Final = 'tendon length'
MEASURED: Final = (SPOOL, TENDON_LENGTH)
"""What a measured motor position is: that of the spool, behind which the tendon gives way as it
does for a command; or that of the tendon itself, as ideal motors behind topics report it."""


class JointMap(Protocol):
    """Joints to motors and back, for one hand with n motors."""

    @property
    def description(self) -> HandDescription:
        """The hand."""

    @property
    def lower(self) -> FloatArray:
        """Motor commands at the lowest joint positions. Shape (n,). [rad]."""

    @property
    def upper(self) -> FloatArray:
        """Motor commands at the highest joint positions. Shape (n,). [rad]."""

    def motors_from_joints(self, joint_positions: npt.ArrayLike) -> FloatArray:
        """Motor commands that bring the free hand to joint positions.

        Args:
            joint_positions: In `HAND_JOINT_NAMES` order. Shape (16,). [rad].

        Returns:
            In `HandDescription.motor_names` order. Shape (n,). [rad].

        Raises:
            InvalidInputError: Not sixteen finite numbers.
        """

    def joints_from_commands(self, commands: npt.ArrayLike) -> FloatArray:
        """Joint positions where the free hand settles under motor commands.

        Args:
            commands: In `HandDescription.motor_names` order. Shape (n,). [rad].

        Returns:
            In `HAND_JOINT_NAMES` order, within the travel. Shape (16,). [rad].

        Raises:
            InvalidInputError: Not n finite numbers.
        """

    def joints_from_motors(self, motor_positions: npt.ArrayLike) -> FloatArray:
        """Joint positions of the free hand at measured motor positions.

        Args:
            motor_positions: In `HandDescription.motor_names` order. Shape (n,). [rad].

        Returns:
            In `HAND_JOINT_NAMES` order, within the travel. Shape (16,). [rad].

        Raises:
            InvalidInputError: Not n finite numbers.
        """


def closed_form_map(description: HandDescription, measured: str = SPOOL) -> JointMap:
    """The map that follows from the numbers in the file of the hand.

    Args:
        description: The hand.
        measured: What a measured motor position is, one of `MEASURED`.
    """
    if description.transmission == TENDON:
        return TendonMap(description, spool_measured=measured == SPOOL)
    return DirectMap(description)
